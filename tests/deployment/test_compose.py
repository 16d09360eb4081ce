"""`docker-compose.yml` and the `Dockerfile` say the same as the table of services."""

import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from deployment import compose, docker, env_file, jars, kafka
from deployment.paths import PROJECT
from deployment.services import TABLE, Service
from monitoring import dashboards
from serving.clickhouse import server
from serving.clickhouse.schema import DATABASES
from shared.settings import Settings, SettingsError

CONTAINER = {"streaming": "binance-consumer"}
"""Services that have another name in Docker."""
SERVICES = {service.name: service for service in TABLE}
ALONE = ("clickhouse", "grafana")
"""Run in Docker alone, from images of their makers."""

SEVERAL = ("spark-worker",)
"""Services of which there may be several containers: each has a port of the machine's choice."""


def container(name: str) -> str:
    return CONTAINER.get(name, name)


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    return content


def test_the_containers_are_the_services(described: dict[str, Any]) -> None:
    assert set(described["services"]) == {container(service.name) for service in TABLE} | set(ALONE)
    assert described["name"] == docker.NAME


def test_each_container_runs_and_probes_its_service_and_needs_what_it_needs(described: dict[str, Any]) -> None:
    for service in TABLE:
        one = described["services"][container(service.name)]
        assert one["command"] == [service.name]
        assert one["healthcheck"]["test"][-2:] == ["deployment.probe", service.name]
        assert set(one.get("depends_on", ())) == {container(need) for need in service.needs}
        assert one.get("profiles", []) == (
            [service.mode] if service.mode else [service.name] if service.only_with else []
        )
        assert one.get("stop_signal", "SIGTERM") == f"SIG{service.stop_signal}"


