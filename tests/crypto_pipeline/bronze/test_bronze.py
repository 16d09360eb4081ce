"""What Kafka's messages become: one parametrised test for all tables, then what each has of its own."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from types import ModuleType
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from crypto_pipeline.bronze import (
    agg_trades,
    connections,
    dead_letters,
    depth,
    gaps,
    instruments,
    klines,
    quarantine,
    selections,
    tickers,
    trades,
)
from crypto_pipeline.ingest import sources
from shared.events import (
    AnyEvent,
    ConnectionReport,
    DeadLetter,
    DepthSnapshot,
    Gap,
    Instrument,
    Selection,
    Ticker,
    encode,
)
from tests.crypto_pipeline.conftest import KAFKA_TIME, MESSAGE_COLUMNS, START, agg_trade, kline, trade

Messages = Callable[[Iterable[AnyEvent]], DataFrame]

COMMON = {"exchange": "binance", "symbol": "BTCUSDT", "base_asset": "BTC", "quote_asset": "USDT", "source": "websocket"}
DEPTH = DepthSnapshot(
    **COMMON,  # type: ignore[arg-type]
    event_time=None,
    received_at=START,
    connection_id="test",
    update_id=7,
    levels=5,
    bids=((Decimal("1.5"), Decimal(2)),),
    asks=((Decimal("1.6"), Decimal("0.000000000000000001")), (Decimal("1.7"), Decimal(1))),
)
_DECIMALS = [f.name for f in msgspec.structs.fields(Ticker) if f.type is Decimal]
TICKER = Ticker(
    **COMMON,  # type: ignore[arg-type]
    **dict.fromkeys(_DECIMALS, Decimal("12345678901234567890.123456789012345678")),  # type: ignore[arg-type]
    event_time=START,
    connection_id="test",
    open_time=START - 86_400_000_000,
    close_time=START,
    first_trade_id=1,
    last_trade_id=9,
    trade_count=9,
)
GAP = Gap(
    **COMMON,  # type: ignore[arg-type]
    event_time=START,
    connection_id="test",
    gap_stream="trade",
    first_missing=7,
    last_missing=9,
    missing=3,
    cause="id_jump",
    status="open",
    repaired_from="",
    detail="3 trades are missing.",
    updated_at=START + 5,
)
INSTRUMENT = Instrument(
    **COMMON,  # type: ignore[arg-type]
    event_time=START,
    connection_id="rest",
    status="TRADING",
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.00001"),
    min_notional=None,
)
SELECTION = Selection(
    **COMMON,  # type: ignore[arg-type]
    event_time=START,
    connection_id="rest",
    selector="quote=USDT top=50",
    rank=1,
    quote_volume=Decimal("123.5"),
)
CONNECTION = ConnectionReport(
    exchange="binance",
    connection_id="test",
    opened_at=START,
    closed_at=None,
    reason="",
    channels=4,
    clock_offset=-1500,
    updated_at=START + 5,
)
DEAD_LETTER = DeadLetter(exchange="binance", connection_id="test", received_at=START, error="no JSON", frame="{")
EXAMPLES: dict[ModuleType, Any] = {
    trades: trade(1, START, "1", "2"),
    klines: kline(START, 1, 3, 3),
    depth: DEPTH,
    tickers: TICKER,
    agg_trades: agg_trade(1, START, 4, 6),
    gaps: GAP,
    instruments: INSTRUMENT,
    selections: SELECTION,
    connections: CONNECTION,
    dead_letters: DEAD_LETTER,
}


@pytest.fixture
def as_text(spark: SparkSession) -> Callable[..., DataFrame]:
    """Any text as messages of a stream."""

    def make(stream: str | None, *texts: str | None) -> DataFrame:
        rows = [(text, stream, "crypto_raw_btcusdt", 0, offset, KAFKA_TIME) for offset, text in enumerate(texts)]
        return spark.createDataFrame(rows, MESSAGE_COLUMNS)

    return make


def test_every_table_has_an_example_here() -> None:
    assert set(EXAMPLES) == set(sources())


@pytest.mark.parametrize("module", sources(), ids=lambda module: module.TABLE.full_name)
def test_build_yields_what_the_contract_promises(module: ModuleType, as_messages: Messages) -> None:
    rows = quarantine.kept(module.build(as_messages(EXAMPLES.values())), module.TABLE)
    promised = [(column.name, column.type.replace(" ", "")) for column in module.TABLE.columns]
    assert [(name, kind.replace(" ", "")) for name, kind in rows.dtypes] == promised
    found = rows.collect()
    assert len(found) == 1, "each table takes its own stream alone"
    missing = [name for name in (*module.TABLE.key, *module.TABLE.partitions) if found[0][name] is None]
    assert not missing
    if module.TABLE.marks:
        assert found[0].broken_rules is not None


@pytest.mark.parametrize("module", sources(), ids=lambda module: module.TABLE.full_name)
def test_a_message_without_a_field_that_must_be_there_is_refused_whole(
    module: ModuleType, as_text: Callable[..., DataFrame]
) -> None:
    stream = module.EVENT.__struct_config__.tag
    whole = msgspec.json.decode(encode(EXAMPLES[module]))
    required = [f.encode_name for f in msgspec.structs.fields(module.EVENT) if whole.get(f.encode_name) is not None]
    texts = [json.dumps({name: value for name, value in whole.items() if name != gone}) for gone in required]
    rows = module.build(as_text(stream, *texts, json.dumps(whole)))
    optional = {name for name in required if type(None) in get_args(get_type_hints(module.EVENT)[name])}
    refused = quarantine.build(rows, module.TABLE).collect()
    unparsed = {json.loads(row.row)["offset"] for row in refused if row.rule == "cannot_be_parsed"}
    assert unparsed == {offset for offset, name in enumerate(required) if name not in optional}


def test_decimals_arrive_digit_for_digit(as_messages: Messages) -> None:
    row = tickers.build(as_messages([TICKER])).first()
    assert row.last_price == Decimal("12345678901234567890.123456789012345678")
    row = depth.build(as_messages([DEPTH])).first()
    assert [(level.price, level.quantity) for level in row.asks] == list(DEPTH.asks)


def test_a_zero_that_is_written_with_an_exponent_is_a_zero(as_messages: Messages) -> None:
    row = klines.build(as_messages([kline(START, -1, -1, 0, volume=Decimal("0E-8"))])).first()
    assert row.volume == 0


def test_times_are_kept_to_the_microsecond_in_utc(as_messages: Messages) -> None:
    row = trades.build(as_messages([trade(1, START + 123_457, "1", "2")])).selectExpr(
        "unix_micros(event_time) as t", "date", "hour"
    )
    assert tuple(row.first()) == (START + 123_457, "2026-08-06", "07")


def test_a_book_without_a_time_is_placed_by_its_receipt(as_messages: Messages) -> None:
    row = depth.build(as_messages([DEPTH])).first()
    assert (row.event_time, row.date, row.hour) == (None, "2026-08-06", "07")


def test_the_better_source_stays_then_the_earlier_receipt(as_messages: Messages) -> None:
    later = trade(1, START, "1", "2", received_at=START + 5_000_000)
    earlier = trade(1, START, "1", "2", received_at=START + 1)
    rest = trade(1, START, "1", "2", source="rest", received_at=None)
    archive = trade(1, START, "1", "2", source="archive", received_at=None)
    rows = trades.build(as_messages([later, rest, earlier, archive])).collect()
    worst_first = sorted(rows, key=lambda row: row.ordering)
    assert [row.source for row in worst_first] == ["archive", "rest", "websocket", "websocket"]
    assert worst_first[-1].received_at < worst_first[-2].received_at


def test_a_closed_kline_stays_over_an_open_one_that_came_later(as_messages: Messages) -> None:
    closed = kline(START, 1, 3, 3)
    late_open = kline(START, 1, 2, 2, is_closed=False, published_at=closed.published_at + 60_000_000)  # type: ignore[operator]
    rows = {row.is_closed: row.ordering for row in klines.build(as_messages([late_open, closed])).collect()}
    assert rows[True] > rows[False]


@pytest.mark.parametrize(
    "text",
    [
        '{"stream":"trade","trade_id":',
        "[]",
        '"text"',
        '{"stream":"trade","trade_id":"many"}',
        "",
    ],
)
def test_what_is_no_event_is_kept_in_quarantine_and_its_neighbours_go_on(
    as_messages: Messages, as_text: Callable[..., DataFrame], text: str
) -> None:
    rows = trades.build(as_text("trade", text).unionByName(as_messages([trade(1, START, "1", "2")])))
    assert [row.trade_id for row in quarantine.kept(rows, trades.TABLE).collect()] == [1]
    (refused,) = quarantine.build(rows, trades.TABLE).collect()
    assert (refused.table_name, refused.rule, refused.date) == ("bronze.trades", "cannot_be_parsed", "2026-08-06")
    kept = json.loads(refused.row)
    assert (kept["value"], kept["topic"], kept["partition"], kept["offset"]) == (text, "crypto_raw_btcusdt", 0, 0)
    counted = quarantine.counted(rows, trades.TABLE)
    assert (counted["kept"], counted["cannot_be_parsed"], counted["repeated"]) == (1, 1, 0)


def test_a_key_that_comes_again_is_counted_whether_it_is_kept_or_not(as_messages: Messages) -> None:
    same = trade(1, START, "1", "2")
    rows = trades.build(as_messages([same, trade(2, START, "1", "2"), same, trade(2, START, "0", "2")]))
    counted = quarantine.counted(rows, trades.TABLE)
    assert (counted["kept"], counted["repeated"]) == (3, 2)


@pytest.mark.parametrize(
    "number",
    ["100000000000000000000", "1.1234567890123456789", "1.5E-19", "NaN", "Infinity", "1,5", "", "1E+20", "12345E-20"],
)
def test_a_number_that_does_not_fit_is_refused_and_never_rounded(
    as_messages: Messages, as_text: Callable[..., DataFrame], number: str
) -> None:
    wrong = {**msgspec.json.decode(encode(trade(1, START, "1", "2"))), "price": number}
    rows = trades.build(as_text("trade", json.dumps(wrong)))
    assert [row.rule for row in quarantine.build(rows, trades.TABLE).collect()] == ["cannot_be_parsed"]
    level = {**msgspec.json.decode(encode(DEPTH)), "bids": [["1", number]]}
    rows = depth.build(as_text("depth5", json.dumps(level)))
    assert [row.rule for row in quarantine.build(rows, depth.TABLE).collect()] == ["cannot_be_parsed"]


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**19), max_value=10**19, places=18))
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_edge_writes_is_read_exactly(as_messages: Messages, number: Decimal) -> None:
    row = klines.build(as_messages([kline(START, 1, 3, 3, volume=number)])).collect()[0]
    assert (row.fault, row.volume) == (None, number)


def test_a_message_that_no_table_takes_is_kept_in_quarantine(as_text: Callable[..., DataFrame]) -> None:
    messages = as_text("foreign", '{"stream":"foreign"}').unionByName(as_text(None, "{", None))
    refused = quarantine.unknown(messages, ["trade"]).collect()
    assert sorted(row.rule for row in refused) == ["cannot_be_parsed", "cannot_be_parsed", "unknown_stream"]
    assert {row.table_name for row in refused} == {"bronze"}
    again = quarantine.unknown(messages, ["trade"]).collect()
    assert {row.row_id for row in refused} == {row.row_id for row in again}, "refused again it is the same row"


def test_a_row_that_breaks_a_rule_goes_to_quarantine_with_its_name_and_its_neighbours_go_on(
    as_messages: Messages,
) -> None:
    good, bad = trade(1, START, "1", "2"), trade(2, START, "1", "2", quantity=Decimal(-2), quote_quantity=Decimal(-2))
    rows = trades.build(as_messages([good, bad]))
    assert [row.trade_id for row in quarantine.kept(rows, trades.TABLE).collect()] == [1]
    refused = quarantine.build(rows, trades.TABLE).collect()
    assert [(row.table_name, row.rule) for row in refused] == [("bronze.trades", "quantity_is_positive")]
    assert '"trade_id":2' in refused[0].row


FAR = START + 100 * 365 * 86_400_000_000
"""A century ahead of any clock."""


def test_a_row_from_the_future_is_refused(as_messages: Messages) -> None:
    rows = trades.build(as_messages([trade(1, FAR, "1", "2", received_at=FAR - 301_000_000)]))
    assert [row.rule for row in quarantine.build(rows, trades.TABLE).collect()] == ["time_is_not_in_the_future"]
    rows = klines.build(as_messages([kline(FAR, 1, 3, 3, received_at=FAR - 301_000_000)]))
    rules = {row.rule for row in quarantine.build(rows, klines.TABLE).collect()}
    assert rules == {"it_has_begun", "time_is_not_in_the_future"}


def test_what_was_received_while_our_clock_was_behind_is_taken_once_it_is_right(as_messages: Messages) -> None:
    behind = START - 3_600_000_000
    rows = trades.build(as_messages([trade(1, START, "1", "2", received_at=behind)]))
    assert quarantine.kept(rows, trades.TABLE).count() == 1
    rows = klines.build(as_messages([kline(START, 1, 3, 3, received_at=behind)]))
    assert quarantine.kept(rows, klines.TABLE).count() == 1


def test_a_rule_that_cannot_be_decided_is_broken_and_a_mark_is_not(as_messages: Messages) -> None:
    never = {"never_known": "cast(null as boolean)"}
    rows = trades.build(as_messages([trade(1, START, "1", "2")]))
    assert quarantine.kept(rows, replace(trades.TABLE, rules=never)).count() == 0
    assert quarantine.build(rows, replace(trades.TABLE, rules=never)).count() == 1
    from_archive = trades.build(as_messages([trade(1, START, "1", "2", source="archive", received_at=None)]))
    assert from_archive.collect()[0].broken_rules == []


ONE = Decimal(1)
MARKED: list[tuple[ModuleType, Any, str]] = [
    (trades, trade(1, START, "1", "2", received_at=START - 1_500_000), "clocks_agree"),
    (trades, trade(1, START, "1", "2", received_at=START + 12_000_000), "is_not_late"),
    (depth, msgspec.structs.replace(DEPTH, bids=((Decimal("1.6"), ONE),)), "book_is_not_crossed"),
    (depth, msgspec.structs.replace(DEPTH, bids=((ONE, Decimal(0)),)), "sizes_are_positive"),
    (tickers, msgspec.structs.replace(TICKER, ask_price=TICKER.bid_price), "book_is_not_crossed"),
    (tickers, msgspec.structs.replace(TICKER, last_price=ONE), "price_is_within_the_day"),
    (klines, kline(START, 1, 3, 3, high=Decimal("0.5")), "high_is_highest"),
    (klines, kline(START, 1, 4, 3), "ids_are_as_many_as_trades"),
    (agg_trades, agg_trade(1, START, 4, 6, first_trade_id=9), "ids_are_in_order"),
    (gaps, msgspec.structs.replace(GAP, last_missing=1), "its_end_is_not_before_its_start"),
    (instruments, msgspec.structs.replace(INSTRUMENT, tick_size=Decimal(0)), "steps_are_positive"),
]


@pytest.mark.parametrize(("module", "event", "mark"), MARKED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_row_that_breaks_a_mark_goes_on_and_says_so(
    as_messages: Messages, module: ModuleType, event: Any, mark: str
) -> None:
    (row,) = quarantine.kept(module.build(as_messages([event])), module.TABLE).collect()
    assert mark in row.broken_rules


def day(low: str, high: str, until: int, **changes: object) -> Ticker:
    """A ticker of BTCUSDT whose 24 hours end at `until`."""
    begin = {"event_time": until, "open_time": until - 86_400_000_000, "close_time": until}
    prices = {"low_price": Decimal(low), "high_price": Decimal(high)}
    return msgspec.structs.replace(TICKER, **{**begin, **prices, **changes})


@pytest.mark.parametrize(
    ("ticker", "is_broken"),
    [
        (day("1", "3", START + 1_000_000), False),
        (day("2.5", "3", START + 1_000_000), True),
        (day("1", "1.5", START + 1_000_000), True),
        (day("2.5", "3", START + 999_999), False),
        (day("2.5", "3", START + 2_000_000, open_time=START + 1), False),
        (day("2.5", "3", START + 1_000_000, symbol="ETHUSDT"), False),
    ],
    ids=["inside", "below", "above", "too_fresh_to_tell", "before_its_day", "of_another_symbol"],
)
def test_a_price_is_compared_with_the_exchanges_own_day_only_where_that_covers_it(
    as_messages: Messages, ticker: Ticker, is_broken: bool
) -> None:
    older = day("2.5", "3", START + 500_000)
    (row,) = trades.build(as_messages([trade(1, START, "2", "1"), older, ticker])).collect()
    assert ("price_is_within_the_day" in row.broken_rules) == is_broken
