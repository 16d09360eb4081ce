"""The scripts at the root, as a person meets them."""

import subprocess
import sys
from pathlib import Path

import pytest

from deployment import run
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


def test_an_unknown_service_is_told_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "cassandra"])
    with pytest.raises(SystemExit, match="one of kafka, minio"):
        run.main()
