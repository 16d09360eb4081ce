"""What each service becomes: nothing secret on its command line, everything on loopback."""

import shutil
from pathlib import Path

import pytest
import yaml

from deployment import dagster, minio, spark
from deployment.services import TABLE, Service
from shared.settings import Settings

SECRETS = (
    "the-access-key", "the-secret-key", "the-lakes-reader-key", "the-password", "the-owner's", "the-writer's",
    "the-reader's", "the-admin's",
)  # fmt: skip


@pytest.fixture
def minio_on_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    program = home / "bin" / "minio"
    program.parent.mkdir()
    shutil.copy("/bin/true", program)
    monkeypatch.setenv("PATH", str(program.parent))
    return str(program)


def test_minio_is_told_its_keys_by_the_environment(demo: Settings, minio_on_path: str) -> None:
    command = minio.command(demo)
    assert command.argv[0] == minio_on_path
    assert "127.0.0.1:9000" in command.argv
    assert not any(secret in " ".join(command.argv) for secret in SECRETS)
    assert command.env["MINIO_ROOT_PASSWORD"] == "the-secret-key"


def test_a_command_shown_shows_no_secret(demo: Settings) -> None:
    assert not any(secret in repr(dagster.webserver(demo)) for secret in SECRETS)


@pytest.mark.parametrize("service", TABLE, ids=lambda service: service.name)
def test_no_command_line_holds_a_secret(demo: Settings, service: Service) -> None:
    if service.name == "postgres":
        pytest.skip("tests/deployment/test_postgres.py has it, with the folder that its user needs")
    if not service.installs():
        pytest.skip(f"{service.name} is not installed here")
    assert not any(secret in " ".join(service.command(demo).argv) for secret in SECRETS)


def test_runs_know_the_indicators_as_they_were_when_the_code_server_started(demo: Settings) -> None:
    file = Path(dagster.code(demo).env["INDICATORS_FILE"])
    assert file.parent == demo.state / "dagster"
    assert file.read_bytes() == demo.indicators_file.read_bytes()


def test_every_variable_of_dagsters_files_is_given(demo: Settings) -> None:
    command = dagster.daemon(demo)
    home = Path(command.env["DAGSTER_HOME"])
    files = [home / "dagster.yaml", Path(command.argv[-1])]
    named = {name for file in files for name in variables(yaml.safe_load(file.read_text()))}
    assert named
    assert named <= set(command.env)


def variables(value: object) -> set[str]:
    """The names in `{env: NAME}`, wherever they stand."""
    if isinstance(value, dict):
        if set(value) == {"env"}:
            return {str(value["env"])}
        return set().union(*(variables(part) for part in value.values()))
    if isinstance(value, list):
        return set().union(*(variables(part) for part in value))
    return set()


def test_dagster_accepts_its_configuration(demo: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._core.instance.config import dagster_instance_config

    command = dagster.daemon(demo)
    for name, value in command.env.items():
        monkeypatch.setenv(name, value)
    values, _ = dagster_instance_config(command.env["DAGSTER_HOME"])
    assert values["telemetry"] == {"enabled": False}


def test_a_master_that_starts_anew_has_forgotten_the_last_time(demo: Settings) -> None:
    spark.master(demo)
    remembered = demo.state / "spark" / "recovery" / "app_1"
    remembered.touch()
    spark.forget(demo.state)
    assert not remembered.exists()
