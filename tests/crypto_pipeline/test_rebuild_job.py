"""The job that rebuilds, as Dagster runs it; what it does to a table is in test_rebuild.py."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import dagster as dg
import pytest

from crypto_pipeline import rebuild_job
from crypto_pipeline.definitions import defs
from crypto_pipeline.expired import Expired
from crypto_pipeline.lakehouse import lies_by_time
from crypto_pipeline.refresh import Refreshed
from crypto_pipeline.spark import SparkConnect

Made = list[tuple[str, datetime, datetime]]
FIRST, LAST = "2026-08-05", "2026-08-06"


class NoSpark(SparkConnect):
    """In the place of the Connect server."""

    @contextmanager
    def lakehouse(self, asset: str, run_id: str) -> Iterator[Any]:
        yield None


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """What is rebuilt, in order: the table, its first hour and its last."""
    seen: Made = []

    def note(_lake: object, module: ModuleType, hours: Sequence[datetime], _now: datetime) -> Refreshed:
        seen.append((module.TABLE.full_name, hours[0], hours[-1]))
        return Refreshed(rows=7, seconds=0.5)

    monkeypatch.setattr(rebuild_job, "rebuild", note)
    monkeypatch.setattr(rebuild_job, "recorded", lambda _lake: Expired())
    return seen


def run(config: dict[str, Any], first: str = FIRST, last: str = LAST) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [rebuild_job.silver_again],
        resources={"spark": NoSpark(spark_config={}, url="", bucket="", buckets=1)},
        tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
        run_config={"ops": {"rebuild__silver": {"config": config}}},
        raise_on_error=False,
    )


def names(seen: Made) -> list[str]:
    return list(dict.fromkeys(name for name, *_ in seen))


def test_a_range_of_days_is_one_run_that_makes_each_table_after_those_it_is_made_from(made: Made) -> None:
    assert run({}).success
    assert names(made) == [module.TABLE.full_name for module in rebuild_job.rebuildable()]
    done: set[str] = set()
    for module in rebuild_job.rebuildable():
        of_silver = {source.full_name for source in module.SOURCES if source.layer == "silver" and lies_by_time(source)}
        assert of_silver <= done
        done.add(module.TABLE.full_name)
    for name in names(made):
        mine = [(first, last) for other, first, last in made if other == name]
        assert (mine[0][0], mine[-1][1]) == (datetime(2026, 8, 5, tzinfo=UTC), datetime(2026, 8, 6, 23, tzinfo=UTC))


def test_what_has_expired_leaves_what_rests_on_it_as_it_is_and_a_sentence_says_so(
    made: Made, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    record = Expired.of([("bronze.depth", "", "", FIRST), ("bronze.tickers", "", "", LAST)])
    monkeypatch.setattr(rebuild_job, "recorded", lambda _lake: record)
    assert run({"tables": "silver.order_book_1m,silver.ticker_1m,silver.ohlcv_1m"}).success
    firsts = {name: first for name, first, _ in reversed(made)}
    assert firsts == {
        "silver.ohlcv_1m": datetime(2026, 8, 5, tzinfo=UTC),
        "silver.order_book_1m": datetime(2026, 8, 6, 1, tzinfo=UTC),
    }
    told = "".join(capfd.readouterr())
    for said in ("silver.order_book_1m is left as it is before 2026-08-06 01:00", "silver.ticker_1m is left as it is"):
        assert said in told


def test_a_backfill_of_a_range_launches_one_run() -> None:
    job = defs.resolve_job_def("rebuild")
    assert job.backfill_policy == dg.BackfillPolicy.single_run()
    assert job.partitions_def == rebuild_job.DAYS
    assert job.tags["dagster/max_runtime"] == "21600"


def test_hours_cut_the_first_day_and_the_last(made: Made) -> None:
    assert run({"tables": "silver.ohlcv_1m", "from_hour": 22, "to_hour": 2}).success
    assert made == [
        ("silver.ohlcv_1m", datetime(2026, 8, 5, 22, tzinfo=UTC), datetime(2026, 8, 5, 23, tzinfo=UTC)),
        ("silver.ohlcv_1m", datetime(2026, 8, 6, 0, tzinfo=UTC), datetime(2026, 8, 6, 1, tzinfo=UTC)),
    ]


def test_only_the_tables_that_are_named_are_made_in_the_order_of_the_lineage(made: Made) -> None:
    assert run({"tables": "silver.indicators, silver.ohlcv"}).success
    assert names(made) == ["silver.ohlcv", "silver.indicators"]


def test_the_run_says_how_many_rows_it_wrote_and_how_long_that_took(made: Made) -> None:
    result = run({"tables": "silver.ohlcv_1m"})
    [event] = {one.step_key: one for one in result.get_asset_materialization_events()}.values()
    metadata = event.materialization.metadata
    assert (metadata["rows_written"].value, metadata["seconds"].value) == (14, 1.0)
    [record] = metadata["tables"].records  # type: ignore[union-attr]
    assert record.data == {"table": "silver.ohlcv_1m", "rows_written": 14, "seconds": 1.0}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"tables": "silver.ohlcv_2m"}, "silver.ohlcv_2m cannot be rebuilt; there is silver.quiet_intervals, "),
        ({"from_hour": 12, "to_hour": 12}, "Nothing lies between 2026-08-06 12:00 and 2026-08-06 12:00"),
    ],
)
def test_what_cannot_be_made_is_refused_with_what_can(made: Made, config: dict[str, Any], says: str) -> None:
    result = run(config, LAST, LAST)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert says in str(failure.step_failure_data.user_failure_data or failure.step_failure_data.error)
    assert not made


def test_rows_that_break_a_rule_end_the_run_before_what_rests_on_them(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild_job, "rebuild", lambda *_: Refreshed(rows=3, broken={"high_is_highest": 2, "other": 0}))
    result = run({})
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    said = str(failure.step_failure_data.user_failure_data)
    assert "silver.quiet_intervals was left as it was: rows break its rule high_is_highest." in said