@pytest.mark.parametrize("service", TABLE, ids=lambda service: service.name)
def test_each_container_is_given_the_secrets_of_its_service_and_no_other(
    described: dict[str, Any], service: Service
) -> None:
    theirs = {name: f"${{{name}:-}}" for name in service.secrets}
    if service.account:
        mine = [f"S3_{service.account.upper()}_{name}" for name in ("ACCESS_KEY", "SECRET_KEY")]
        theirs |= {name: f"${{{name}:-}}" for name in mine}
        # with another store than our MinIO it is given the keys of that
        theirs |= {name: f"${{S3_ENDPOINT:+${{{name}}}}}" for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY")}
    environment = described["services"][container(service.name)]["environment"]
    assert {name: environment[name] for name in env_file.ALL} == dict.fromkeys(env_file.ALL, "") | theirs


def test_a_container_with_another_name_is_found_by_the_services_name(described: dict[str, Any]) -> None:
    for name, other in CONTAINER.items():
        assert described["services"][other]["networks"]["default"]["aliases"] == [name]


def test_ports_are_published_on_loopback_under_their_settings(described: dict[str, Any]) -> None:
    for service in TABLE:
        if service.listens_at != "bind_address":
            continue
        for line in described["services"][container(service.name)].get("ports", ()):
            name = line.partition("${")[2].partition(":-")[0].lower()
            default = Settings.model_fields[name].default
            variable = f"${{{name.upper()}:-{default}}}"
            published = "" if service.name in SEVERAL else variable
            assert name in service.ports
            assert line == f"127.0.0.1:{published}:{variable}"


def test_the_network_reaches_the_ports_of_one_container_alone_and_that_where_the_setting_opens_it(
    described: dict[str, Any],
) -> None:
    open_to_all = {
        name: [line for line in one.get("ports", ()) if not line.startswith("127.0.0.1:")]
        for name, one in described["services"].items()
    }
    fields = {name: Settings.model_fields[name].default for name in SERVICES["public"].ports}
    variables = [f"${{{name.upper()}:-{default}}}" for name, default in fields.items()]
    assert {name: lines for name, lines in open_to_all.items() if lines} == {
        "public": [f"${{PUBLIC_ADDRESS:-0.0.0.0}}:{variable}:{variable}" for variable in variables]
    }
    assert described["services"]["public"]["environment"]["PUBLIC_ADDRESS"] == "0.0.0.0"
    assert described["services"]["public"]["profiles"] == [docker.PUBLIC]
    assert compose.profiles(Settings(public_host="lake.example.org")) == [docker.MONITORING, docker.PUBLIC]


def test_each_container_has_the_memory_limit_of_the_table(described: dict[str, Any]) -> None:
    for service in TABLE:
        assert described["services"][container(service.name)]["mem_limit"] == f"{service.memory_mb}m"
    assert all(described["services"][name]["mem_limit"] for name in ALONE)


def test_what_goes_first_has_more_of_a_busy_processor(described: dict[str, Any]) -> None:
    first = {name for name, made in described["services"].items() if made.get("cpu_shares", 1024) > 1024}
    assert first == {container(service.name) for service in TABLE if service.goes_first}


def test_containers_find_kafka_where_it_listens_for_them(described: dict[str, Any]) -> None:
    assert described["x-environment"]["KAFKA_BOOTSTRAP_SERVERS"] == f"kafka:{kafka.CONTAINER_PORT}"


def test_every_volume_is_named(described: dict[str, Any]) -> None:
    used = {volume.partition(":")[0] for one in described["services"].values() for volume in one["volumes"]}
    assert {name for name in used if not name.startswith("./config")} == set(described["volumes"])


def test_clickhouse_is_started_where_the_settings_want_our_own_and_its_trades_wherever_it_is(
    described: dict[str, Any],
) -> None:
    profiles = {profile for one in described["services"].values() for profile in one.get("profiles", ())}
    assert profiles == {"demo", docker.MONITORING, *docker.CLICKHOUSE, docker.PUBLIC}
    assert described["services"]["clickhouse"]["profiles"] == ["clickhouse"]
    assert described["services"]["grafana"]["profiles"] == [docker.MONITORING]
    assert compose.profiles(Settings()) == ["monitoring"]
    assert compose.profiles(Settings(grafana=False)) == []
    assert compose.profiles(Settings(clickhouse=True)) == ["monitoring", "clickhouse", "clickhouse-trades"]
    assert compose.profiles(Settings(grafana=False, clickhouse_url="https://elsewhere:8443")) == ["clickhouse-trades"]


def test_clickhouse_is_on_loopback_with_its_accounts_of_env_and_no_other_secret(described: dict[str, Any]) -> None:
    clickhouse = described["services"]["clickhouse"]
    port = Settings.model_fields["clickhouse_port"].default
    assert clickhouse["ports"] == [f"127.0.0.1:${{CLICKHOUSE_PORT:-{port}}}:{Settings.clickhouse_in_docker}"]
    assert Settings(clickhouse=True, CONTAINERS=True).clickhouse_address == "http://clickhouse:8123"
    assert "env_file" not in clickhouse
    users = ElementTree.parse(PROJECT / "config" / "clickhouse" / "users.xml").getroot()
    roles = {Settings.serving_writer, Settings.serving_reader}
    assert {user.tag for user in users.find("users") or () if "remove" not in user.attrib} == roles
    secrets = {password.attrib["from_env"] for password in users.iter("password")}
    assert secrets == {name for name in env_file.SECRETS if name.startswith("CLICKHOUSE_")}
    assert secrets < set(clickhouse["environment"])
    profile = users.find(f"profiles/{Settings.serving_reader}")
    assert {one.tag: int(one.text or "") for one in profile or ()} == server.READER
    granted = [query.text for query in users.iter("query")]
    assert granted == [f"GRANT SELECT ON {database}.*" for database in DATABASES]
    for volume in clickhouse["volumes"][1:]:
        assert ElementTree.parse(PROJECT / volume.split(":")[0]).getroot().tag == "clickhouse"


def test_clickhouse_is_of_the_series_that_the_tests_embed(described: dict[str, Any]) -> None:
    lock = (PROJECT / "tests" / "serving" / "clickhouse" / "requirements.lock").read_text()
    series = described["services"]["clickhouse"]["image"].partition(":")[2].split(".")[:2]
    assert f"\nchdb-core=={'.'.join(series)}." in lock


def test_grafana_is_on_loopback_with_its_password_from_env_and_finds_what_is_provisioned(
    described: dict[str, Any],
) -> None:
    grafana = described["services"]["grafana"]
    assert grafana["ports"] == [f"127.0.0.1:${{GRAFANA_PORT:-{Settings.model_fields['grafana_port'].default}}}:3000"]
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == "${GRAFANA_ADMIN_PASSWORD}"
    assert "GRAFANA_ADMIN_PASSWORD" in env_file.SECRETS
    assert "env_file" not in grafana  # the other secrets are none of its business
    folders = dict(volume.split(":")[:2] for volume in grafana["volumes"] if volume.startswith("./"))
    assert all((PROJECT / folder).is_dir() for folder in folders)
    provisioning = PROJECT / "config" / "grafana" / "provisioning"
    [provider] = yaml.safe_load((provisioning / "dashboards" / "lakehouse.yml").read_text())["providers"]
    assert provider["options"]["path"] in folders.values()
    [source] = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["uid"] == dashboards.SOURCE.uid
    assert source["url"] == "http://prometheus:$PROMETHEUS_PORT"
    made_for = next(line for line in (PROJECT / "pyproject.toml").read_text().splitlines() if "grafana" in line)
    assert grafana["image"].partition(":")[2] in made_for


def test_the_image_installs_every_step_with_the_same_code() -> None:
    text = (PROJECT / "Dockerfile").read_text()
    for name in (
        "minio",
        "postgresql",
        "prometheus",
        "public",
        "python-environment",
        *(f"{name}-jars" for name in jars.NAMES),
    ):
        assert any("deployment.install" in line and name in line for line in text.splitlines()), name


def test_what_the_image_copies_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in (PROJECT / "Dockerfile").read_text().replace("\\\n", "").splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (PROJECT / source).exists(), source
                assert source.split("/")[0] in kept, source


def test_the_file_of_the_environment_wins_over_env_in_docker_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (".env", ".env.staging", ".env.production"):
        (home / name).touch()
    monkeypatch.setenv("ENVIRONMENT", "staging")
    words = docker.compose("live")
    assert [words[at + 1] for at, word in enumerate(words) if word == "--env-file"] == [
        str(home / ".env"),
        str(home / ".env.staging"),
    ]


@pytest.mark.skipif(not shutil.which("docker"), reason="there is no docker here")
def test_compose_accepts_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no docker compose here")
    (tmp_path / ".env").touch()
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    done = subprocess.run([*docker.compose("demo"), "config", "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_file_in_config_is_named_as_the_containers_see_it_and_any_other_is_refused(tmp_path: Path) -> None:
    ours = PROJECT / "config" / "mine" / "alerts.yaml"
    assert compose.files_as_seen_inside(Settings(alerts_file=ours)) == {"ALERTS_FILE": "/app/config/mine/alerts.yaml"}
    assert compose.files_as_seen_inside(Settings()) == {}
    with pytest.raises(SettingsError, match=r"SYMBOLS_FILE names .*: containers see files in .*config alone"):
        compose.files_as_seen_inside(Settings(symbols_file=tmp_path / "symbols.yaml"))


def test_what_the_environment_gives_is_left_for_the_containers_without_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_PORT", "19092")
    monkeypatch.setenv("POSTGRES_PASSWORD", "of nobody's business")
    compose.leave_given(Settings.load(), tmp_path / "demo")
    left = tmp_path / "demo" / "docker.env"
    assert "KAFKA_PORT=19092\n" in left.read_text()
    assert "business" not in left.read_text()
    assert left.stat().st_mode & 0o777 == 0o600
