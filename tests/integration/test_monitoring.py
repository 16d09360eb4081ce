"""Prometheus over the deployed system: it has what every rule and every dashboard asks for, Spark's figures too."""

import json
import urllib.parse
import urllib.request
from typing import Any

import pytest

from deployment import prometheus
from tests.monitoring.named import graphs, metrics, rules
from tests.system import System, wait_for

pytestmark = pytest.mark.skipif(
    not prometheus.is_installed(),
    reason="Prometheus is not installed: apt-get install prometheus prometheus-alertmanager; ./test.sh does it as root",
)
MAY_BE_WITHOUT_SAMPLES = {
    # Labelled, and nothing happened to them yet: tests/monitoring/test_named.py knows that these are told.
    "ALERTS",
    "alerts_waiting",
    "archive_dropped_total",
    "dead_letters_total",
    "gaps_oldest_open_time_seconds",
    "kafka_send_errors_total",
    "repairs_total",
    "ws_reconnects_total",
    # Of gold and of hours that are over, which this system has only when a test made them.
    "completeness_minutes_expected",
    "completeness_minutes_proven",
    "gaps_known",
    "table_latency_seconds",
    "table_rows_today",
}


def asked(system: System, path: str, **parameters: str) -> Any:
    """What Prometheus' API answers."""
    place = f"http://127.0.0.1:{system.environment['PROMETHEUS_PORT']}/api/v1/{path}"
    with urllib.request.urlopen(f"{place}?{urllib.parse.urlencode(parameters)}", timeout=30) as answered:
        return json.load(answered)["data"]


def test_everything_is_scraped(system: System) -> None:
    def down() -> list[str]:
        targets = asked(system, "targets")["activeTargets"]
        return [f"{one['labels']['job']}: {one['lastError']}" for one in targets if one["health"] != "up"]

    wait_for("every target is up", lambda: not down())


def test_every_metric_that_a_rule_or_a_dashboard_names_is_there(system: System) -> None:
    named = {name for _, expression in (*rules(), *graphs()) for name in metrics(expression)} - MAY_BE_WITHOUT_SAMPLES
    named = {name for name in named if not name.startswith("clickhouse_")}  # which this system does not have

    def missing() -> set[str]:
        return named - set(asked(system, "label/__name__/values"))

    # A run of the pipeline and one of serving must have ended, and been seen.
    wait_for("every metric is there", lambda: not missing())


def test_prometheus_asks_every_expression_without_an_error(system: System) -> None:
    groups = asked(system, "rules")["groups"]
    assert [rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")] == []
    for _, expression in graphs():
        asked(system, "query", query=expression)


def test_no_service_is_told_to_be_down_while_all_are_healthy(system: System) -> None:
    healthy = asked(system, "query", query="service_healthy")["result"]
    assert {one["metric"]["service"] for one in healthy} == {one.name for one in system.services()}

    def told_down() -> list[dict[str, str]]:
        firing = [one["labels"] for one in asked(system, "alerts")["alerts"] if one["state"] == "firing"]
        return [labels for labels in firing if labels["alertname"] in ("ServiceDown", "TargetDown", "SourceAway")]

    # Other tests halt the daemon for minutes, which is told, and has to be over then.
    wait_for("nothing is told to be down", lambda: not told_down())
