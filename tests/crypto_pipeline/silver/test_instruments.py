"""What a pair was when."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from crypto_pipeline.bronze import instruments as bronze
from crypto_pipeline.silver import instruments
from shared.events import AnyEvent, Instrument
from tests.crypto_pipeline.conftest import START

HOUR = 3_600_000_000
NOW = datetime(2026, 8, 7, tzinfo=UTC)
Messages = Callable[[Iterable[AnyEvent]], DataFrame]


def said(hours: int, status: str, **changes: object) -> Instrument:
    """What the exchange says of LUNAUSDT so many hours after the start."""
    values: dict[str, object] = {
        "exchange": "binance",
        "symbol": "LUNAUSDT",
        "base_asset": "LUNA",
        "quote_asset": "USDT",
        "event_time": START + hours * HOUR,
        "source": "rest",
        "connection_id": "rest",
        "status": status,
        "tick_size": Decimal("0.01"),
        "step_size": Decimal("0.1"),
        "min_notional": None,
    }
    return Instrument(**{**values, **changes})  # type: ignore[arg-type]


LIFE = [
    said(0, "TRADING"),
    said(1, "TRADING"),  # the poller was started again and says the same
    said(2, "TRADING", tick_size=Decimal("0.001")),
    said(3, "HALT", tick_size=Decimal("0.001")),
    said(5, "DELISTED", tick_size=Decimal("0.001")),
    said(9, "TRADING"),
]


@pytest.fixture
def made(spark: SparkSession, as_messages: Messages) -> Callable[..., list[dict[str, Any]]]:
    """The rows of the table after each of several parts of what was said, every part followed as it came."""

    def make(*parts: list[Instrument]) -> list[dict[str, Any]]:
        schema = ", ".join(f"{column.name} {column.type}" for column in instruments.TABLE.columns)
        table: dict[tuple[str, ...], dict[str, Any]] = {}
        so_far: list[Instrument] = []
        for part in parts:
            so_far += part
            source = {"bronze.instruments": bronze.build(as_messages(so_far))}
            current = spark.createDataFrame([tuple(row.values()) for row in table.values()], schema)
            keys = instruments.touched({"bronze.instruments": bronze.build(as_messages(part))}, current, NOW)
            for row in instruments.build(keys, source, current, NOW).collect():
                table[row.exchange, row.symbol, row.valid_from] = row.asDict()
        return sorted(table.values(), key=lambda row: row["valid_from"])

    return make


def test_each_span_says_one_thing_and_ends_where_the_next_begins(made: Callable[..., list[dict[str, Any]]]) -> None:
    rows = made(LIFE)
    assert [row["status"] for row in rows] == ["TRADING", "TRADING", "HALT", "DELISTED", "TRADING"]
    assert [row["valid_to"] for row in rows] == [*[row["valid_from"] for row in rows[1:]], None]


def test_a_ticker_that_was_delisted_and_comes_again_is_another_instrument(
    made: Callable[..., list[dict[str, Any]]],
) -> None:
    rows = made(LIFE)
    assert [row["instrument_id"] for row in rows] == ["binance:LUNAUSDT:1"] * 4 + ["binance:LUNAUSDT:2"]
    first, second = rows[0], rows[-1]
    assert (first["listed_at"], first["delisted_at"]) == (rows[0]["valid_from"], rows[3]["valid_from"])
    assert (second["listed_at"], second["delisted_at"]) == (second["valid_from"], None)


@pytest.mark.parametrize("cut", range(1, len(LIFE)))
def test_followed_in_parts_it_is_what_it_is_from_scratch(made: Callable[..., list[dict[str, Any]]], cut: int) -> None:
    def without_bookkeeping(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: value for name, value in row.items() if name != "ingestion_ts"} for row in rows]

    assert without_bookkeeping(made(LIFE[:cut], LIFE[cut:])) == without_bookkeeping(made(LIFE))


def test_what_says_nothing_new_writes_nothing(spark: SparkSession, as_messages: Messages) -> None:
    rows = bronze.build(as_messages(LIFE))
    keys = rows.select("exchange", "symbol").distinct()
    none = spark.createDataFrame([], ", ".join(f"{c.name} {c.type}" for c in instruments.TABLE.columns))
    current = instruments.build(keys, {"bronze.instruments": rows}, none, NOW)
    assert instruments.build(keys, {"bronze.instruments": rows}, current, NOW).count() == 0


def test_what_is_needed_is_asked_for_only_where_something_changed(spark: SparkSession) -> None:
    keys = spark.createDataFrame([], "exchange string, symbol string")
    assert instruments.needs(keys, NOW).count() == 0


def test_a_pair_that_is_interrupted_for_over_a_week_is_gone_and_comes_again_as_another(
    made: Callable[..., list[dict[str, Any]]],
) -> None:
    hours_of_a_week = 7 * 24
    rows = made([said(0, "TRADING"), said(5, "BREAK"), said(6 + hours_of_a_week, "TRADING")])
    assert [row["instrument_id"][-1] for row in rows] == ["1", "1", "2"]
    assert [row["delisted_at"] for row in rows] == [rows[1]["valid_from"]] * 2 + [None]
    rows = made([said(0, "TRADING"), said(5, "BREAK"), said(4 + hours_of_a_week, "TRADING")])
    assert {(row["instrument_id"][-1], row["delisted_at"]) for row in rows} == {("1", None)}


@pytest.mark.parametrize("then", ["BREAK", "DELISTED"])
def test_an_absence_is_one_whatever_is_said_in_it(made: Callable[..., list[dict[str, Any]]], then: str) -> None:
    week = 7 * 24
    other = Decimal("0.05")
    told = [
        said(0, "TRADING"), said(5, "BREAK"), said(week, then, tick_size=other),
        said(week + 9, "BREAK", tick_size=Decimal("0.02")), said(week + 20, "TRADING"),
    ]  # fmt: skip
    rows = made(told)
    assert [row["instrument_id"][-1] for row in rows] == ["1", "1", "1", "1", "2"]
    assert [row["delisted_at"] for row in rows] == [rows[1]["valid_from"]] * 4 + [None]
    for cut in range(1, len(told)):
        parts = made(told[:cut], told[cut:])
        assert [row["instrument_id"] for row in parts] == [row["instrument_id"] for row in rows]


def test_a_pair_is_gone_a_week_after_the_break_though_nothing_more_is_said(
    made: Callable[..., list[dict[str, Any]]], spark: SparkSession, as_messages: Messages
) -> None:
    said_so = [said(0, "TRADING"), said(5, "BREAK")]
    schema = ", ".join(f"{column.name} {column.type}" for column in instruments.TABLE.columns)
    [_, row] = made(said_so)
    began = row["valid_from"].replace(tzinfo=UTC)
    earlier = spark.createDataFrame([tuple((row | {"delisted_at": None}).values())], schema)
    nothing = {"bronze.instruments": bronze.build(as_messages([]))}
    for days, pairs in ((6, 0), (8, 1)):
        now = began + timedelta(days=days)
        assert instruments.touched(nothing, earlier, now).count() == pairs
