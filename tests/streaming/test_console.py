from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import DepthSnapshot, Kline, Ticker, Trade
from shared.settings import Settings
from streaming.console import chosen, line, print_events, short

COMMON: dict[str, Any] = {
    "exchange": "binance", "symbol": "BTCUSDT", "base_asset": "BTC", "quote_asset": "USDT", "source": "websocket",
    "connection_id": "c",
}  # fmt: skip
NOON = 1_735_732_862_345_678
"""2025-01-01 12:01:02.345678 UTC."""
TRADE = Trade(
    **COMMON, event_time=NOON, trade_id=1, price=Decimal("60123.45000000"), quantity=Decimal("0.01200000"),
    quote_quantity=Decimal("721.4814"), is_buyer_maker=False,
)  # fmt: skip


def test_a_trade_reads_as_one_would_say_it() -> None:
    assert line(TRADE) == "12:01:02.345 binance BTCUSDT   trade    buy  0.012 @ 60123.45"


def test_colours_are_only_for_a_terminal() -> None:
    assert "\x1b" not in line(TRADE)
    assert "\x1b[32mbuy" in line(TRADE, coloured=True)


def test_a_candle_says_whether_it_is_closed() -> None:
    numbers = {name: Decimal(1) for name, hint in Kline.__annotations__.items() if hint is Decimal}
    candle = Kline(
        **COMMON, **numbers, event_time=NOON, interval="1m", open_time=NOON - 2_345_678, close_time=NOON, trade_count=0,
        first_trade_id=-1, last_trade_id=-1, is_closed=True,
    )  # fmt: skip
    assert line(candle).endswith("kline_1m 12:01 1.00 1.00 1.00 1.00 volume 1.00 closed")


def test_a_ticker_shows_the_change_of_the_day() -> None:
    numbers = {name: Decimal("1.5") for name, hint in Ticker.__annotations__.items() if hint is Decimal}
    ticker = Ticker(
        **COMMON,
        **numbers,
        event_time=NOON,
        open_time=1,
        close_time=2,
        first_trade_id=1,
        last_trade_id=2,
        trade_count=2,
    )
    assert line(ticker).endswith("ticker   last 1.50 +1.50 % volume 1.50 BTC in 24 h")


def test_a_book_is_dated_by_our_clock_and_may_have_an_empty_side() -> None:
    book = DepthSnapshot(
        **COMMON, event_time=None, received_at=NOON, update_id=1, levels=5, bids=((Decimal(1), Decimal(2)),), asks=()
    )
    assert line(book) == "12:01:02.345 binance BTCUSDT   depth5   bid 2.00 @ 1.00 | ask none"


@given(st.decimals("-1e12", "1e12", places=8))
def test_a_shortened_number_is_the_same_number(value: Decimal) -> None:
    assert Decimal(short(value)) == value


def test_symbols_need_not_be_in_the_file() -> None:
    entries = chosen(Settings(), "pepeusdt, BTCUSDT,BTCUSDT", "trade,depth5")
    assert [(entry.symbol, entry.streams) for entry in entries] == [
        ("PEPEUSDT", ("trade", "depth5")),
        ("BTCUSDT", ("trade", "depth5")),
    ]


def test_without_names_those_of_the_file_are_taken() -> None:
    assert len(chosen(Settings())) == 5


def test_what_a_selector_would_choose_is_not_printed(tmp_path: Path) -> None:
    file = tmp_path / "symbols.yaml"
    file.write_text("tiers: {a: [{quote: USDT, top: 5}]}")
    with pytest.raises(ValueError, match="only selectors"):
        chosen(Settings(symbols_file=file))


@pytest.mark.parametrize(
    ("symbols", "streams", "reason"),
    [("FOO", "", "quote asset of FOO"), ("", "gossip", "'gossip'"), ("BTCUSDT", "trade,trade", "twice")],
)
def test_a_name_that_cannot_be_used_is_refused(symbols: str, streams: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        chosen(Settings(), symbols, streams)


def test_printing_ends_at_the_limit(venue: Any, until: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import threading

    settings = Settings(binance_ws_url=venue.url, binance_rest_url=venue.http_url)
    printing = threading.Thread(target=print_events, args=(settings, chosen(settings, "BTCUSDT"), True, 2))
    printing.start()
    until(lambda: venue.open == 1)
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": 1, "p": "1", "q": "2", "T": 1, "m": True}
    venue.send(*({"stream": "btcusdt@trade", "data": {**data, "t": number}} for number in range(5)), "garbage")
    printing.join(10)
    assert not printing.is_alive()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert '"trade_id":0' in lines[0]
