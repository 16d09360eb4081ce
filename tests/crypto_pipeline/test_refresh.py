"""What is touched, as it stands in the plans that rest on it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline import refresh
from crypto_pipeline.frames import differing
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.reader import arrow_schema
from crypto_pipeline.silver import ohlcv
from shared.settings import settings
from shared.tables import Column, Table
from tests.crypto_pipeline.memory_lake import MemoryLake


@pytest.mark.parametrize("few", [0, 3, 10], ids=["none are few", "as many as are few", "all are few"])
def test_touched_rows_are_the_same_however_many_are_few(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(refresh, "_FEW", few)
    touched = spark.range(3).select(
        F.lit("binance").alias("exchange"),
        F.concat(F.lit("币安"), F.col("id").cast("string")).alias("symbol"),
        F.timestamp_micros(F.lit(1_795_000_000_000_001) + F.col("id")).alias("interval_start"),
        F.col("id").cast("int").alias("interval_seconds"),
        F.col("id").alias("stretch"),
    )
    with refresh._keys(Lakehouse(spark, settings(), 1), touched) as (keys, are_few):
        assert keys is not None
        assert are_few == (few >= 3)
        assert keys.schema.simpleString() == touched.schema.simpleString()
        assert sorted(keys.collect()) == sorted(touched.collect())
    with refresh._keys(Lakehouse(spark, settings(), 1), touched.limit(0)) as (keys, _):
        assert keys is None


def test_the_hours_of_open_candles_reach_from_a_day_before_the_earliest_mark_to_a_day_from_now() -> None:
    now = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
    hours = refresh.recent(["20261121115959999", refresh.BEGINNING, "20261121100000000"], now)
    assert (hours[0], hours[-1]) == (datetime(2026, 11, 20, 10, tzinfo=UTC), datetime(2026, 11, 22, 12, tzinfo=UTC))
    assert refresh.recent([refresh.BEGINNING], now) == []


def candle(interval: str, start: datetime) -> dict[str, Any]:
    known = {"exchange": "binance", "symbol": "BTCUSDT", "interval": interval, "interval_start": start}
    return {**known, "month": f"{start:%Y-%m}"}


@pytest.mark.parametrize("are_whole", [(), ("5m", "1d")], ids=["by interval", "two spans are of all intervals"])
def test_a_window_has_each_row_of_its_spans_once_however_many_scans_it_takes(
    spark: SparkSession, are_whole: tuple[str, ...]
) -> None:
    lake, end = MemoryLake(spark), datetime(2026, 11, 20, 12, tzinfo=UTC)
    starts = [end - timedelta(hours=6 * back) for back in range(1, 200)]
    lake.put(ohlcv.TABLE, [candle(interval, start) for interval in ("5m", "1h", "1d") for start in starts])
    days = {"5m": 2, "1h": 3, "1d": 40}
    spans = [
        Row(source=source, interval=None if name in are_whole else name, start=end - timedelta(days=reach), end=end)
        for name, reach in days.items()
        for source in (ohlcv.TABLE.full_name, "silver.of_another")
    ]
    found = refresh._window(lake, ohlcv.TABLE, spans).select("interval", "interval_start").collect()
    whole = max((days[name] for name in are_whole), default=0)
    expected = [
        (name, start)
        for name, reach in days.items()
        for start in starts
        if start >= end - timedelta(days=whole or reach)
    ]
    assert sorted((row.interval, row.interval_start.replace(tzinfo=UTC)) for row in found) == sorted(expected)


def test_far_ranges_of_a_source_are_read_without_what_lies_between_them(spark: SparkSession) -> None:
    lake, end = MemoryLake(spark), datetime(2026, 11, 20, 12, tzinfo=UTC)
    lake.put(ohlcv.TABLE, [candle("1h", end - timedelta(hours=back)) for back in range(1, 240)])
    ranges = [(end - timedelta(hours=30), end - timedelta(hours=9)), (end - timedelta(hours=200), end)]
    ranges[1] = (ranges[1][0], ranges[1][0] + timedelta(hours=1))
    spans = [Row(source=ohlcv.TABLE.full_name, interval=None, start=start, end=until) for start, until in ranges]
    found = refresh._window(lake, ohlcv.TABLE, spans).select("interval_start").collect()
    expected = [end - timedelta(hours=back) for back in (199, 200, *range(9, 31))]
    assert sorted(row.interval_start.replace(tzinfo=UTC) for row in found) == sorted(expected)


FIRST = datetime(2026, 11, 20, 12, tzinfo=UTC)
NAMES = ("exchange", "symbol", "interval_start", "close")


def table(layer: Any, name: str) -> Table:
    types = ("string", "string", "timestamp", "double", "timestamp", "string")
    columns = tuple(map(Column, (*NAMES, "ingestion_ts", "month"), types, ["..."] * 6))
    rules = {"a_close_is_positive": "close > 0"}
    return Table(layer, name, "a row a minute", columns, NAMES[:3], ("month",), "interval_start", rules=rules)


@dataclass
class Minutes:
    """A table of the minutes of a source whose close is even: half of them are not its own."""

    TABLE: Table
    SOURCES: tuple[Table, ...]

    def touched(self, changes: Mapping[str, DataFrame], _current: DataFrame, _now: datetime) -> DataFrame:
        return changes[self.SOURCES[0].full_name].filter("close % 2 = 0").select("interval_start")

    def needs(self, keys: DataFrame, _now: datetime) -> DataFrame:
        name, at = self.SOURCES[0].full_name, F.col("interval_start")
        every = F.lit(None).cast("string").alias("interval")
        return keys.select(F.lit(name).alias("source"), every, at.alias("start"), at.alias("end"))

    def build(self, keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
        return differing(sources[self.SOURCES[0].full_name].join(keys, on="interval_start"), current, self.TABLE)


SOURCE = table("silver", "of_minutes")


def minute(number: int, close: float) -> dict[str, Any]:
    at = FIRST + timedelta(minutes=number)
    return {**dict(zip(NAMES, ("binance", "BTCUSDT", at, close), strict=True)), "month": f"{at:%Y-%m}"}


def closes(lake: MemoryLake, of: Table) -> list[float]:
    return [row.close for row in lake.rows(of)]


@pytest.mark.parametrize("remembers", [False, True], ids=["nothing is kept", "what was written is kept"])
def test_tables_follow_each_other_the_same_whether_what_was_written_is_kept_or_not(
    spark: SparkSession, tmp_path: Path, remembers: bool
) -> None:
    lake, memory = MemoryLake(spark), tmp_path if remembers else None
    middle: Any = Minutes(table("gold", "middle"), (SOURCE,))
    last: Any = Minutes(table("gold", "last"), (middle.TABLE,))
    for number, close in enumerate([2.0, 4.0, 3.0, 6.0]):
        lake.put(SOURCE, [minute(number, close)])
        assert refresh.refresh(lake, middle, FIRST, memory=memory).rows == (close % 2 == 0)
        assert refresh.refresh(lake, last, FIRST, memory=memory).rows == (close % 2 == 0)
    lake.put(SOURCE, [minute(0, 8.0), minute(1, 10.0)])
    assert [refresh.refresh(lake, each, FIRST, memory=memory).rows for each in (middle, last)] == [2, 2]
    assert closes(lake, middle.TABLE) == closes(lake, last.TABLE) == [8.0, 10.0, 6.0]
    assert len(list(tmp_path.glob("written/gold.middle/*"))) == (3 if remembers else 0)


def test_rows_that_break_a_rule_are_not_written_nor_kept(spark: SparkSession, tmp_path: Path) -> None:
    lake, module = MemoryLake(spark), Minutes(table("gold", "middle"), (SOURCE,))
    lake.put(SOURCE, [minute(0, 2.0)])
    refresh.refresh(lake, module, FIRST, memory=tmp_path)  # type: ignore[arg-type]
    lake.put(SOURCE, [minute(1, -2.0), minute(2, 4.0)])
    done = refresh.refresh(lake, module, FIRST, memory=tmp_path)  # type: ignore[arg-type]
    assert (done.is_sound, done.broken) == (False, {"a_close_is_positive": 1})
    assert closes(lake, module.TABLE) == [2.0]
    assert not (tmp_path / "written").exists()


def test_many_rows_of_few_keys_are_written_too(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "BULK", 2)
    lake, module = MemoryLake(spark), Minutes(table("gold", "middle"), (SOURCE,))
    for numbers in ([0], [1, 2, 3], [4, 5]):
        lake.put(SOURCE, [minute(number, 2.0) for number in numbers])
        assert refresh.refresh(lake, module, FIRST, memory=tmp_path).rows == len(numbers)  # type: ignore[arg-type]
    assert len(lake.rows(module.TABLE)) == 6
    assert len(list(tmp_path.glob("written/gold.middle/*"))) == 1, "only the few of the last are kept"


def test_a_key_with_a_null_names_no_row(spark: SparkSession) -> None:
    lake, of = MemoryLake(spark), table("gold", "middle")
    nameless = [{**minute(0, 2.0), "symbol": None}]
    rows = pa.Table.from_pylist([*nameless, minute(0, 2.0), minute(1, 2.0)], arrow_schema(of))
    done = refresh._checked_here(lake, of, rows)
    assert (done.rows, done.repeated, done.is_sound) == (3, 1, False)
    known = [Row(**{name: row.get(name) for name in of.column_names}) for row in rows.to_pylist()]
    assert refresh._checked(lake._frame(of, known), of) == done


def followed(lake: MemoryLake, of: Table) -> str:
    return str(json.loads(lake.note(of, refresh.MARKS) or "{}")[SOURCE.full_name])


@pytest.mark.parametrize("layer", ["gold", "silver"])
def test_a_table_of_gold_that_needs_nothing_new_gets_no_commit_and_does_not_look_again(
    spark: SparkSession, tmp_path: Path, layer: Any
) -> None:
    lake, module = MemoryLake(spark), Minutes(table(layer, "middle"), (SOURCE,))

    def run() -> int:
        refresh.refresh(lake, module, FIRST, memory=tmp_path)  # type: ignore[arg-type]
        return len(lake.written)

    lake.put(SOURCE, [minute(0, 2.0)])
    assert run() == 1
    lake.put(SOURCE, [minute(1, 3.0)])
    assert run() == (1 if layer == "gold" else 2)
    seen: list[Row] = []

    @dataclass
    class Watched(Minutes):
        def touched(self, changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
            seen.extend(changes[SOURCE.full_name].collect())
            return super().touched(changes, current, now)

    module = Watched(module.TABLE, module.SOURCES)
    assert (run(), seen) == (1 if layer == "gold" else 2, [])


def test_what_needs_nothing_is_noted_in_the_lake_before_its_sources_forget_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake, module = MemoryLake(spark), Minutes(table("gold", "middle"), (SOURCE,))
    lake.put(SOURCE, [minute(0, 2.0)])
    refresh.refresh(lake, module, FIRST, memory=tmp_path)  # type: ignore[arg-type]
    first = followed(lake, module.TABLE)
    commits = []
    for number in range(1, 5):
        lake.set_clock(lake._clock[0] + timedelta(minutes=10))
        lake.put(SOURCE, [minute(number, 3.0)])
        refresh.refresh(lake, module, FIRST, memory=tmp_path)  # type: ignore[arg-type]
        commits.append(len(lake.written))
    assert commits == [1, 1, 2, 2]
    assert followed(lake, module.TABLE) > first


def test_after_another_commit_the_table_follows_on_from_what_the_lake_notes(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake, module = MemoryLake(spark), Minutes(table("gold", "middle"), (SOURCE,))
    lake.put(SOURCE, [minute(0, 2.0)])
    refresh.refresh(lake, module, FIRST, memory=tmp_path)  # type: ignore[arg-type]
    note = lake._notes[module.TABLE.full_name]
    lake.put(SOURCE, [minute(0, 2.0)])
    refresh.refresh(lake, module, FIRST, memory=tmp_path)  # type: ignore[arg-type]
    # A rebuild that had read before: its row is older than what was followed meanwhile.
    lake.put(module.TABLE, [{**minute(0, 4.0), "interval_start": FIRST.replace(tzinfo=None)}])
    lake._notes[module.TABLE.full_name] = note
    refresh.refresh(lake, module, FIRST, memory=tmp_path)  # type: ignore[arg-type]
    assert closes(lake, module.TABLE) == [2.0]
