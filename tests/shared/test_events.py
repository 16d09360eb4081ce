import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import (
    AHEAD,
    AnyEvent,
    DeadLetter,
    DepthSnapshot,
    Kline,
    Ticker,
    Trade,
    UnfitDecimal,
    decode,
    encode,
    exact_decimal,
    exact_product,
    lies_ahead,
    message_key,
)

fitting = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda units: Decimal(f"{units}E-18"))
times = st.integers(1, 10**17)
ids = st.integers(-1, 2**63 - 1)
TRADE = Trade(
    exchange="binance", symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT", event_time=1_795_249_793_614_275,
    source="websocket", connection_id="c", trade_id=7, price=Decimal("1.5"), quantity=Decimal(2),
    quote_quantity=Decimal(3), is_buyer_maker=False,
)  # fmt: skip
levels = st.lists(st.tuples(fitting, fitting), max_size=5).map(tuple)


def numbers(kind: type[AnyEvent]) -> dict[str, st.SearchStrategy[Any]]:
    """A strategy for each of its own fields that is a number."""
    fitting_of = {Decimal: fitting, int: ids, int | None: ids | st.none()}
    hints = {name: hint for name, hint in kind.__annotations__.items() if name != "event_time"}
    return {name: fitting_of[hint] for name, hint in hints.items() if hint in fitting_of}


def events() -> st.SearchStrategy[AnyEvent]:
    common = {
        "exchange": st.just("binance"),
        "symbol": st.text(min_size=1, max_size=12),
        "base_asset": st.text(max_size=8),
        "quote_asset": st.text(max_size=8),
        "source": st.sampled_from(["websocket", "rest", "archive"]),
        "connection_id": st.text(max_size=20),
    }
    return st.one_of(
        *(
            st.builds(kind, **common, event_time=times, **fields)
            for kind, fields in (
                (Trade, {"price": fitting, "quantity": fitting, "quote_quantity": fitting, "trade_id": ids}),
                (Ticker, numbers(Ticker)),
                (Kline, numbers(Kline)),
            )
        ),
        st.builds(
            DepthSnapshot,
            **common,
            event_time=st.none(),
            received_at=times,
            update_id=ids,
            levels=ids,
            bids=levels,
            asks=levels,
        ),
    )


@given(events())
def test_an_event_survives_encoding_and_decoding(event: AnyEvent) -> None:
    assert decode(encode(event)) == event


@given(events())
def test_a_message_names_its_stream_and_writes_decimals_as_strings(event: AnyEvent) -> None:
    message = msgspec.json.decode(encode(event))
    assert message["stream"] == event.stream
    for name, value in msgspec.structs.asdict(event).items():
        if isinstance(value, Decimal):
            assert Decimal(message[name]) == value
            assert isinstance(message[name], str)


def test_a_message_that_is_no_event_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(b'{"stream":"gossip"}')
    letter = DeadLetter(exchange="binance", connection_id="c", received_at=1, error="e", frame="f")
    with pytest.raises(msgspec.ValidationError):
        decode(encode(letter))


@given(fitting)
def test_a_decimal_that_fits_is_read_exactly(value: Decimal) -> None:
    assert exact_decimal(f"{value:f}") == value
    assert exact_decimal(str(value)) == value


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_a_decimal_is_read_exactly_or_refused(value: Decimal) -> None:
    try:
        read = exact_decimal(str(value))
    except UnfitDecimal:
        return
    assert read == value
    assert read.copy_abs() < 10**20
    assert int(read.as_tuple().exponent) >= -18


@given(st.text())
def test_text_that_is_no_number_is_refused_by_name(text: str) -> None:
    try:
        exact_decimal(text)
    except UnfitDecimal:
        return
    assert Decimal(text).is_finite()


@pytest.mark.parametrize(
    "text",
    [
        "", "abc", "NaN", "sNaN", "Infinity", "-inf", "1e20", "100000000000000000000", "0.0000000000000000001",
        "1e999999", "0." + "1" * 100, "1." + "0" * 100 + "1", "9" * 39,
    ],
)  # fmt: skip
def test_a_number_that_decimal_38_18_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(UnfitDecimal):
        exact_decimal(text)


def test_zeros_beyond_the_last_place_do_no_harm() -> None:
    assert exact_decimal("1.5" + "0" * 40) == Decimal("1.5")


@given(st.decimals("0.00000001", "1000000", places=8), st.decimals("0.00000001", "1000000", places=8))
def test_a_product_of_price_and_quantity_is_exact(price: Decimal, quantity: Decimal) -> None:
    product = exact_product(price, quantity)
    assert int(product.scaleb(16)) == int(price.scaleb(8)) * int(quantity.scaleb(8))


@given(fitting)
def test_a_product_with_one_is_the_number_itself(value: Decimal) -> None:
    assert exact_product(value, Decimal(1)) == value


def test_a_product_that_would_be_rounded_is_refused() -> None:
    with pytest.raises(UnfitDecimal):
        exact_product(Decimal("0.000000000000000001"), Decimal("0.1"))
    with pytest.raises(UnfitDecimal):
        exact_product(Decimal(10) ** 19, Decimal(10))


def test_the_key_of_a_message_keeps_the_streams_of_an_exchange_apart() -> None:
    assert message_key("binance", "trade") == b"binance:trade"


@given(st.binary() | st.none())
def test_any_bytes_are_an_event_or_refused_as_none(message: bytes | None) -> None:
    with suppress(msgspec.ValidationError):
        decode(message)


@given(events(), st.data())
def test_a_damaged_event_is_an_event_or_refused_as_none(event: AnyEvent, data: st.DataObject) -> None:
    whole = encode(event)
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, len(whole)))
    with suppress(msgspec.ValidationError):
        decode(whole[:begin] + data.draw(st.binary(max_size=5)) + whole[end:])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("price", "NaN"),
        ("price", "-Infinity"),
        ("price", "1E+999999999"),
        ("price", "0E+999999999"),
        ("price", "0E-999999999"),
        ("price", "100000000000000000000"),
        ("quantity", "0.0000000000000000001"),
        ("trade_id", 2**63),
        ("trade_id", -2),
        ("event_time", 10**400),
    ],
)
def test_a_number_that_no_table_holds_makes_no_event(name: str, value: object) -> None:
    whole = msgspec.json.decode(encode(TRADE))
    assert decode(msgspec.json.encode(whole)) == TRADE
    with pytest.raises(msgspec.ValidationError):
        decode(json.dumps(whole | {name: value}).encode())


def test_deep_json_makes_no_event() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(b'{"stream":"trade","more":' + b"[" * 100_000)


def test_an_event_of_later_than_five_minutes_lies_ahead() -> None:
    at = TRADE.event_time
    assert not lies_ahead(TRADE, at - AHEAD)
    assert lies_ahead(TRADE, at - AHEAD - 1)
