"""Grafana's dashboards: `python -m monitoring.dashboards` writes them into `config/grafana/dashboards/`."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import NamedTuple

from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from shared.settings import PROJECT

FOLDER = PROJECT / "config" / "grafana" / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
"""As `config/grafana/provisioning/datasources/prometheus.yml` names it."""
WIDTH, HEIGHT = 8, 7
"""Of a panel; a row is 24 wide."""


class Panel(NamedTuple):
    """A graph."""

    title: str
    unit: str
    """As Grafana calls it."""
    lines: Mapping[str, str]
    """What each is called, and its expression; `{{label}}` in a name stands for a label."""
    about: str = ""


def _latency(quantile: float) -> str:
    return f"histogram_quantile({quantile}, sum by (le) (rate(latency_seconds_bucket[$__rate_interval])))"


DASHBOARDS: Mapping[str, Sequence[Panel]] = {
    "Streaming": (
        Panel(
            "Messages",
            "cps",
            {"{{stream}}": "sum by (stream) (rate(ingestor_messages_total[$__rate_interval]))"},
            "Handed to Kafka.",
        ),
        Panel(
            "Quietest symbols",
            "cps",
            {"{{symbol}}": "bottomk(10, sum by (symbol) (rate(ingestor_messages_total[$__rate_interval])))"},
        ),
        Panel(
            "Latency from the exchange",
            "s",
            {"p50": _latency(0.5), "p99": _latency(0.99)},
            "From when it sent a message to when it came.",
        ),
        Panel("Connections", "short", {"{{exchange}}": "ws_connected"}),
        Panel("Reconnects", "short", {"{{exchange}}": "increase(ws_reconnects_total[1h])"}, "In an hour."),
        Panel("Clock", "s", {"{{exchange}}": "clock_offset_seconds"}, "By how much the exchange's is ahead of ours."),
        Panel("Not acknowledged by Kafka", "bytes", {"memory": "buffer_bytes", "spool": "spool_bytes"}),
        Panel("Messages in the spool", "short", {"messages": "spool_messages"}),
        Panel(
            "Reading and archiving stand",
            "short",
            {"reading": "reading_paused", "archiving": "archive_paused"},
            "1 while it does.",
        ),
        Panel(
            "Refused",
            "short",
            {
                "dead letters of {{exchange}}": "increase(dead_letters_total[1h])",
                "by Kafka, {{topic}}": "increase(kafka_send_errors_total[1h])",
                "by the archive, {{exchange}}": "increase(archive_dropped_total[1h])",
            },
            "In an hour.",
        ),
        Panel("Archive waits for upload", "bytes", {"archive": "archive_waiting_bytes"}),
        Panel(
            "Repairs",
            "cps",
            {"{{stream}} by {{source}}": "sum by (stream, source) (rate(repairs_total[$__rate_interval]))"},
            "Events that filled a gap.",
        ),
    ),
    "Data": (
        Panel("Lag of bronze", "short", {"{{topic}}": "topk(10, kafka_lag_messages)"}, "Messages that wait in Kafka."),
        Panel("Age of tables", "s", {"{{table}}": "time() - table_made_time_seconds"}, "Since Dagster made each."),
        Panel(
            "Age of tables in PostgreSQL",
            "s",
            {"{{table}}": "time() - served_table_time_seconds"},
            "Since each last took in what is new.",
        ),
        Panel(
            "Age of tables in ClickHouse",
            "s",
            {"{{table}}": "time() - clickhouse_table_time_seconds"},
            "Where it is served: since each last took in what is new.",
        ),
        Panel(
            "Trades into ClickHouse",
            "cps",
            {"trades": "rate(clickhouse_trades_total[$__rate_interval])"},
        ),
        Panel(
            "From a trade to ClickHouse",
            "s",
            {"p99": "histogram_quantile(0.99, rate(clickhouse_trade_delay_seconds_bucket[$__rate_interval]))"},
        ),
        Panel("Rows of today", "short", {"{{table}}": "table_rows_today"}),
        Panel("Rows written", "cps", {"{{table}}": "rate(table_rows_written_total[10m])"}),
        Panel(
            "Latency by table, p99",
            "s",
            {"{{table}} to {{stage}}": 'table_latency_seconds{quantile="0.99"}'},
            "Today, of the symbol in which it takes longest.",
        ),
        Panel(
            "Minutes not proven complete",
            "percentunit",
            {"{{symbol}}": "topk(10, 1 - completeness_minutes_proven / completeness_minutes_expected)"},
            "Of the last 24 whole hours.",
        ),
        Panel(
            "Gaps",
            "short",
            {"{{status}}": "sum by (status) (gaps_known)", "open, as streaming has them": "gaps_open"},
        ),
        Panel("Age of the oldest open gap", "s", {"{{stream}}": "time() - gaps_oldest_open_time_seconds"}),
    ),
    "Pipeline": (
        Panel(
            "Runs that ended",
            "short",
            {"{{job}} {{status}}": "sum by (job, status) (increase(dagster_runs_total[1h])) > 0"},
            "In an hour.",
        ),
        Panel(
            "How long a run takes, p95",
            "s",
            {"{{job}}": "histogram_quantile(0.95, sum by (job, le) (rate(dagster_run_seconds_bucket[30m])))"},
        ),
        Panel("Runs under way", "short", {"{{job}} {{status}}": "dagster_runs_under_way"}),
        Panel(
            "Slowest steps",
            "s",
            {"{{step}}": "topk(10, rate(dagster_step_seconds_sum[30m]) / rate(dagster_step_seconds_count[30m]))"},
            "The mean of half an hour.",
        ),
        Panel(
            "Spark tasks",
            "short",
            {
                "active on {{executor_id}}": "metrics_executor_activeTasks",
                "failed on {{executor_id}}, in an hour": "increase(metrics_executor_failedTasks_total[1h])",
            },
        ),
        Panel(
            "Spark jobs under way",
            "short",
            {"jobs": "metrics_lakehouse_driver_DAGScheduler_job_activeJobs_Number"},
        ),
        Panel(
            "Heap of Spark's driver",
            "bytes",
            {
                "used": "metrics_lakehouse_driver_jvm_heap_used_Number",
                "at most": "metrics_lakehouse_driver_jvm_heap_max_Number",
            },
        ),
        Panel(
            "Executors' time in garbage collection",
            "percentunit",
            {
                "{{executor_id}}": "rate(metrics_executor_totalGCTime_seconds_total[10m])"
                " / rate(metrics_executor_totalDuration_seconds_total[10m])"
            },
            "Of the time in tasks.",
        ),
        Panel(
            "Shuffled",
            "Bps",
            {"{{executor_id}}": "rate(metrics_executor_totalShuffleWrite_bytes_total[10m])"},
        ),
    ),
    "Machinery": (
        Panel("Services that do not answer", "short", {"{{service}}": "1 - service_healthy > 0"}),
        Panel("Memory by service", "bytes", {"{{service}}": "service_memory_bytes"}),
        Panel("Memory", "bytes", {"available": "memory_available_bytes", "all": "memory_total_bytes"}),
        Panel("Disk", "bytes", {"free": "disk_free_bytes", "all": "disk_total_bytes"}),
        Panel("Disk in use", "percentunit", {"used": "disk_used_share"}, "At 80 % it is told, at 90 % imports wait."),
        Panel("Kafka takes in", "cps", {"{{topic}}": "topk(10, rate(kafka_topic_appended_total[$__rate_interval]))"}),
        Panel("Kafka keeps", "bytes", {"{{topic}}": "topk(10, kafka_topic_bytes)"}),
        Panel("Messages in Kafka", "short", {"{{topic}}": "topk(10, kafka_topic_messages)"}),
        Panel(
            "Alerts",
            "short",
            {
                "of config/alerts.yaml, active": "alerts_active",
                "of Prometheus, firing": 'count(ALERTS{alertstate="firing"}) or vector(0)',
                "wait for {{destination}}": "alerts_waiting",
            },
        ),
        Panel(
            "Delay of alerts, p99",
            "s",
            {"p99": "histogram_quantile(0.99, sum by (le) (rate(alerts_delay_seconds_bucket[$__rate_interval])))"},
            "From a trade until the rules have seen it.",
        ),
        Panel("Targets that do not answer", "short", {"{{job}}": "1 - up > 0"}),
        Panel("How long sources take", "s", {"{{source}}": "monitoring_source_seconds"}),
        Panel("Memory of what tells", "bytes", {"{{job}}": "process_resident_memory_bytes"}),
    ),
}


def described(title: str, panels: Sequence[Panel]) -> str:
    """A dashboard as Grafana reads it."""
    made = (
        dashboard.Dashboard(f"Lakehouse: {title.lower()}")
        .uid(f"lakehouse-{title.lower()}")
        .tags(["lakehouse"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("utc")
    )
    for panel in panels:
        made = made.with_panel(_graph(panel))
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


def _graph(panel: Panel) -> timeseries.Panel:
    graph = timeseries.Panel().title(panel.title).description(panel.about).unit(panel.unit).axis_soft_min(0)
    graph = graph.datasource(SOURCE).span(WIDTH).height(HEIGHT)
    for letter, (name, expression) in zip(ascii_uppercase, panel.lines.items(), strict=False):
        graph = graph.with_target(prometheus.Dataquery().ref_id(letter).expr(expression).legend_format(name))
    return graph


def main() -> None:
    """Write them all."""
    for title, panels in DASHBOARDS.items():
        (FOLDER / f"{title.lower()}.json").write_text(described(title, panels), encoding="utf-8")


if __name__ == "__main__":
    main()
