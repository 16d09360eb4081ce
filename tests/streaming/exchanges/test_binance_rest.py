"""Against Binance's own replies, recorded in `../shared/data`, and those that its documents show."""

import gzip
import json
from decimal import ROUND_DOWN, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from shared.events import decode, encode
from shared.symbol_manager import Symbol
from streaming.exchange import UnparsableMessage
from streaming.exchanges.binance import Binance

BINANCE = Binance()
BTC = Symbol(symbol="BTCUSDT", name="Bitcoin")
ETHBTC = Symbol(symbol="ETHBTC", name="Ether")
ODD = Symbol(symbol="币安USDT", name="odd", base="币安", quote="USDT")
FOREVER = 10**16
TRADE = {
    "id": 28457, "price": "4.00000100", "qty": "12.00000000", "quoteQty": "48.000012", "time": 1499865549590123,
    "isBuyerMaker": True, "isBestMatch": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def replies(recorded: Path) -> dict[str, list[dict[str, Any]]]:
    with gzip.open(recorded / "rest-replies" / "binance_public_rest.json.gz") as file:
        found: dict[str, list[dict[str, Any]]] = json.load(file)
    return found


def texts(replies: dict[str, list[dict[str, Any]]], path: str, part: str) -> list[bytes]:
    return [json.dumps(reply["data"]).encode() for reply in replies[path] if part in reply["queryString"]]


def test_requests_name_their_weight_and_the_host_that_answers_them() -> None:
    assert BINANCE.trades_request(BTC, 5).url == (
        "https://api.binance.com/api/v3/historicalTrades?symbol=BTCUSDT&limit=1000&fromId=5"
    )
    assert BINANCE.klines_request(BTC, 60_000_000, 180_000_000).url == (
        "https://data-api.binance.vision/api/v3/klines?symbol=BTCUSDT&limit=1000&interval=1m"
        "&startTime=60000&endTime=179999"
    )
    assert BINANCE.agg_trades_request(BTC, 1_234_567).url.endswith("aggTrades?symbol=BTCUSDT&limit=1000&startTime=1234")
    assert BINANCE.recent_trades_request(ODD).url.endswith("trades?symbol=%E5%B8%81%E5%AE%89USDT&limit=1000")
    requests = [
        BINANCE.trades_request(BTC, 5), BINANCE.recent_trades_request(BTC), BINANCE.agg_trades_request(BTC, 1),
        BINANCE.klines_request(BTC, 0, 1), BINANCE.instruments_request(), BINANCE.volumes_request(),
    ]  # fmt: skip
    assert [request.weight for request in requests] == [25, 25, 4, 2, 20, 80]


def test_another_address_is_asked_for_everything() -> None:
    assert Binance("", "http://127.0.0.1:2").trades_request(BTC, 5).url.startswith("http://127.0.0.1:2/api/v3/")


def test_recorded_trades_are_read_exactly(replies: dict[str, list[dict[str, Any]]]) -> None:
    [reply] = texts(replies, "/api/v3/trades", "ETHBTC")
    trades = BINANCE.trades(reply, ETHBTC)
    rows = json.loads(reply)
    assert len(trades) == 1000
    assert [trade.trade_id for trade in trades] == sorted(row["id"] for row in rows)
    for trade, row in zip(trades, rows, strict=True):
        assert trade.quote_quantity == Decimal(row["price"]) * Decimal(row["qty"])
        assert trade.quote_quantity.quantize(Decimal("0.00000001"), ROUND_DOWN) == Decimal(row["quoteQty"])
        assert trade.event_time == row["time"] * 1000
        assert trade.is_buyer_maker is row["isBuyerMaker"]
        assert (trade.source, trade.received_at, trade.published_at, trade.connection_id) == (
            "rest",
            None,
            None,
            "rest",
        )
        assert decode(encode(trade)) == trade


def test_recorded_merged_fills_are_read(replies: dict[str, list[dict[str, Any]]]) -> None:
    [reply] = texts(replies, "/api/v3/aggTrades", "fromId=202790190")
    fills = BINANCE.agg_trades(reply, BTC)
    assert len(fills) == 1000
    assert all(after.agg_trade_id == before.agg_trade_id + 1 for before, after in pairwise(fills))
    assert all(after.first_trade_id == before.last_trade_id + 1 for before, after in pairwise(fills))
    assert fills[0].quote_quantity == fills[0].price * fills[0].quantity
    assert fills[0].source == "rest"


def test_recorded_klines_are_read_and_name_no_trades(replies: dict[str, list[dict[str, Any]]]) -> None:
    reply = texts(replies, "/api/v3/klines", "endTime=1588743688000&interval=1m")[0]
    klines = BINANCE.klines(reply, BTC, FOREVER)
    assert len(klines) == 60
    assert all(kline.close_time == kline.open_time + 59_999_999 for kline in klines)
    assert all(kline.event_time == kline.close_time and kline.is_closed for kline in klines)
    assert {(kline.first_trade_id, kline.last_trade_id, kline.interval) for kline in klines} == {(None, None, "1m")}
    assert klines[0].open == Decimal("9033.34000000")
    assert klines[0].taker_buy_quote_volume == Decimal("57447.26912415")


def test_a_kline_that_is_still_open_is_dropped(replies: dict[str, list[dict[str, Any]]]) -> None:
    reply = texts(replies, "/api/v3/klines", "endTime=1588743688000&interval=1m")[0]
    whole = BINANCE.klines(reply, BTC, FOREVER)
    assert BINANCE.klines(reply, BTC, whole[-1].close_time) == whole[:-1]
    assert BINANCE.klines(reply, BTC, whole[-1].close_time + 1) == whole


def test_recorded_pairs_have_their_steps(replies: dict[str, list[dict[str, Any]]]) -> None:
    [reply] = texts(replies, "/api/v3/exchangeInfo", "")
    pairs = {pair.symbol: pair for pair in BINANCE.instruments(reply)}
    assert len(pairs) == 25
    ether = pairs["ETHBTC"]
    assert (ether.base_asset, ether.quote_asset, ether.status) == ("ETH", "BTC", "TRADING")
    assert (ether.tick_size, ether.step_size) == (Decimal("0.00001"), Decimal("0.0001"))
    assert ether.min_notional == Decimal("0.0001")
    assert ether.event_time == 1754603741167000
    assert {pair.status for pair in pairs.values()} == {"TRADING", "BREAK"}


def test_a_pair_without_filters_has_no_steps() -> None:
    pair = {"symbol": "AB", "status": "BREAK", "baseAsset": "A", "quoteAsset": "B", "filters": []}
    [event] = BINANCE.instruments(json.dumps({"serverTime": 1754603741167, "symbols": [pair]}).encode())
    assert (event.tick_size, event.step_size, event.min_notional) == (None, None, None)


def test_recorded_turnovers_are_read(replies: dict[str, list[dict[str, Any]]]) -> None:
    [reply] = texts(replies, "/api/v3/ticker/24hr", "symbols=")
    assert set(BINANCE.volumes(reply)) == {"BTCUSDT", "ETHUSDT"}


def test_microseconds_are_taken_as_they_are() -> None:
    [trade] = BINANCE.trades(json.dumps([TRADE]).encode(), BTC)
    assert trade.event_time == 1499865549590123
    row = [1499040000000000, "1", "2", "1", "2", "5", 1499040059999999, "7", 3, "1", "2", "0"]
    [kline] = BINANCE.klines(json.dumps([row]).encode(), BTC, FOREVER)
    assert (kline.open_time, kline.close_time) == (1499040000000000, 1499040059999999)


@pytest.mark.parametrize(
    "reply",
    [
        b"", b"{}", b"[1]", b"\xff", b"[" * 100_000,
        json.dumps([TRADE | {"price": "0"}]).encode(),
        json.dumps([TRADE | {"qty": "NaN"}]).encode(),
        json.dumps([TRADE | {"time": 0}]).encode(),
        json.dumps([TRADE | {"id": 2**63 - 1}]).encode(),
    ],
)  # fmt: skip
def test_a_reply_that_makes_no_sense_is_refused(reply: bytes) -> None:
    with pytest.raises(UnparsableMessage):
        BINANCE.trades(reply, BTC)
    for read in (BINANCE.agg_trades, lambda text, symbol: BINANCE.klines(text, symbol, FOREVER)):
        with pytest.raises(UnparsableMessage):
            read(reply, BTC)
    for read_all in (BINANCE.instruments, BINANCE.volumes):
        with pytest.raises(UnparsableMessage):
            read_all(reply)


def test_a_bad_row_is_left_out_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    reply = json.dumps([TRADE, TRADE | {"id": 28458, "price": "0"}, TRADE | {"id": 28459}, "no row"]).encode()
    for _ in range(2):
        assert [trade.trade_id for trade in BINANCE.trades(reply, BTC)] == [28457, 28459]
    assert caplog.text.count("is not above zero") == 1
    assert '"id": 28458' in caplog.text
    assert BINANCE.unread_places(reply, "trade", BTC) == {
        28458: "'0' is not above zero", -1: "Expected `object`, got `str`",
    }  # fmt: skip


def test_a_bad_fill_kline_pair_or_turnover_is_left_out_alone() -> None:
    fill = {"a": 1, "p": "1", "q": "1", "f": 1, "l": 1, "T": 1498793709153, "m": True}
    fills = BINANCE.agg_trades(json.dumps([fill, fill | {"a": 2, "l": 0}]).encode(), BTC)
    assert [one.agg_trade_id for one in fills] == [1]
    row = [1499040000000, "1", "2", "1", "2", "5", 1499040059999, "7", 3, "1", "2", "0"]
    reply = json.dumps([row, [1499040060000, "0", *row[2:]]]).encode()
    assert len(BINANCE.klines(reply, BTC, FOREVER)) == 1
    assert BINANCE.unread_places(reply, "kline_1m", BTC) == {1499040060000000: "'0' is not above zero"}
    pair = {"symbol": "AB", "status": "BREAK", "baseAsset": "A", "quoteAsset": "B", "filters": []}
    bad = pair | {"symbol": "CB", "baseAsset": "C", "filters": [{"filterType": "LOT_SIZE", "stepSize": "-1"}]}
    reply = json.dumps({"serverTime": 1754603741167, "symbols": [bad, pair]}).encode()
    assert [event.symbol for event in BINANCE.instruments(reply)] == ["AB"]
    assert BINANCE.unread_pairs(reply) == {"CB"}
    reply = json.dumps([{"symbol": "AB", "quoteVolume": "1"}, {"symbol": "CB", "quoteVolume": None}]).encode()
    assert BINANCE.volumes(reply) == {"AB": Decimal(1)}


def test_a_list_without_rows_says_nothing() -> None:
    assert BINANCE.trades(b"[]", BTC) == []
