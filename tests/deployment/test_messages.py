from pathlib import Path

import pytest
from pydantic import SecretStr

from deployment import messages, prometheus
from deployment.services import table
from shared.settings import Settings


def test_the_cause_comes_before_those_that_wait_for_it(demo: Settings, tmp_path: Path) -> None:
    services = table(demo)
    (tmp_path / "kafka.log").write_text("one\nthe reason\n")
    left = {name: services[name] for name in ("streaming", "kafka")}
    said = messages.failure(left, {"kafka": "no answer"}, tmp_path)
    assert said.index("kafka is not healthy: no answer") < said.index("streaming waits for kafka")
    assert "| the reason" in said
    assert str(tmp_path / "kafka.log") in said
    assert "./stop.sh" in said


def test_the_farewell_names_every_address_and_no_secret(demo: Settings) -> None:
    said = messages.farewell(demo)
    for port in (demo.dagster_port, demo.spark_master_ui_port, demo.spark_ui_port, demo.minio_console_port):
        assert f"http://127.0.0.1:{port}" in said
    assert f"127.0.0.1:{demo.postgres_port}  database lake, user lake_reader" in said
    assert not any(secret in said for secret in ("the-access-key", "the-secret-key", "the-password"))


def test_the_farewell_says_where_clickhouse_is_if_it_is_served(demo: Settings) -> None:
    assert "ClickHouse" not in messages.farewell(demo)
    ours = demo.model_copy(update={"clickhouse": True})
    assert f"127.0.0.1:{demo.clickhouse_port}  user lake_reader, password: CLICKHOUSE_R" in messages.farewell(ours)
    other = demo.model_copy(update={"clickhouse_url": "https://me:the-secret-key@there:8443"})
    assert " there:8443  user lake_reader" in messages.farewell(other)


def test_the_farewell_says_where_prometheus_and_grafana_are_or_how_to_get_them(
    demo: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_prometheus, of_grafana = (f"http://127.0.0.1:{port}" for port in (demo.prometheus_port, demo.grafana_port))
    monkeypatch.setattr(prometheus, "can_be_had", lambda: True)
    said = messages.farewell(demo)
    assert of_prometheus in said
    assert of_grafana not in said
    monkeypatch.setattr(prometheus, "can_be_had", lambda: False)
    said = messages.farewell(demo)
    assert of_prometheus not in said
    assert said.count("apt-get install prometheus prometheus-alertmanager, then ./deploy.sh") == 1
    in_docker = messages.farewell(demo, in_docker=True)
    assert of_prometheus in in_docker
    assert of_grafana in in_docker
    assert "apt-get" not in in_docker


def test_the_farewell_says_what_a_network_reaches_and_whom_it_is_to_trust(demo: Settings) -> None:
    assert "network" not in messages.farewell(demo)
    opened = demo.model_copy(update={"public_host": "lake.example.org", "public_password": SecretStr("the-password")})
    said = messages.farewell(opened)
    assert f"https://lake.example.org:{demo.public_dashboard_port}" in said
    assert f"lake.example.org:{demo.public_kafka_port}  SASL_SSL, PLAIN, user crypto" in said
    assert f"lake.example.org:{demo.public_postgres_port}  sslmode=verify-full" in said
    assert str(demo.state / "public" / "ca.pem") in said
    assert "the-password" not in said
    assert "docker compose cp public:/data/var/demo/public/ca.pem ." in messages.farewell(opened, in_docker=True)
    theirs = opened.model_copy(update={"tls_certificate": Path("mine.pem"), "tls_key": Path("mine.key")})
    assert "ca.pem" not in messages.farewell(theirs)


def test_a_secret_that_the_environment_gives_is_not_repeated(demo: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BROKER", "hub:9093")
    monkeypatch.setenv("KAFKA_PASSWORD", "hunter2")
    said = messages.farewell(Settings.load())
    assert "KAFKA_BROKER=hub:9093" in said
    assert "hunter2" not in said
