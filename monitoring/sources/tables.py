"""What the serving database knows of the lake: gaps, completeness, rows and latency by table."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily

from alerts.sources import Asked
from shared.settings import Settings

MEASURED = (
    "bronze.trades",
    "bronze.tickers",
    "bronze.depth",
    "bronze.klines",
    "silver.ohlcv_1m",
    "silver.order_book_1m",
    "silver.ticker_1m",
)
"""The tables of which `gold.data_quality` tells."""
STAGES = ("received", "kafka", "bronze", "silver", "gold")
QUANTILES = {"0.5": "p50", "0.95": "p95", "0.99": "p99"}

# By their keys: a market is a row of the overview, and the indexes begin with it.
_DAY = f"""
    select table_name, sum(rows) as rows, {
    ", ".join(f"max(latency_{stage}_{name}_ms) as {stage}_{name}" for stage in STAGES for name in QUANTILES.values())
}
    from gold.market_overview
    cross join unnest(%(tables)s) as measured(table_name)
    join gold.data_quality using (table_name, exchange, symbol)
    where day = date_trunc('day', now(), 'UTC')
    group by 1
"""  # noqa: S608 (our own names)
_HOURS = """
    select exchange, symbol, sum(minutes_expected) as expected, sum(minutes_complete + minutes_repaired) as proven
    from gold.market_overview
    join silver.completeness_hourly using (exchange, symbol)
    where hour_start >= date_trunc('hour', now()) - interval '24 hours' and hour_start < date_trunc('hour', now())
    group by 1, 2
"""
_GAPS = """
    select exchange, gap_stream, status, count(*) as gaps, extract(epoch from min(event_time)) as since
    from bronze.gaps group by 1, 2, 3
"""
_TAKEN = "select table_name, extract(epoch from max(written_at)) as at from serving.marks group by 1"


class TablesSource:
    """PostgreSQL, by its read-only role."""

    name = "tables"
    every = 60.0

    def __init__(self, settings: Settings) -> None:
        self._asked = Asked(settings, {})

    def ask(self) -> Iterator[GaugeMetricFamily]:
        """All of it. Raises `SourceError`."""
        yield from self._quality()
        yield from self._completeness()
        yield from self._gaps()
        taken = GaugeMetricFamily(
            "served_table_time_seconds",
            "When PostgreSQL last took in what is new of a table, since 1970.",
            labels=["table"],
        )
        for row in self._asked.rows(_TAKEN):
            taken.add_metric([row["table_name"]], row["at"])
        yield taken

    def _quality(self) -> Iterator[GaugeMetricFamily]:
        rows = GaugeMetricFamily("table_rows_today", "Rows of this UTC day.", labels=["table"])
        latency = GaugeMetricFamily(
            "table_latency_seconds",
            "From the exchange to a stage, today, of the symbol in which it takes longest.",
            labels=["table", "stage", "quantile"],
        )
        for row in self._asked.rows(_DAY, tables=list(MEASURED)):
            rows.add_metric([row["table_name"]], row["rows"])
            for stage in STAGES:
                for quantile, name in QUANTILES.items():
                    if (milliseconds := row[f"{stage}_{name}"]) is not None:
                        latency.add_metric([row["table_name"], stage, quantile], milliseconds / 1000)
        yield from (rows, latency)

    def _completeness(self) -> Iterator[GaugeMetricFamily]:
        labels = ["exchange", "symbol"]
        over = "Minutes of the last 24 whole hours that"
        expected = GaugeMetricFamily("completeness_minutes_expected", f"{over} are expected.", labels=labels)
        proven = GaugeMetricFamily("completeness_minutes_proven", f"{over} are proven complete.", labels=labels)
        for row in self._asked.rows(_HOURS):
            expected.add_metric([row["exchange"], row["symbol"]], row["expected"])
            proven.add_metric([row["exchange"], row["symbol"]], row["proven"])
        yield from (expected, proven)

    def _gaps(self) -> Iterator[GaugeMetricFamily]:
        known = GaugeMetricFamily(
            "gaps_known",
            "Gaps in bronze.gaps: open, repaired, lost, or the exchange's own.",
            labels=["exchange", "stream", "status"],
        )
        oldest = GaugeMetricFamily(
            "gaps_oldest_open_time_seconds", "Where the oldest open gap began, since 1970.",
            labels=["exchange", "stream"],
        )  # fmt: skip
        for row in self._asked.rows(_GAPS):
            known.add_metric([row["exchange"], row["gap_stream"], row["status"]], row["gaps"])
            if row["status"] == "open" and row["since"] is not None:
                oldest.add_metric([row["exchange"], row["gap_stream"]], row["since"])
        yield from (known, oldest)
