"""The candles as they were known at a time, in SQL, from the versions that `silver.ohlcv_revisions` shows."""

import re
from collections.abc import Mapping

from crypto_pipeline.contracts import tables
from crypto_pipeline.lake_sql import SqlError, no_such_table
from crypto_pipeline.silver import fact_ohlcv
from crypto_pipeline.silver.candles import CANDLE_COLUMNS
from crypto_pipeline.silver.ohlcv_revisions import versions
from shared.tables import Table, View

LACKS = "As of a time there is no table"
_CANDLES = tuple(tables()[name] for name in fact_ohlcv.VIEW.tables)
STORED: Mapping[str, Table] = {f"stored.{table.name}": table for table in _CANDLES}
"""The tables by the names under which the views of `views` read them."""
_QUOTED = r"""(?<!\w)[rR](?:'[^']*'|"[^"]*")|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`]|``)*`"""
_COMMENT = re.compile(rf"({_QUOTED})|--[^\n]*|/\*.*?\*/", re.DOTALL)
_TABLE = re.compile(rf"(?<![\w`])`?(bronze|silver|gold)`?\s*\.\s*`?(\w+)`?|{_QUOTED}", re.IGNORECASE | re.DOTALL)


def candles(table: str, time: str, assume_live: str) -> str:
    """SQL: a table's closed candles as they were known at `time`; it and `assume_live` are SQL expressions.

    With `assume_live` the first version of a candle was known when its interval ended. A candle that ended after the
    time is not there, whatever a clock of ours said.
    """
    known_at = f"CASE WHEN {assume_live} AND revision = 1 THEN interval_end ELSE known_from END"
    columns = [f"{known_at} AS known_at" if c.name == "known_at" else c.name for c in CANDLE_COLUMNS]
    return (
        f"SELECT {', '.join(columns)} FROM ({versions(table)}) "  # noqa: S608 (names of our own)
        f"WHERE interval_end <= {time} AND {known_at} <= {time} AND (known_to IS NULL OR known_to > {time})"
    )


def function() -> tuple[str, str]:
    """`silver.fact_ohlcv_as_of`, as DuckDB has functions that give tables: what is called, and its SQL."""
    columns = ", ".join(fact_ohlcv.COLUMNS)
    every = [candles(table.full_name, "CAST(time AS TIMESTAMPTZ)", "assume_live") for table in _CANDLES]
    called = "silver.fact_ohlcv_as_of(time, assume_live := false)"
    return called, " UNION ALL ".join(f"SELECT {columns} FROM ({one})" for one in every)  # noqa: S608 (names of our own)


def views(micros: int, *, assume_live: bool) -> Mapping[str, View]:
    """`silver.ohlcv_1m`, `ohlcv` and `fact_ohlcv` as they were known at a time, over `STORED`."""
    then = [
        View(table.layer, table.name, table.grain, (table.full_name,), candles(name, _moment(micros), str(assume_live)))
        for name, table in STORED.items()
    ]
    return {view.full_name: view for view in (*then, fact_ohlcv.VIEW)}


def in_spark(sql: str, micros: int, *, assume_live: bool) -> list[str]:
    """The statements that give Spark's answer to `sql` as of a time, the answer last.

    Spark 3.5 has no functions of SQL that give tables, and a temporary view cannot stand before a table of a database:
    so the query is told the names of such views. Raises `SqlError` where it names a table of which no earlier versions
    are kept: today's rows must not slip in.
    """
    names = {table.full_name: f"as_of_{table.name}" for table in _CANDLES}
    texts = {names[t.full_name]: candles(t.full_name, _moment(micros), str(assume_live)) for t in _CANDLES}
    fact = {fact_ohlcv.VIEW.full_name: f"as_of_{fact_ohlcv.VIEW.name}"}
    texts |= {fact[fact_ohlcv.VIEW.full_name]: renamed(fact_ohlcv.VIEW.sql, names)}
    made = [f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {text}" for name, text in texts.items()]
    return [*made, renamed(sql, names | fact)]


def renamed(sql: str, names: Mapping[str, str]) -> str:
    """The SQL with other names for the lake's tables, without its comments. Raises `SqlError` for a table without one.

    Strings stay as they are.
    """

    def new(match: re.Match[str]) -> str:
        if not match[1]:
            return match[0]
        name = f"{match[1]}.{match[2]}".lower()
        if name not in names:
            raise SqlError(no_such_table(name, names, LACKS))
        return names[name]

    return _TABLE.sub(new, _COMMENT.sub(lambda match: match[1] or " ", sql))


def _moment(micros: int) -> str:
    return f"timestamp_micros({micros})"
