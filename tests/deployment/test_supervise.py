import configparser
from pathlib import Path

import pytest

from deployment import env_file, start, supervise
from deployment.services import TABLE, environment, table
from deployment.supervise import Supervisor, version
from shared.settings import Settings
from shared.yaml_file import YamlFileError

BY_NAME = {service.name: service for service in TABLE}


@pytest.fixture
def rendered(demo: Settings) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(supervise.configuration(table(demo).values(), demo, Supervisor(demo.state)))
    return parser


def test_every_service_is_a_program_that_is_never_given_up(
    rendered: configparser.RawConfigParser, demo: Settings
) -> None:
    for name in table(demo):
        program = rendered[f"program:{name}"]
        assert program["command"].endswith(f"-m deployment.run {name}")
        assert program["autorestart"] == "true"
        assert int(program["startretries"]) > 1000


def test_the_socket_and_the_logs_lie_in_the_state_folder(
    rendered: configparser.RawConfigParser, demo: Settings
) -> None:
    assert rendered["unix_http_server"]["file"].startswith(str(demo.state))
    assert rendered["unix_http_server"]["chmod"] == "0700"
    assert rendered["program:kafka"]["stdout_logfile"] == f"{demo.state}/log/kafka.log"


def test_no_secret_is_in_the_configuration(demo: Settings) -> None:
    text = supervise.configuration(table(demo).values(), demo, Supervisor(demo.state))
    assert not any(secret in text for secret in ("the-access-key", "the-secret-key", "the-password"))


def test_a_path_with_a_percent_sign_is_escaped(demo: Settings) -> None:
    text = supervise.configuration(table(demo).values(), demo, Supervisor(demo.state / "a%b"))
    assert "a%%b" in text
    assert "a%b" not in text


def test_a_changed_setting_changes_the_version_of_those_that_read_it_alone(demo: Settings) -> None:
    changed = demo.model_copy(update={"simulator_rate": 9.0})
    differ = {name for name, service in BY_NAME.items() if version(service, demo) != version(service, changed)}
    assert differ == {"simulator"}


