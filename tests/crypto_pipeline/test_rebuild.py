"""A range that is made again: what comes out, what it leaves alone, and what another run does meanwhile."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from crypto_pipeline.bronze import klines, trades
from crypto_pipeline.lakehouse import hours_between
from crypto_pipeline.refresh import MARKS, rebuild, refresh, steps
from crypto_pipeline.silver import indicators, ohlcv, ohlcv_1m
from crypto_pipeline.silver.candles import BOOKKEEPING
from shared.events import AnyEvent
from shared.tables import Table
from tests.crypto_pipeline.conftest import MINUTE, START, kline, trade
from tests.crypto_pipeline.memory_lake import MemoryLake

Messages = Callable[[Iterable[AnyEvent]], DataFrame]
SEVEN = datetime(2026, 8, 6, 7, tzinfo=UTC)
HOUR = [SEVEN]
"""The hour of START."""
NOW = datetime(2026, 8, 6, 13, tzinfo=UTC)


@dataclass(frozen=True)
class Disturbed(MemoryLake):
    """Does something once, right before the next write."""

    meanwhile: list[Callable[[], Any]] = field(default_factory=list)

    def write(self, table: Table, *given: Any, **options: Any) -> None:
        if self.meanwhile:
            self.meanwhile.pop()()
        super().write(table, *given, **options)


@pytest.fixture(scope="module")
def made(spark: SparkSession, as_messages: Messages) -> Disturbed:
    """Two trades in one minute and one in the next hour, with their candles."""
    made = Disturbed(spark)
    tape = [trade(1, START, "2", "1"), trade(2, START + 1, "3", "1"), trade(3, START + 60 * MINUTE, "4", "1")]
    view = [kline(START, 1, 2, 2, **like(tape[:2])), kline(START + 60 * MINUTE, 3, 3, 1, **like(tape[2:]))]
    made.write(trades.TABLE, trades.build(as_messages(tape)), {})
    made.write(klines.TABLE, klines.build(as_messages(view)), {})
    for module in (ohlcv_1m, ohlcv):
        refresh(made, module, NOW)
    return made


@pytest.fixture
def lake(made: Disturbed) -> Disturbed:
    """The same, to be spoiled."""
    return replace(
        made,
        stored=deepcopy(made.stored),
        written=[*made.written],
        _notes={**made._notes},
        _clock=[*made._clock],
        meanwhile=[],
    )


def like(tape: list[Any]) -> dict[str, Decimal]:
    """What the exchange's kline says of some trades."""
    prices = [one.price for one in tape]
    size = sum((one.quantity for one in tape), Decimal(0))
    return {
        "open": prices[0], "close": prices[-1], "high": max(prices), "low": min(prices), "volume": size,
        "quote_volume": sum((one.quote_quantity for one in tape), Decimal(0)), "taker_buy_volume": size / 2,
    }  # fmt: skip


def said(lake: MemoryLake, module: ModuleType) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The table's rows by key, but for their bookkeeping."""
    names = module.TABLE.column_names
    return {
        key: {name: row[name] for name in names if name not in BOOKKEEPING}
        for key, (_, row) in lake.stored[module.TABLE.full_name].items()
    }


def damage(lake: MemoryLake, module: ModuleType, **changes: Any) -> None:
    """Let every row of the table say something else."""
    names = module.TABLE.column_names
    stored = lake.stored[module.TABLE.full_name]
    for key, (commit, row) in stored.items():
        stored[key] = (commit, Row(**{name: changes.get(name, row[name]) for name in names}))


def test_rows_that_were_damaged_or_lost_are_made_again(lake: Disturbed) -> None:
    before = {module: said(lake, module) for module in (ohlcv_1m, ohlcv)}
    damage(lake, ohlcv, high=Decimal(99))
    lake.stored["silver.ohlcv_1m"].clear()
    for module in (ohlcv_1m, ohlcv):
        done = rebuild(lake, module, hours_between(SEVEN, SEVEN + timedelta(hours=1)), NOW)
        assert done.is_sound
        assert done.rows == len(before[module])
    assert {module: said(lake, module) for module in before} == before


def test_what_lies_outside_the_range_is_left_as_it_is(lake: Disturbed) -> None:
    damage(lake, ohlcv_1m, high=Decimal(99))
    rebuild(lake, ohlcv_1m, HOUR, NOW)
    assert sorted(row["high"] for row in said(lake, ohlcv_1m).values()) == [Decimal(3), Decimal(99)]


def test_an_interval_that_holds_the_range_is_made_again_whole(lake: Disturbed) -> None:
    before = said(lake, ohlcv)
    damage(lake, ohlcv, high=Decimal(99))
    rebuild(lake, ohlcv, HOUR, NOW)
    again = {key: row for key, row in said(lake, ohlcv).items() if row["high"] != Decimal(99)}
    assert {row["interval"] for row in again.values()} == {"5m", "15m", "1h", "4h", "1d"}
    assert all(before[key] == row for key, row in again.items())


