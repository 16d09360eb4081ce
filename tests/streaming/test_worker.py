"""The whole streaming service, as it runs, between a simulated exchange that fails and a real Kafka that does."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.servers import KafkaServer, free_ports

PROJECT = Path(__file__).resolve().parents[2]
SYMBOLS = ("BTCUSDT", "ETHUSDT")


class Scene:
    """A simulator and the service, each a process."""

    def __init__(self, folder: Path, kafka: KafkaServer) -> None:
        self.folder = folder
        self.kafka = kafka
        self.simulator_port, metrics_port = free_ports(2)
        entries = "".join(f"    - {{symbol: {symbol}, name: {symbol}}}\n" for symbol in SYMBOLS)
        self.symbols_file = folder / "symbols.yaml"
        self.symbols_file.write_text(f"tiers:\n  a:\n{entries}")
        self.environment = {
            **os.environ, "PYTHONPATH": str(PROJECT), "CRYPTO_HOME": str(folder), "CRYPTO_MODE": "demo",
            "SYMBOLS_FILE": str(self.symbols_file), "KAFKA_BOOTSTRAP_SERVERS": kafka.settings.kafka,
            "METRICS_PORT": str(metrics_port), "SIMULATOR_PORT": str(self.simulator_port), "SIMULATOR_RATE": "20",
            "SIMULATOR_HISTORY_HOURS": "1", "SIMULATOR_PLANTED_FAULTS": "false", "RAW_ARCHIVE": "false",
        }  # fmt: skip
        self._running: list[subprocess.Popen[bytes]] = []
        self.simulator = self.run("streaming.simulator")

    def run(self, module: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{module}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", module], env=self.environment, stderr=log, stdout=log)
        self._running.append(process)
        return process

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.terminate()
            process.wait(60)

    def simulated(self, path: str, body: object = None) -> Any:
        """What the simulator answers; none where it does not yet."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.simulator_port}{path}", data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return json.load(reply)
        except OSError:
            return None

    def events(self, symbol: str, stream: str) -> list[dict[str, Any]]:
        """What Kafka has of a stream."""
        topic = f"crypto_raw_{symbol.lower()}"
        if not self.kafka.has(topic):
            return []
        found = [json.loads(value) for _, value, _ in self.kafka.read(topic, 0)]
        return [event for event in found if event["stream"] == stream]

    def gaps(self, symbol: str, stream: str) -> list[dict[str, Any]]:
        """The gaps of a stream in their latest state."""
        latest = {
            event["first_missing"]: event for event in self.events(symbol, "gap") if event["gap_stream"] == stream
        }
        return list(latest.values())

    def trades(self, symbol: str) -> set[int]:
        return {event["trade_id"] for event in self.events(symbol, "trade")}

    def is_whole(self, symbol: str) -> bool:
        """No id is missing between the first and the last, and no gap of trades is open."""
        ids = self.trades(symbol)
        is_open = any(gap["status"] == "open" for gap in self.gaps(symbol, "trade"))
        return bool(ids) and len(ids) == max(ids) - min(ids) + 1 and not is_open


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, kafka_server: KafkaServer) -> Iterator[Scene]:
    """The exchange runs; each test starts the service."""
    with ExitStack() as stack:
        scene = Scene(tmp_path_factory.mktemp("scene"), kafka_server)
        stack.callback(scene.close)
        yield scene


@pytest.fixture
def service(scene: Scene, until: Callable[..., None]) -> Iterator["subprocess.Popen[bytes]"]:
    """The service, streaming."""
    until(lambda: scene.simulated("/api/v3/time"), 60)
    before = {symbol: len(scene.trades(symbol)) for symbol in SYMBOLS}
    process = scene.run("streaming.service")
    until(lambda: all(len(scene.trades(symbol)) > before[symbol] for symbol in SYMBOLS), 60)
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_what_was_traded_during_a_disconnect_is_fetched_and_the_gap_says_so(
    scene: Scene, service: "subprocess.Popen[bytes]", until: Callable[..., None]
) -> None:
    scene.simulated("/faults", {"kind": "cut", "seconds": 4})
    for symbol in SYMBOLS:
        until(lambda symbol=symbol: scene.gaps(symbol, "trade"), 30)
        until(lambda symbol=symbol: scene.is_whole(symbol), 60)
        (gap,) = scene.gaps(symbol, "trade")
        assert (gap["cause"], gap["status"], gap["repaired_from"]) == ("disconnect", "repaired", "rest")
        assert {gap["status"] for gap in scene.gaps(symbol, "depth5")} == {"lost"}
        assert any(event["source"] == "rest" for event in scene.events(symbol, "trade"))