def test_a_changed_secret_changes_the_version_of_those_that_read_it(
    demo: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_PASSWORD", "another")
    changed = Settings.load()
    differ = {name for name, service in BY_NAME.items() if version(service, demo) != version(service, changed)}
    assert {"postgres", "dagster-code", "dagster-webserver", "dagster-daemon"} <= differ
    assert "minio" not in differ


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANALYTICS_MINUTES", "30"),
        ("CANDLES_FIRST_SECONDS", "0"),
        ("GOLD_REQUIRES", "pending"),
        ("IMPORTS_PAUSE_PERCENT", "95"),
    ],
)
def test_a_setting_of_runs_restarts_what_starts_them(
    demo: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert version(BY_NAME["dagster-code"], demo) != version(BY_NAME["dagster-code"], Settings.load())


USERS = {
    "S3_ACCESS_KEY": {"minio", "bucket"},
    "S3_SECRET_KEY": {"minio", "bucket"},
    "S3_STREAMING_ACCESS_KEY": {"bucket", "streaming"},
    "S3_STREAMING_SECRET_KEY": {"bucket", "streaming"},
    "S3_LAKE_ACCESS_KEY": {"bucket", "spark-connect", "dagster-code"},
    "S3_LAKE_SECRET_KEY": {"bucket", "spark-connect", "dagster-code"},
    "S3_READER_ACCESS_KEY": {"bucket", "monitoring", "dashboard"},
    "S3_READER_SECRET_KEY": {"bucket", "monitoring", "dashboard"},
    "POSTGRES_PASSWORD": {"postgres"},
    "DAGSTER_PASSWORD": {"postgres", "dagster-code", "dagster-webserver", "dagster-daemon"},
    "SERVING_OWNER_PASSWORD": {"postgres", "dagster-code"},
    "SERVING_WRITER_PASSWORD": {"postgres", "dagster-code"},
    "SERVING_READER_PASSWORD": {"postgres", "alerts", "monitoring", "dashboard"},
    "SERVING_ALERTS_PASSWORD": {"postgres", "alerts"},
    "CLICKHOUSE_WRITER_PASSWORD": {"clickhouse-trades", "dagster-code"},
    "CLICKHOUSE_READER_PASSWORD": {"monitoring"},
    "GRAFANA_ADMIN_PASSWORD": set(),
    "BACKUP_S3_SECRET_KEY": set(),  # of `crypto backup`, which is no service
    "PUBLIC_PASSWORD": {"public"},
    "PUBLIC_TOKEN": {"public"},
    "PUBLIC_KAFKA_PASSWORD": {"kafka"},
    "KAFKA_PASSWORD": {
        "dagster-code",
        "spark-connect",
        "streaming",
        "alerts",
        "clickhouse-trades",
        "monitoring",
        "dashboard",
    },
}
"""Who must be told of a new secret: who checks it, and who shows it. Nobody else knows it."""


@pytest.mark.parametrize("name", env_file.ALL)
def test_a_new_secret_restarts_all_that_use_it_and_nothing_else(
    demo: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "another")
    changed = Settings.load()
    differ = {name for name, service in BY_NAME.items() if version(service, demo) != version(service, changed)}
    assert differ == USERS[name]


@pytest.mark.parametrize("name", env_file.ALL)
def test_a_secret_is_in_the_environment_of_those_that_use_it_alone(
    demo: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "only-this-one")
    changed = Settings.load()
    told = {one: environment(service, changed) for one, service in BY_NAME.items()}
    assert all(set(each) == set(env_file.ALL) for each in told.values())
    assert {one for one, each in told.items() if "only-this-one" in each.values()} == USERS[name]


def test_nothing_runs_where_nothing_was_started(demo: Settings) -> None:
    supervisor = Supervisor(demo.state)
    assert not supervisor.running()
    assert supervisor.processes() == {}


def test_a_wrong_indicators_file_is_refused_before_anything_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "indicators.yaml"
    file.write_text("sets:\n  - indicators: [smaa_20]\n")
    monkeypatch.setenv("INDICATORS_FILE", str(file))
    with pytest.raises(YamlFileError, match=r"indicators\.yaml:2: .*there is no indicator of the name smaa_20"):
        start.configured("demo")
    assert [path.name for path in home.iterdir()] == ["indicators.yaml"]


def test_a_signals_file_that_cannot_be_read_is_refused_before_anything_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "signals.yaml"
    file.write_text("rules:\n  - [")
    monkeypatch.setenv("SIGNALS_FILE", str(file))
    with pytest.raises(YamlFileError, match=r"signals\.yaml:2: not YAML"):
        start.configured("demo")
    assert [path.name for path in home.iterdir()] == ["signals.yaml"]


def test_a_wrong_retention_file_is_refused_before_anything_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "retention.yaml"
    file.write_text(shipped().replace("raw:", "raws:"))
    monkeypatch.setenv("RETENTION_FILE", str(file))
    with pytest.raises(YamlFileError, match=r"retention\.yaml:\d+: raw: Field required"):
        start.configured("demo")
    assert [path.name for path in home.iterdir()] == ["retention.yaml"]


def shipped() -> str:
    return Settings().retention_file.read_text(encoding="utf-8")


def test_another_signals_file_restarts_dagster_s_code(demo: Settings) -> None:
    changed = demo.model_copy(update={"signals_file": Path("/another.yaml")})
    differ = {name for name, service in BY_NAME.items() if version(service, demo) != version(service, changed)}
    assert differ == {"dagster-code"}
    assert {name for name, service in BY_NAME.items() if "config/signals.yaml" in service.code} == differ


def test_another_indicators_file_restarts_spark_dagster_s_code_and_the_dashboard(demo: Settings) -> None:
    changed = demo.model_copy(update={"indicators_file": Path("/another.yaml")})
    differ = {name for name, service in BY_NAME.items() if version(service, demo) != version(service, changed)}
    assert differ == {"spark-connect", "dagster-code", "dashboard"}
    assert {name for name, service in BY_NAME.items() if "config/indicators.yaml" in service.code} == differ
