"""Minutes of `silver.completeness` counted by the hour and by the day, in SQL that Spark and DuckDB both read."""

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added

CONDITIONS = ("available", "pending", "degraded", "missing")
"""From the best to the worst."""
_STATUSES = ("complete", "repaired", "pending", "partial", "missing")
_REASONS = ("no_trades", "halt", "not_listed", "our_outage", "expired", "venue_gap", "not_collected")
_TRADES = ("expected", "received", "missing", "websocket", "rest", "archive", "merged")


def _minutes(condition: str) -> str:
    return f"count(*) FILTER (WHERE {condition})"


def _sum(column: str) -> str:
    return f"CAST(sum({column}) AS bigint)"  # DuckDB's own sum is wider


MEASURES: Mapping[str, str] = {
    "minutes": "count(*)",
    "minutes_expected": _minutes("status <> 'not_expected'"),
    **{f"minutes_{status}": _minutes(f"status = '{status}'") for status in _STATUSES},
    **{f"minutes_{reason}": _minutes(f"reason = '{reason}'") for reason in _REASONS},
    **{f"trades_{name}": _sum(f"trades_{name}") for name in _TRADES},
    "depth_seconds": _sum("depth_seconds"),
    "depth_longest_silence_ms": "max(depth_longest_silence_ms)",
    "ticker_seconds": _sum("ticker_seconds"),
    "ticker_longest_silence_ms": "max(ticker_longest_silence_ms)",
}
"""What is counted, by the name of its column."""
_PROVEN = "minutes_complete + minutes_repaired"
PERCENTS: Mapping[str, str] = {
    "percent_proven": f"100 * CAST({_PROVEN} AS double) / nullif(minutes_expected, 0)",
    "percent_received": "100 * CAST(trades_received AS double) / nullif(trades_expected, 0)",
}
CONDITION = (
    f"CASE WHEN {_PROVEN} = minutes_expected THEN 'available' "
    f"WHEN {_PROVEN} + minutes_pending + minutes_partial = 0 THEN 'missing' "
    "WHEN minutes_partial + minutes_missing > 0 THEN 'degraded' ELSE 'pending' END"
)
COMMENTS: Mapping[str, str] = {
    "minutes": "of the span that are over by now",
    "minutes_expected": "of these, without those that are not_expected",
    **{f"minutes_{status}": f"with the status {status}" for status in _STATUSES},
    **{f"minutes_{reason}": f"with the reason {reason}" for reason in _REASONS},
    "trades_expected": "of the minutes where something tells how many",
    "trades_missing": "of these, neither received nor in a merged fill",
    "depth_seconds": "in which the order book is known, of 60 a minute",
    "depth_longest_silence_ms": "within a minute, the longest time without a book snapshot",
    "ticker_seconds": "in which the ticker is known, of 60 a minute",
    "ticker_longest_silence_ms": "within a minute, the longest time without a ticker",
    "percent_proven": "of the expected minutes, those that are complete or repaired; null where none is expected",
    "percent_received": "of the expected trades, those in bronze.trades; null where nothing tells how many",
    "condition": "available, pending, degraded or missing, as silver.completeness_daily says",
}
"""What these columns hold, where silver.completeness does not say it."""


def rolled_up(start: str, name: str) -> str:
    """The query that gives a row for each exchange, symbol and `name`, the span that starts at `start`."""
    counted = ", ".join(f"{sql} AS {column}" for column, sql in MEASURES.items())
    told = ", ".join(f"{sql} AS {column}" for column, sql in {**PERCENTS, "condition": CONDITION}.items())
    return (
        f"SELECT *, {told} FROM (SELECT exchange, symbol, {start} AS {name}, month, {counted} "  # noqa: S608 (our own)
        f"FROM silver.completeness GROUP BY exchange, symbol, {start}, month) AS counted"
    )


def counted(minutes: DataFrame, start: str, name: str) -> DataFrame:
    """The rows of the query `rolled_up`, made of some rows of `silver.completeness`: these spans must be whole."""
    counts = [F.expr(sql).alias(column) for column, sql in MEASURES.items()]
    spans = minutes.groupBy("exchange", "symbol", F.expr(start).alias(name), "month").agg(*counts)
    told = {column: F.expr(sql) for column, sql in {**PERCENTS, "condition": CONDITION}.items()}
    return added(spans, **told)


def conditions(minutes: DataFrame) -> DataFrame:
    """The `condition` of each symbol and day of some rows of `silver.completeness`, with what was counted."""
    counted = [F.expr(sql).alias(column) for column, sql in MEASURES.items()]
    days = minutes.groupBy("exchange", "symbol", F.to_date("interval_start").alias("day")).agg(*counted)
    return added(days, condition=F.expr(CONDITION))
