"""What the service tells of a real Kafka, PostgreSQL and Dagster."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from crypto_pipeline.gold import data_quality, data_quality_hourly
from monitoring.asking import Answers, Asking
from monitoring.sources import tables
from monitoring.sources.kafka import KafkaSource
from shared.settings import Settings
from tests.monitoring.told import Dagster, Told, until
from tests.servers import KafkaServer, free_ports

TOPIC = "crypto_raw_monitored"


def is_told(told: Told, name: str, labels: str, value: float) -> bool:
    return told.values(name).get(labels) == value


def test_what_a_topic_keeps_and_what_bronze_has_not_taken_in_is_told(told: Told, kafka_server: KafkaServer) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka_server.settings.kafka)
    admin.create_topics([NewTopic(TOPIC, 1, 1)])
    producer = KafkaProducer(bootstrap_servers=kafka_server.settings.kafka)
    for _ in range(3):
        producer.send(TOPIC, b"{}")
    producer.close()
    admin.close()
    until(lambda: is_told(told, "kafka_topic_messages", TOPIC, 3))
    until(lambda: is_told(told, "kafka_topic_appended_total", TOPIC, 3))
    until(lambda: told.values("kafka_topic_bytes")[TOPIC] > 0)
    until(lambda: is_told(told, "kafka_lag_messages", TOPIC, 3))


def test_each_run_that_ends_is_counted_once_with_its_steps_and_the_rows_it_wrote(told: Told, dagster: Dagster) -> None:
    until(lambda: is_told(told, "monitoring_source_up", "dagster", 1))
    dagster.succeed()
    until(lambda: told.values("dagster_runs_total"))
    assert told.values("dagster_runs_total")["__ephemeral_asset_job__ FAILURE"] == 0
    dagster.fail()
    until(lambda: is_told(told, "dagster_runs_total", "failing FAILURE", 1))
    dagster.succeed()
    until(lambda: is_told(told, "dagster_runs_total", "__ephemeral_asset_job__ SUCCESS", 2))
    assert told.values("dagster_runs_total")["failing FAILURE"] == 1
    assert told.values("dagster_run_seconds_count")["__ephemeral_asset_job__"] == 2
    assert told.values("dagster_step_seconds_count") == {"bronze__trades": 2}
    assert told.values("table_rows_written_total") == {"bronze.trades": 10}
    until(lambda: abs(told.values("table_made_time_seconds").get("bronze.trades", 0) - time.time()) < 60)


def test_what_the_serving_database_knows_is_told(told: Told, served: psycopg.Connection[Any]) -> None:
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    market = ("binance", "BTCUSDT")
    served.execute("INSERT INTO gold.market_overview (exchange, symbol) VALUES (%s, %s)", market)
    served.execute(
        "INSERT INTO gold.data_quality (table_name, exchange, symbol, day, rows, latency_bronze_p99_ms) "
        "VALUES ('bronze.trades', %s, %s, %s, 120, 2500)", (*market, hour.replace(hour=0)),
    )  # fmt: skip
    for hours, proven in ((1, 59), (2, 60), (25, 0)):  # the last one is over a day ago
        served.execute(
            "INSERT INTO silver.completeness_hourly (exchange, symbol, hour_start, minutes_expected, minutes_complete, "
            "minutes_repaired) VALUES (%s, %s, %s, 60, %s, 0)", (*market, hour - timedelta(hours=hours), proven),
        )  # fmt: skip
    for first, status in enumerate(("open", "repaired", "repaired")):
        served.execute(
            "INSERT INTO bronze.gaps (exchange, symbol, gap_stream, first_missing, status, event_time) "
            "VALUES (%s, %s, 'trade', %s, %s, %s)", (*market, first, status, now - timedelta(minutes=first + 1)),
        )  # fmt: skip
    served.execute("INSERT INTO serving.marks (table_name, source, mark) VALUES ('gold.risk_metrics', 'x', '1')")
    until(lambda: is_told(told, "table_rows_today", "bronze.trades", 120))
    assert told.values("table_latency_seconds") == {"0.99 bronze bronze.trades": 2.5}
    until(lambda: is_told(told, "completeness_minutes_expected", "binance BTCUSDT", 120))
    assert told.values("completeness_minutes_proven") == {"binance BTCUSDT": 119}
    until(lambda: told.values("gaps_known") == {"binance open trade": 1, "binance repaired trade": 2})
    assert told.values("gaps_oldest_open_time_seconds")["binance trade"] == pytest.approx(now.timestamp() - 60)
    until(lambda: abs(told.values("served_table_time_seconds").get("gold.risk_metrics", 0) - time.time()) < 60)


def test_the_tables_that_are_measured_are_those_of_data_quality() -> None:
    assert tuple(source.full_name for source in data_quality_hourly.MEASURED) == tables.MEASURED
    assert data_quality_hourly.STAGES == tables.STAGES
    columns = {column.name for column in data_quality.TABLE.columns}
    assert {f"latency_{stage}_{name}_ms" for stage in tables.STAGES for name in tables.QUANTILES.values()} <= columns


def test_the_services_the_memory_and_the_disk_are_told(told: Told) -> None:
    healthy = until(lambda: told.values("service_healthy"))
    assert healthy["kafka"] == 1
    assert healthy["spark-connect"] == 0
    assert 0 < told.values("memory_available_bytes")[""] < told.values("memory_total_bytes")[""]
    assert 0 < told.values("disk_free_bytes")[""] < told.values("disk_total_bytes")[""]
    assert 0 < told.values("disk_used_share")[""] < 1


def test_a_source_that_is_away_is_told_so_leaves_nothing_old_and_comes_back(kafka_server: KafkaServer) -> None:
    away = KafkaSource(Settings(kafka_port=free_ports(1)[0]))
    there = KafkaSource(kafka_server.settings)
    asking = Asking(there)
    asking.ask()
    assert asking.is_up
    assert "kafka_topic_messages" in {family.name for family in Answers([asking]).collect()}
    asking.source = away
    asking.ask()
    told = {family.name: family for family in Answers([asking]).collect()}
    assert set(told) == {"monitoring_source_up", "monitoring_source_seconds"}
    assert told["monitoring_source_up"].samples[0].value == 0
    asking.source = there
    asking.ask()
    assert asking.is_up