def test_what_comes_out_the_same_is_not_written_and_the_marks_stay(lake: Disturbed) -> None:
    marks, commits = lake.note(ohlcv_1m.TABLE, MARKS), len(lake.written)
    done = rebuild(lake, ohlcv_1m, HOUR, NOW)
    assert (done.rows, len(lake.written)) == (0, commits)
    damage(lake, ohlcv_1m, high=Decimal(99))
    assert rebuild(lake, ohlcv_1m, HOUR, NOW).rows == 1
    assert rebuild(lake, ohlcv_1m, HOUR, NOW).rows == 0
    assert lake.note(ohlcv_1m.TABLE, MARKS) == marks


def test_hours_without_anything_are_made_of_nothing(lake: Disturbed) -> None:
    commits = len(lake.written)
    assert rebuild(lake, ohlcv_1m, [datetime(2020, 1, 1, tzinfo=UTC)], NOW).rows == 0
    assert len(lake.written) == commits


def test_what_another_run_followed_meanwhile_is_not_lost(lake: Disturbed, as_messages: Messages) -> None:
    marks = lake.note(ohlcv_1m.TABLE, MARKS)
    late = trade(9, START + 2, "7", "1")
    damage(lake, ohlcv_1m, close=Decimal(99))

    def meanwhile() -> None:
        lake.write(trades.TABLE, trades.build(as_messages([late])), {})
        lake.stored["bronze.klines"].clear()
        refresh(lake, ohlcv_1m, NOW)
        assert [row["trade_count"] for key, row in said(lake, ohlcv_1m).items() if key[2].hour == 7] == [3]

    lake.meanwhile.append(meanwhile)
    rebuild(lake, ohlcv_1m, HOUR, NOW)
    of_hour = [row["trade_count"] for key, row in said(lake, ohlcv_1m).items() if key[2].hour == 7]
    assert of_hour == [2], "it was made of what was there before, and is the last to write"
    assert lake.note(ohlcv_1m.TABLE, MARKS) == marks
    refresh(lake, ohlcv_1m, NOW)
    assert [row["trade_count"] for key, row in said(lake, ohlcv_1m).items() if key[2].hour == 7] == [3]


def test_a_table_that_was_never_made_is_followed_from_its_beginning_after_a_part_was_made(lake: Disturbed) -> None:
    lake.stored.pop("silver.ohlcv_1m")
    lake._notes.pop("silver.ohlcv_1m")
    assert rebuild(lake, ohlcv_1m, HOUR, NOW).rows == 1
    assert lake.note(ohlcv_1m.TABLE, MARKS) is None
    refresh(lake, ohlcv_1m, NOW)
    assert len(said(lake, ohlcv_1m)) == 2


def test_rows_that_break_a_rule_are_not_written(lake: Disturbed) -> None:
    damage(lake, ohlcv_1m, high=Decimal(99))
    strict = SimpleNamespace(
        TABLE=replace(ohlcv_1m.TABLE, rules={"it_is_never_right": "high < 0"}),
        SOURCES=ohlcv_1m.SOURCES,
        touched=ohlcv_1m.touched,
        needs=ohlcv_1m.needs,
        build=ohlcv_1m.build,
    )
    commits = len(lake.written)
    done = rebuild(lake, strict, HOUR, NOW)  # type: ignore[arg-type]
    assert (done.is_sound, done.broken) == (False, {"it_is_never_right": 1})
    assert len(lake.written) == commits


@pytest.mark.parametrize(
    ("module", "count"), [(ohlcv_1m, 33), (ohlcv, 2), (indicators, 2)], ids=["by day", "by month", "by month too"]
)
def test_a_long_range_is_made_in_parts_that_are_all_of_it(module: ModuleType, count: int) -> None:
    start, end = datetime(2026, 7, 30, 5, tzinfo=UTC), datetime(2026, 8, 31, 12, tzinfo=UTC)
    parts = steps(module, start, end)
    assert len(parts) == count
    assert [hour for part in parts for hour in part] == hours_between(start, end - timedelta(hours=1))


def test_days_that_are_known_to_be_without_single_trades_are_made_together() -> None:
    start, end = datetime(2026, 7, 30, 5, tzinfo=UTC), datetime(2026, 8, 31, 12, tzinfo=UTC)
    parts = steps(ohlcv_1m, start, end, {date(2026, 8, 3)})
    assert [part[0].date() for part in parts] == [date(2026, 7, 30), *(date(2026, 8, day) for day in (1, 3, 4))]
    assert [hour for part in parts for hour in part] == hours_between(start, end - timedelta(hours=1))
