"""The commands as a user runs them, each in a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Crypto:
    """Runs `crypto` with a home and settings of its own."""

    def __init__(self, home: Path) -> None:
        self.environment = {
            **os.environ, "CRYPTO_HOME": str(home), "CRYPTO_MODE": "demo", "SIMULATOR_PORT": str(free_port()),
            "PYTHONPATH": str(PROJECT), "COLUMNS": "200", "NO_COLOR": "1",
        }  # fmt: skip

    def start(self, *arguments: str, **streams: int) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", "from crypto_pipeline.cli import app; app()", *arguments]
        return subprocess.Popen(command, env=self.environment, text=True, **streams)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        with self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@pytest.fixture
def crypto(tmp_path: Path) -> Crypto:
    return Crypto(tmp_path)


@pytest.fixture
def simulator(crypto: Crypto) -> Iterator[Crypto]:
    """A `crypto` whose simulator runs."""
    with crypto.start("simulate", "--rate", "20", "--history-hours", "1", stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert "listens on" in process.stdout.readline()
            yield crypto
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0


def test_help_names_the_commands_and_comes_at_once(crypto: Crypto) -> None:
    began = time.monotonic()
    answer = crypto.run("--help")
    assert time.monotonic() - began < 5
    for command in ("stream", "simulate", "symbols", "doctor"):
        assert command in answer.stdout


@pytest.mark.parametrize("command", ["stream", "simulate", "symbols", "doctor", "report", "docs", "export"])
def test_the_help_of_a_command_shows_examples(crypto: Crypto, command: str) -> None:
    answer = crypto.run(command, "--help")
    assert "Examples" in answer.stdout
    assert f"crypto {command}" in answer.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; import crypto_pipeline.cli; "
        "heavy = ('pydantic', 'kafka', 'aiohttp', 'dagster', 'pyspark', 'pandas'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_streaming_to_the_screen_imports_neither_kafka_nor_dagster_nor_spark() -> None:
    code = (
        "import sys; import streaming.console; from streaming.exchange import exchanges; exchanges(); "
        "print([name for name in ('kafka', 'dagster', 'pyspark', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_wrong_setting_is_one_sentence_and_exit_code_2(crypto: Crypto) -> None:
    crypto.environment["KAFKA_PORT"] = "many"
    answer = crypto.run("symbols")
    assert answer.returncode == 2
    assert "KAFKA_PORT is 'many'" in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_wrong_symbols_file_is_one_sentence_and_exit_code_2(crypto: Crypto, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("tiers: [")
    crypto.environment["SYMBOLS_FILE"] = str(tmp_path / "wrong.yaml")
    for arguments in (["symbols"], ["stream", "--stdout"], ["stream"]):
        answer = crypto.run(*arguments)
        assert answer.returncode == 2
        assert "wrong.yaml:1: not YAML" in answer.stderr
        assert answer.stderr.count("\n") == 1


def test_live_events_are_printed_until_the_limit(simulator: Crypto) -> None:
    answer = simulator.run("stream", "--stdout", "--symbols", "BTCUSDT", "--streams", "trade", "--limit", "3")
    assert answer.returncode == 0
    lines = answer.stdout.splitlines()
    assert len(lines) == 3
    assert all(" binance BTCUSDT   trade " in line for line in lines)
    assert answer.stderr == ""


def test_json_lines_are_events(simulator: Crypto) -> None:
    answer = simulator.run("stream", "--stdout", "--json", "--limit", "30")
    events = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(events) == 30
    assert {event["exchange"] for event in events} == {"binance"}


def test_a_reader_that_goes_away_ends_it_quietly(simulator: Crypto) -> None:
    with simulator.start("stream", "--stdout", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_ctrl_c_ends_it_quietly(simulator: Crypto) -> None:
    with simulator.start("stream", "--stdout", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_without_a_simulator_the_demo_says_how_to_start_one(crypto: Crypto) -> None:
    with crypto.start("stream", "--stdout", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr
        said = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert "nothing listens at 127.0.0.1" in said
    assert "`crypto simulate`" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["stream", "--json"],
        ["stream", "--stdout", "--streams", "gossip"],
        ["stream", "--stdout", "--symbols", "FOO"],
        ["simulate", "--rate", "0"],
        ["stream", "--stdout", "--limit", "-1"],
    ],
)
def test_a_wrong_option_is_refused_without_a_traceback(crypto: Crypto, arguments: list[str]) -> None:
    answer = crypto.run(*arguments)
    assert answer.returncode == 2
    assert "Invalid value" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_simulator_whose_port_is_taken_says_so(crypto: Crypto) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        answer = crypto.run("simulate", "--port", str(holder.getsockname()[1]))
    assert answer.returncode == 1
    assert "cannot be taken" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_table_of_symbols_names_their_topics(crypto: Crypto) -> None:
    answer = crypto.run("symbols")
    assert answer.returncode == 0
    assert "crypto_raw_btcusdt" in answer.stdout
    crypto.environment["KAFKA_TOPIC"] = "everything"
    assert "everything" in crypto.run("symbols").stdout


def test_the_table_of_symbols_shows_selectors_too(crypto: Crypto, tmp_path: Path) -> None:
    file = tmp_path / "symbols.yaml"
    file.write_text("tiers:\n  a:\n    - {symbol: BTCUSDT, name: B}\n    - {quote: USDT, top: 50, streams: [trade]}\n")
    crypto.environment["SYMBOLS_FILE"] = str(file)
    shown = crypto.run("symbols").stdout
    assert "quote=USDT top=50" in shown
    assert "the 50 largest by turnover" in shown
    checked = crypto.run("symbols", "--check", str(file))
    assert checked.stdout.endswith("is right: 1 symbols, 4 streams, and of USDT the 50 largest.\n")


def test_a_symbols_file_can_be_checked_beforehand(crypto: Crypto, tmp_path: Path) -> None:
    right = crypto.run("symbols", "--check", str(PROJECT / "config" / "symbols.yaml"))
    assert right.returncode == 0
    assert "5 symbols, 20 streams" in right.stdout
    (tmp_path / "wrong.yaml").write_text("tiers:\n  a:\n    - {symbol: BTCUSDT, name: B, streams: [trades]}\n")
    wrong = crypto.run("symbols", "--check", str(tmp_path / "wrong.yaml"))
    assert wrong.returncode == 1
    assert "wrong.yaml:3: " in wrong.stderr


def test_the_doctor_finds_the_exchange_and_our_clock(simulator: Crypto) -> None:
    answer = simulator.run("doctor", "--json")
    checks = json.loads(answer.stdout)
    assert {"state": "ok", "what": "settings", "message": "mode demo, memory profile 8g"} in checks
    assert any(check["what"] == "binance" and "20 streams on 1 connection" in check["message"] for check in checks)
    assert any(check["what"] == "binance" and "our clock is" in check["message"] for check in checks)
    assert all(set(check) == {"state", "what", "message"} for check in checks)


def test_the_doctor_names_who_holds_a_port_and_the_setting_that_moves_it(crypto: Crypto) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        crypto.environment["KAFKA_PORT"] = str(holder.getsockname()[1])
        answer = crypto.run("doctor")
    assert answer.returncode == 1
    assert f"Port {crypto.environment['KAFKA_PORT']} is held by" in answer.stdout
    assert f"pid {os.getpid()}" in answer.stdout
    assert "KAFKA_PORT" in answer.stdout


def test_the_doctor_tells_of_wrong_settings_and_a_wrong_symbols_file(crypto: Crypto, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("")
    crypto.environment["SYMBOLS_FILE"] = str(tmp_path / "wrong.yaml")
    answer = crypto.run("doctor")
    assert answer.returncode == 1
    assert "wrong.yaml:1: is empty" in answer.stdout
    crypto.environment["CRYPTO_MODE"] = "dream"
    answer = crypto.run("doctor")
    assert answer.returncode == 1
    assert "CRYPTO_MODE is 'dream'" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["restore", "--from", "nowhere"], "nowhere: `crypto backup --to"),
        (["restore", "--from", "ftp://somewhere"], "name a folder, or s3://bucket/folder"),
        (["upgrade"], "Nothing was ever deployed in"),
    ],
)
def test_what_cannot_be_restored_or_upgraded_is_one_sentence(
    crypto: Crypto, arguments: list[str], sentence: str
) -> None:
    done = crypto.run(*arguments)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert sentence in done.stderr
