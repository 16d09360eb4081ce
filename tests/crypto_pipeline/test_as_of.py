"""What was known when: no more may be seen."""

from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline import as_of
from crypto_pipeline.lake_sql import SqlError
from crypto_pipeline.silver import fact_ohlcv, ohlcv, ohlcv_1m
from crypto_pipeline.silver.candles import CANDLE_COLUMNS
from tests.crypto_pipeline.engines import DuckDb, Engine, candle, micros, version

FACT = "SELECT interval, close FROM silver.fact_ohlcv ORDER BY interval, interval_start"


@pytest.fixture
def revised(engine: Engine) -> Engine:
    """A minute known from minute 2 on, another from minute 5, a third from 9; and the five minutes around it."""
    versions = [version(1, 1, 2, 5), version(2, 2, 5, 9)]
    engine.has(ohlcv_1m.TABLE, [candle(0, 3, known_at=9, superseded=versions), candle(6, 6, known_at=7)])
    engine.has(ohlcv.TABLE, [candle(0, 5, "5m", known_at=5), candle(5, 9, "5m", known_at=8, is_closed=False)])
    return engine


def closes(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(row["interval"], int(row["close"])) for row in rows]


@pytest.mark.parametrize(
    ("at", "known"),
    [
        (1, []),
        (2, [("1m", 1)]),
        (4, [("1m", 1)]),
        (5, [("1m", 2), ("5m", 5)]),
        (7, [("1m", 2), ("1m", 6), ("5m", 5)]),
        (9, [("1m", 3), ("1m", 6), ("5m", 5)]),
        (99, [("1m", 3), ("1m", 6), ("5m", 5)]),
    ],
)
def test_a_candle_is_there_in_the_version_of_then_and_not_before_it_was_known(
    revised: Engine, at: int, known: list[tuple[str, int]]
) -> None:
    assert closes(revised.ask_as_of(FACT, micros(at))) == known


def test_the_two_tables_are_as_of_then_too(revised: Engine) -> None:
    for table, found in (("ohlcv_1m", [2]), ("ohlcv", [5])):
        sql = f"SELECT * FROM silver.{table} ORDER BY interval_start"
        rows = revised.ask_as_of(sql, micros(6))
        assert [int(row["close"]) for row in rows] == found
        assert list(rows[0]) == [column.name for column in CANDLE_COLUMNS]


def test_what_was_imported_is_known_from_its_import_or_if_assumed_live_from_the_end_of_its_interval(
    engine: Engine,
) -> None:
    later = candle(1, 2, known_at=90, superseded=[version(1, 1, 80, 90)])
    engine.has(ohlcv_1m.TABLE, [candle(0, 7, known_at=80, source="archive"), later])
    sql = "SELECT interval, close FROM silver.ohlcv_1m ORDER BY interval_start"
    assert closes(engine.ask_as_of(sql, micros(79))) == []
    assert closes(engine.ask_as_of(sql, micros(80))) == [("1m", 7), ("1m", 1)]
    assert closes(engine.ask_as_of(sql, micros(0), assume_live=True)) == []
    assert closes(engine.ask_as_of(sql, micros(1), assume_live=True)) == [("1m", 7)]
    assert closes(engine.ask_as_of(sql, micros(2), assume_live=True)) == [("1m", 7), ("1m", 1)]
    assert closes(engine.ask_as_of(sql, micros(90), assume_live=True)) == [("1m", 7), ("1m", 2)]


def test_a_candle_that_ends_after_the_time_is_not_there_although_a_slow_clock_knew_it_before(engine: Engine) -> None:
    engine.has(ohlcv_1m.TABLE, [candle(5, 7, known_at=5)])
    assert engine.ask_as_of(FACT, micros(6) - 1) == []
    assert closes(engine.ask_as_of(FACT, micros(6))) == [("1m", 7)]


@pytest.mark.parametrize("table", ["silver.indicators", "gold.market_overview", "bronze.trades", "silver.ohlcv_filled"])
def test_a_table_that_keeps_no_earlier_rows_is_refused(revised: Engine, table: str) -> None:
    with pytest.raises(SqlError, match=r"As of a time there is no table .*There are: silver\.(ohlcv|fact)"):
        revised.ask_as_of(f"SELECT * FROM {table}", micros(5))


def test_the_function_of_duckdb_gives_what_the_option_gives() -> None:
    engine = DuckDb()
    engine.has(ohlcv_1m.TABLE, [candle(0, 3, known_at=9, superseded=[version(1, 1, 2, 9)]), candle(6, 6, known_at=7)])
    for at in (2, 8, 9):
        for assume_live in (False, True):
            option = engine.ask_as_of("FROM silver.fact_ohlcv", micros(at), assume_live=assume_live)
            called = f"silver.fact_ohlcv_as_of('2026-08-06 00:0{at}:00', assume_live := {assume_live})"
            assert engine.ask(f"FROM {called}", fact_ohlcv.VIEW) == option != []


class TestRenamed:
    """A query of Spark's is told the names of temporary views."""

    NAMES: ClassVar = {"silver.ohlcv": "then"}

    @pytest.mark.parametrize(
        ("sql", "new"),
        [
            ("select * from silver.ohlcv o", "select * from then o"),
            ("select silver.ohlcv.close from SILVER . `ohlcv`", "select then.close from then"),
            ("from `silver`.ohlcv", "from then"),
            ("select 1 -- from bronze.trades\nfrom silver/* here */.ohlcv", "select 1  \nfrom then"),
            (r"""select 'silver.x', "it\"s gold.x" from silver.ohlcv""", None),
            ("select '--', '/*', close as `it's` from silver.ohlcv where x = ''", None),
            (r"select r'\' from silver.ohlcv where x = ''", None),
        ],
    )
    def test_names_are_replaced_however_they_are_written_and_strings_stay(self, sql: str, new: str | None) -> None:
        assert as_of.renamed(sql, self.NAMES) == (new or sql.replace("silver.ohlcv", "then"))

    @given(st.text(alphabet="ab'\"\\ .-/*`\n", max_size=20))
    def test_no_other_table_slips_in_but_as_a_part_of_a_string_or_comment(self, before: str) -> None:
        try:
            as_of.renamed(f"{before} silver.indicators", self.NAMES)
        except SqlError:
            return
        assert any(mark in before for mark in ("--", "/*", "'", '"', "`"))