def test_ids_that_the_socket_never_brought_are_fetched(
    scene: Scene, service: "subprocess.Popen[bytes]", until: Callable[..., None]
) -> None:
    known = len(scene.gaps("BTCUSDT", "trade"))
    scene.simulated("/faults", {"kind": "skip", "symbol": "BTCUSDT"})
    until(lambda: len(scene.gaps("BTCUSDT", "trade")) > known, 60)
    until(lambda: scene.is_whole("BTCUSDT"), 60)
    assert "id_jump" in {gap["cause"] for gap in scene.gaps("BTCUSDT", "trade")}


def test_a_killed_service_fetches_what_it_missed_when_it_is_back(
    scene: Scene, service: "subprocess.Popen[bytes]", until: Callable[..., None]
) -> None:
    service.kill()
    service.wait()
    last = max(scene.trades("BTCUSDT"))
    until(lambda: scene.simulated(f"/truth/trades?symbol=BTCUSDT&fromId={last + 20}&limit=1")["rows"], 60)
    again = scene.run("streaming.service")
    until(lambda: max(scene.trades("BTCUSDT")) > last + 20, 60)
    for symbol in SYMBOLS:
        until(lambda symbol=symbol: scene.is_whole(symbol), 60)
        assert "service_stopped" in {gap["cause"] for gap in scene.gaps(symbol, "trade")}
    again.send_signal(signal.SIGTERM)
    assert again.wait(60) == 0


def test_with_kafka_stopped_and_killed_and_the_service_killed_meanwhile_nothing_is_lost(
    scene: Scene, service: "subprocess.Popen[bytes]", until: Callable[..., None]
) -> None:
    log = scene.folder / "streaming.service.log"
    told = log.read_bytes().count(b"wait in the spool")
    scene.kafka.kill()
    until(lambda: log.read_bytes().count(b"messages wait in the spool on disk") > told, 60)
    service.kill()
    service.wait()
    again = scene.run("streaming.service")
    scene.kafka.start()
    until(lambda: log.read_bytes().count(b"the spool is empty") > 0, 90)
    for symbol in SYMBOLS:
        until(lambda symbol=symbol: scene.is_whole(symbol), 90)
    again.send_signal(signal.SIGTERM)
    assert again.wait(60) == 0


def test_saving_the_file_adds_and_removes_a_symbol_and_leaves_the_others_without_a_gap(
    scene: Scene, service: "subprocess.Popen[bytes]", until: Callable[..., None]
) -> None:
    def sent(symbol: str) -> int:
        return int(scene.simulated(f"/truth/sent?symbol={symbol}")["trade"][-1][1])

    def is_silent(symbol: str) -> bool:
        """Nothing of it is sent while thirty trades of each other symbol are."""
        last, others = sent(symbol), [sent(other) for other in SYMBOLS]
        until(lambda: all(sent(other) >= before + 30 for other, before in zip(SYMBOLS, others, strict=True)), 60)
        return sent(symbol) == last

    def gaps() -> list[int]:
        return [len(scene.gaps(symbol, stream)) for symbol in SYMBOLS for stream in ("trade", "ticker", "depth5")]

    known = gaps()
    text = scene.symbols_file.read_text()
    log = scene.folder / "streaming.service.log"
    connected = log.read_bytes().count(b"connected to")
    scene.symbols_file.write_text(f"{text}    - {{symbol: SOLUSDT, name: Solana}}\n")
    until(lambda: log.read_bytes().count(b"SOLUSDT (trade") > 0, 5)
    until(lambda: scene.trades("SOLUSDT"), 30)
    scene.symbols_file.write_text(text)
    until(lambda: is_silent("SOLUSDT"), 60)
    assert gaps() == known
    assert log.read_bytes().count(b"connected to") == connected
