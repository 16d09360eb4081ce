"""Messages have the fields of recorded ones, in their order, and exact numbers."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.simulator.candles import flat, open_candle
from streaming.simulator.instruments import instrument
from streaming.simulator.market import Market, Tape
from streaming.simulator.messages import (
    MICROSECOND,
    MILLISECOND,
    Form,
    aggregate_rows,
    depth_payload,
    event_frame,
    kline_payload,
    kline_row,
    price_text,
    quote_text,
    text_frame,
    text_frames,
    ticker_payload,
    ticker_row,
    trade_frames,
    trade_rows,
)
from streaming.simulator.ticker import RollingDay

OPENING = 1_795_000_020_000_000
NOW = OPENING + 3_600_000_000 + 7_654_321


def _tape(symbol: str = "BTCUSDT") -> Tape:
    tape = Market(7, OPENING, 2.0).tape(symbol)
    assert tape is not None
    return tape


def _payloads(frames: bytes) -> list[bytes]:
    """The payloads of unmasked text frames, read as RFC 6455 says."""
    found = []
    while frames:
        assert frames[0] == 0x81
        length, start = frames[1], 2
        if length == 126:
            length, start = int.from_bytes(frames[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(frames[2:10], "big"), 10
        found.append(frames[start : start + length])
        frames = frames[start + length :]
    return found


def _shape(value: Any) -> Any:
    """Keys in order with the type of each value; eight decimal places count as a type of their own."""
    if isinstance(value, dict):
        return [(key, _shape(part)) for key, part in value.items()]
    if isinstance(value, str) and value.replace(".", "").replace("-", "").isdigit():
        return f"number with {len(value.partition('.')[2])} places"
    return type(value).__name__


def _first(recorded: Path, key: str, text: str) -> Any:
    """The first recorded raw message of Binance spot that holds `text`."""
    with (recorded / "raw-messages" / "raw_messages.jsonl").open() as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["exchange"] == "binance" and entry["test"] == "spot" and text in entry["raw"]:
                return json.loads(entry["raw"])[key]
    raise AssertionError(f"no recorded message has {text}")


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_a_frame_of_any_length_can_be_read(length: int) -> None:
    assert _payloads(text_frame(b"x" * length)) == [b"x" * length]


@given(st.lists(st.integers(0, 5000) | st.just(65_536), max_size=5))
def test_frames_together_are_those_one_by_one(lengths: list[int]) -> None:
    payloads = [b"x" * length for length in lengths]
    assert text_frames(payloads) == b"".join(map(text_frame, payloads))


def test_a_trade_has_the_fields_of_a_recorded_one(recorded: Path) -> None:
    with gzip.open(recorded / "binance-spot-recording" / "spot_btcusdt_20240808.gz", "rt") as lines:
        line = next(line for line in lines if "@trade" in line)
    real = json.loads(line.split(" ", 1)[1])
    tape = _tape()
    frames = trade_frames(tape.instrument, tape.trades(1, 3), Form(True, MILLISECOND))
    ours = json.loads(_payloads(frames.sent_at(NOW, 0, 1))[0])
    assert _shape(ours) == _shape(real)


def test_a_ticker_has_the_fields_of_a_recorded_one(recorded: Path) -> None:
    real = _first(recorded, "data", '"stream":"ethusdt@ticker"')
    tape = _tape()
    day = RollingDay(tape).statistics(NOW, open_candle(tape, tape.minute_of(NOW), NOW))
    ours = json.loads(ticker_payload(tape.instrument, day, NOW, MILLISECOND))
    assert _shape(ours) == _shape(real)
    assert ours["L"] - ours["F"] + 1 == ours["n"] > 0
    assert ours["O"] == ours["C"] - 86_400_000
    assert Decimal(ours["w"]) == pytest.approx(Decimal(ours["q"]) / Decimal(ours["v"]), abs=Decimal("1e-8"))


def test_a_kline_has_the_fields_of_a_recorded_one(recorded: Path) -> None:
    with gzip.open(recorded / "venue-recordings" / "BINANCE.ws.1.0.gz", "rt") as lines:
        line = next(line for line in lines if "@kline_1m" in line and not line.startswith("wss"))
    real = json.loads(line.split(": ", 1)[1])["data"]
    tape = _tape()
    payload = kline_payload(tape.instrument, OPENING, flat(tape.price_before(1)), NOW, MILLISECOND, is_closed=True)
    ours = json.loads(payload)
    assert _shape(ours) == _shape(real)
    assert (ours["k"]["f"], ours["k"]["L"], ours["k"]["n"], ours["k"]["x"]) == (-1, -1, 0, True)
    assert (ours["k"]["t"], ours["k"]["T"]) == (OPENING // 1000, OPENING // 1000 + 59_999)


def test_a_book_has_the_fields_of_a_recorded_one(recorded: Path) -> None:
    real = _first(recorded, "data", '"stream":"ethusdt@depth20"')
    ours = json.loads(depth_payload(_tape().instrument, _tape().book(NOW, 5)))
    assert _shape(ours) == _shape(real)
    assert [len(ours["bids"]), len(ours["asks"])] == [5, 5]
    assert _shape(dict(enumerate(ours["bids"][0]))) == _shape(dict(enumerate(real["bids"][0])))


def test_rest_rows_have_the_fields_of_recorded_ones(recorded: Path) -> None:
    with gzip.open(recorded / "rest-replies" / "binance_public_rest.json.gz", "rt") as file:
        replies = json.load(file)
    tape = _tape()
    pair, trades = tape.instrument, tape.trades(1, 40)
    day = RollingDay(tape).statistics(NOW, open_candle(tape, tape.minute_of(NOW), NOW))
    ours = {
        "/api/v3/trades": json.loads(trade_rows(pair, trades, MILLISECOND))[0],
        "/api/v3/aggTrades": json.loads(aggregate_rows(pair, trades, MILLISECOND))[0],
        "/api/v3/ticker/24hr": ticker_row(pair, day, MILLISECOND),
        "/api/v3/klines": dict(enumerate(kline_row(pair, OPENING, 60_000_000, day.candle, MILLISECOND))),
    }
    for path, row in ours.items():
        data = replies[path][0]["data"]
        real = data[0] if isinstance(data, list) else data
        real = dict(enumerate(real)) if isinstance(real, list) else real
        # The last column of a kline is to be ignored; a percentage has three places.
        assert sorted(_shape(row)) == sorted(_shape(real)), path


@pytest.mark.parametrize("form", [Form(combined, unit) for combined in (True, False) for unit in (1, 1000)])
def test_a_run_of_trades_is_a_run_of_whole_frames_in_each_form(form: Form) -> None:
    tape = _tape("币安人生USDT")
    trades = tape.trades(1, 30)
    frames = trade_frames(tape.instrument, trades, form)
    payloads = [json.loads(payload) for payload in _payloads(frames.sent_at(NOW, 4, 29))]
    assert len(payloads) == 25
    for payload, index in zip(payloads, range(4, 29), strict=True):
        if form.is_combined:
            assert payload["stream"] == "币安人生usdt@trade"
            payload = payload["data"]
        assert payload["t"] == trades.id[index]
        assert payload["E"] == NOW // form.unit
        assert payload["T"] == trades.time[index] // form.unit
        assert payload["m"] == trades.buyer_is_maker[index]
        assert payload["p"] == price_text(tape.instrument, int(trades.price[index]))


def test_aggregates_merge_the_fills_of_one_order_and_lose_nothing() -> None:
    tape = _tape()
    trades = tape.trades_of_orders(10, 60)
    rows = json.loads(aggregate_rows(tape.instrument, trades, MICROSECOND))
    assert [row["a"] for row in rows] == list(range(10, 60))
    assert any(row["l"] > row["f"] for row in rows)
    assert [number for row in rows for number in range(row["f"], row["l"] + 1)] == trades.id.tolist()
    assert sum(Decimal(row["q"]) for row in rows) == Decimal(int(trades.quantity.sum())).scaleb(-5)


@given(st.integers(0, 10**12), st.integers(0, 10**9))
def test_a_quote_volume_is_exactly_price_times_quantity(ticks: int, steps: int) -> None:
    pair = instrument("BTCUSDT")
    assert pair
    exact = Decimal(ticks).scaleb(-pair.price_decimals) * Decimal(steps).scaleb(-pair.quantity_decimals)
    assert Decimal(quote_text(pair, ticks * steps)).compare(exact.quantize(Decimal("1e-8"))) == 0


def test_a_raw_event_is_the_data_alone() -> None:
    assert _payloads(event_frame("a@b", '{"x":1}', Form(False, 1))) == [b'{"x":1}']
    assert _payloads(event_frame("a@b", '{"x":1}', Form(True, 1))) == [b'{"stream":"a@b","data":{"x":1}}']
