import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ONE = "tiers:\n  a:\n    - {symbol: BTCUSDT, name: Bitcoin}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "symbols.yaml"
    file.write_text(ONE)
    return file


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def start(path: Path, log: Path, **settings: Any) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ, "CRYPTO_HOME": str(path.parent), "SYMBOLS_FILE": str(path), "CRYPTO_MODE": "live",
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}", "METRICS_PORT": str(free_port()),
        "PYTHONPATH": str(Path(__file__).parents[2]), **{name: str(value) for name, value in settings.items()},
    }  # fmt: skip
    with log.open("wb") as errors:
        return subprocess.Popen([sys.executable, "-m", "streaming.service"], env=environment, stderr=errors)


def test_without_kafka_the_service_waits_and_ends_when_it_is_told_to(
    path: Path, tmp_path: Path, until: Callable[..., None]
) -> None:
    log = tmp_path / "log"
    process = start(path, log)
    try:
        until(lambda: b"look whether it runs; what comes waits in the spool" in log.read_bytes(), 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert b"Traceback" not in log.read_bytes()


def test_a_saved_file_is_followed_within_five_seconds_also_without_kafka(
    path: Path, tmp_path: Path, until: Callable[..., None]
) -> None:
    log = tmp_path / "log"
    process = start(path, log)
    try:
        until(lambda: b"streaming BTCUSDT" in log.read_bytes(), 30)
        path.write_text(f"{ONE}    - {{symbol: ETHUSDT, name: Ether, streams: [trade]}}\n")
        until(lambda: b"ETHUSDT (trade)" in log.read_bytes(), 5)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("text", "settings", "sentence"),
    [
        ("tiers: [", {}, "symbols.yaml:1: not YAML"),
        (ONE, {"KAFKA_PORT": "many"}, "KAFKA_PORT is 'many'"),
    ],
)
def test_a_wrong_start_is_one_sentence_and_exit_code_2(
    path: Path, tmp_path: Path, text: str, settings: dict[str, str], sentence: str
) -> None:
    path.write_text(text)
    process = start(path, tmp_path / "log", **settings)
    assert process.wait(30) == 2
    errors = (tmp_path / "log").read_text()
    assert sentence in errors
    assert errors.count("\n") == 1


def test_a_metrics_port_that_is_taken_is_one_sentence_and_exit_code_2(path: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        process = start(path, tmp_path / "log", METRICS_PORT=holder.getsockname()[1])
        assert process.wait(30) == 2
    errors = (tmp_path / "log").read_text()
    assert "METRICS_PORT" in errors
    assert errors.count("\n") == 1


def test_a_ledger_that_cannot_be_used_is_one_sentence_and_exit_code_2(path: Path, tmp_path: Path) -> None:
    (tmp_path / "var" / "live" / "streaming" / "ledger.sqlite").mkdir(parents=True)
    process = start(path, tmp_path / "log", RAW_ARCHIVE="false")
    assert process.wait(30) == 2
    *_, sentence = (tmp_path / "log").read_text().splitlines()
    assert "ledger.sqlite cannot be used (unable to open database file): free the disk" in sentence
