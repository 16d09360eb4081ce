"""A table made again by its own code beside what is stored of it."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from crypto_pipeline.bronze import klines, trades
from crypto_pipeline.refresh import refresh
from crypto_pipeline.silver import indicators, ohlcv, ohlcv_1m, quiet_intervals
from crypto_pipeline.verify import rebuilt
from crypto_pipeline.verify.rebuilt import Compared, compared
from shared.events import AnyEvent
from tests.crypto_pipeline.conftest import MINUTE, START, kline, trade
from tests.crypto_pipeline.memory_lake import MemoryLake

Messages = Callable[[Iterable[AnyEvent]], DataFrame]
NOW = datetime(2026, 8, 6, 13, tzinfo=UTC)
DAY = [datetime(2026, 8, 6, hour, tzinfo=UTC) for hour in range(24)]


@pytest.fixture(scope="module")
def made(spark: SparkSession, as_messages: Messages) -> MemoryLake:
    """A quiet minute and three with a trade each, as their klines say, and silver as it follows from them."""
    made = MemoryLake(spark)
    tape = [trade(n, START + n * MINUTE, str(n), "1") for n in (1, 2, 3)]
    made.write(trades.TABLE, trades.build(as_messages(tape)), {})
    view = [
        kline(START + n * MINUTE, n, n, 1, **dict.fromkeys(("open", "high", "low", "close"), Decimal(n)))
        for n in (1, 2, 3)
    ]
    made.write(klines.TABLE, klines.build(as_messages([kline(START, -1, -1, 0), *view])), {})
    for module in (ohlcv_1m, quiet_intervals, ohlcv, indicators):
        refresh(made, module, NOW)
    return made


@pytest.fixture
def lake(made: MemoryLake) -> MemoryLake:
    """The same, to be spoiled."""
    return replace(
        made, stored=deepcopy(made.stored), written=[*made.written], _notes={**made._notes}, _clock=[*made._clock]
    )


def looked(lake: MemoryLake, module: ModuleType, **options: Any) -> Compared:
    return compared(lake, module, DAY, options.get("symbols", ()), lambda: NOW, options.get("limit", 5))


def change(lake: MemoryLake, module: ModuleType, **changes: Any) -> None:
    """Let the first row of the table say something else."""
    stored = lake.stored[module.TABLE.full_name]
    key = min(stored)
    commit, row = stored[key]
    stored[key] = (commit, Row(**{name: changes.get(name, row[name]) for name in module.TABLE.column_names}))


def test_what_follows_from_its_sources_is_equal(lake: MemoryLake) -> None:
    for module, rows in ((ohlcv_1m, 3), (quiet_intervals, 1), (ohlcv, 6), (indicators, 9)):
        assert looked(lake, module) == Compared(rows)


def test_another_value_is_found_with_its_column_and_bookkeeping_is_passed_over(lake: MemoryLake) -> None:
    change(lake, ohlcv_1m, high=Decimal(9), low=Decimal("0.5"), revision=7, known_at=NOW, ingestion_ts=NOW)
    found = looked(lake, ohlcv_1m)
    assert (found.rows, found.differing) == (3, 1)
    at = datetime.fromtimestamp(START / 1e6, UTC) + timedelta(minutes=1)
    assert found.examples == [{"exchange": "binance", "symbol": "BTCUSDT", "at": at, "says": "another high, low"}]


def test_a_row_that_is_lost_is_found(lake: MemoryLake) -> None:
    stored = lake.stored["silver.ohlcv"]
    stored.pop(min(stored))
    found = looked(lake, ohlcv)
    assert (found.differing, found.examples[0]["says"]) == (1, "15m, it is not there")


def test_a_row_that_its_sources_no_longer_give_is_found(lake: MemoryLake) -> None:
    lake.stored["silver.ohlcv_1m"].clear()
    found = looked(lake, ohlcv, limit=2)
    assert (found.rows, found.differing, len(found.examples)) == (0, 5, 2)
    assert {one["says"].partition(", ")[2] for one in found.examples} == {"nothing gives it any more"}


def test_what_the_next_run_will_make_anyway_is_passed_over(lake: MemoryLake, as_messages: Messages) -> None:
    lake.write(trades.TABLE, trades.build(as_messages([trade(4, START + 3 * MINUTE + 1, "9", "1")])), {})
    assert looked(lake, ohlcv_1m).differing == 0
    change(lake, ohlcv_1m, high=Decimal(9))
    assert looked(lake, ohlcv_1m).differing == 1
    refresh(lake, ohlcv_1m, NOW)
    assert looked(lake, ohlcv_1m).differing == 1


@pytest.mark.parametrize(("off", "differing"), [(1e-12, 0), (1e-4, 1)])
def test_floats_may_lie_apart_by_a_little(lake: MemoryLake, off: float, differing: int) -> None:
    change(lake, indicators, close=3.0 + off)
    assert looked(lake, indicators).differing == differing


def test_other_symbols_are_left_out(lake: MemoryLake) -> None:
    change(lake, ohlcv_1m, high=Decimal(9))
    assert looked(lake, ohlcv_1m, symbols=["ETHUSDT"]) == Compared()
    assert looked(lake, ohlcv_1m, symbols=["BTCUSDT"]).differing == 1


def test_every_table_of_silver_is_made_again_by_sql_or_by_its_own_code() -> None:
    names = {module.TABLE.full_name for module in rebuilt.modules()}
    assert {"silver.instruments", "silver.indicators"} <= names
    assert not names & {"silver.ohlcv_1m", "silver.ohlcv"}


@pytest.mark.parametrize(
    ("marks", "differing", "asked"),
    [
        (["1", "1"], [3], 1),
        (["1", "2", "2", "2"], [3, 0], 2),
        (["1", "2", "2", "2"], [3, 3], 2),
        ([str(n) for n in range(8)], [3, 3, 3, 3], 4),
        (["1"], [0], 1),
    ],
    ids=["stands still", "mended meanwhile", "not mended", "always runs", "equal"],
)
def test_where_a_run_of_the_table_came_between_it_is_compared_again_some_times(
    monkeypatch: pytest.MonkeyPatch, marks: list[str], differing: list[int], asked: int
) -> None:
    notes, answers, compared_as_of = iter(marks), iter(differing), []

    class Noted(MemoryLake):
        def note(self, _table: Any, _name: str) -> str | None:
            return next(notes)

    def once(*arguments: Any, **_due: bool) -> Compared:
        compared_as_of.append(arguments[-1])
        return Compared(9, next(answers))

    monkeypatch.setattr(rebuilt, "_compared", once)
    found = looked(Noted(None), ohlcv_1m)  # type: ignore[arg-type]  # no rows are read
    assert found == Compared(9, differing[asked - 1])
    assert len(compared_as_of) == asked
