"""The scripts at the root, as a person meets them."""

import subprocess
import sys
from pathlib import Path

import pytest

from deployment import env_file, run
from deployment.paths import PROJECT

SCRIPTS = ("deploy.sh", "stop.sh", "cleanup.sh", "monitor.sh")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_short_executable_and_stops_at_the_first_error(script: str) -> None:
    path = PROJECT / script
    lines = path.read_text().splitlines()
    assert path.stat().st_mode & 0o111
    assert lines[1].startswith("# ")
    assert "set -euo pipefail" in lines
    assert len(lines) < 25
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_without_a_python_deploy_says_what_to_install() -> None:
    done = subprocess.run(
        ["/bin/bash", str(PROJECT / "deploy.sh")], env={"PATH": "/nowhere"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Python 3.11 or 3.12 is needed" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("module", ["__main__", "install", "cleanup"])
def test_stage_one_needs_the_standard_library_alone(module: str) -> None:
    code = f"import deployment.{module}"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_deploy_refuses_to_be_local_and_in_docker(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deployment", "--local", "--docker"], cwd=PROJECT, capture_output=True, check=False
    )
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("S3_RAEDER_SECRET_KEY", {}, "none of the secrets that ./deploy.sh makes: " + ", ".join(env_file.SECRETS)),
        ("KAFKA_PORT", {}, "KAFKA_PORT is none of the secrets"),
        ("POSTGRES_PASSWORD", {"POSTGRES_PASSWORD": "mine"}, "given by the environment: change it there"),
        ("S3_SECRET_KEY", {"S3_ENDPOINT": "https://store"}, "of the server at S3_ENDPOINT: change it there"),
        ("CLICKHOUSE_WRITER_PASSWORD", {"CLICKHOUSE_URL": "https://other"}, "of the server at CLICKHOUSE_URL"),
    ],
)
def test_a_secret_that_is_not_ours_to_give_anew_is_refused_and_nothing_is_begun(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, given: dict[str, str], said: str
) -> None:
    for setting, value in given.items():
        monkeypatch.setenv(setting, value)
    command = [sys.executable, "-m", "deployment", "--rotate", name]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stdout
    assert "mine" not in done.stdout
    assert list(home.iterdir()) == []


def test_an_unknown_service_is_told_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "cassandra"])
    with pytest.raises(SystemExit, match="one of kafka, minio"):
        run.main()
