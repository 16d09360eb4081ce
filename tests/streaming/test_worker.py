"""The whole streaming service, as it runs, between a simulated exchange that fails and a real Kafka that does."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.events import Gap, encode
from shared.settings import Settings
from shared.symbol_manager import DEAD_LETTERS, REFERENCE
from streaming.feed import Feed
from streaming.kafka_producer import Refused
from streaming.ledger import Ledger
from streaming.metrics import Metrics
from streaming.spool import decoded
from streaming.worker import Worker
from tests.events import gap_event, trade_event
from tests.servers import KafkaServer, free_ports

PROJECT = Path(__file__).resolve().parents[2]
SYMBOLS = ("BTCUSDT", "ETHUSDT")


class Scene:
    """A simulator and the service, each a process."""

    def __init__(self, folder: Path, kafka: KafkaServer, **settings: str) -> None:
        self.folder = folder
        self.kafka = kafka
        self.simulator_port, self.metrics_port = free_ports(2)
        entries = "".join(f"    - {{symbol: {symbol}, name: {symbol}}}\n" for symbol in SYMBOLS)
        self.symbols_file = folder / "symbols.yaml"
        self.symbols_file.write_text(f"tiers:\n  a:\n{entries}")
        self.environment = {
            **os.environ, "PYTHONPATH": str(PROJECT), "CRYPTO_HOME": str(folder), "CRYPTO_MODE": "demo",
            "SYMBOLS_FILE": str(self.symbols_file), "KAFKA_BOOTSTRAP_SERVERS": kafka.settings.kafka,
            "METRICS_PORT": str(self.metrics_port), "SIMULATOR_PORT": str(self.simulator_port), "SIMULATOR_RATE": "20",
            "SIMULATOR_HISTORY_HOURS": "1", "SIMULATOR_PLANTED_FAULTS": "false", "RAW_ARCHIVE": "false", **settings,
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

    def metric(self, name: str) -> float:
        """A figure of the service, of all symbols together; 0 where it does not answer yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=20) as reply:
                lines = reply.read().decode().splitlines()
        except OSError:
            return 0
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def reference(self, stream: str) -> list[dict[str, Any]]:
        """What Kafka has that is about no stream of one symbol."""
        found = [json.loads(value) for _, value, _ in self.kafka.read(REFERENCE, 1)]
        return [event for event in found if event["stream"] == stream]

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


def test_each_connection_is_on_record_with_the_offset_of_its_clock_and_its_end(
    scene: Scene, service: "subprocess.Popen[bytes]", until: Callable[..., None]
) -> None:
    service.send_signal(signal.SIGTERM)
    assert service.wait(60) == 0
    last = scene.reference("connection")[-1]
    told = [report for report in scene.reference("connection") if report["connection_id"] == last["connection_id"]]
    assert [report["reason"] for report in told] == ["", "", "streaming stops"]
    assert told[0]["opened_at"] < told[-1]["closed_at"]
    assert all(abs(report["clock_offset"]) < 1_000_000 for report in told[1:])


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


def test_of_a_spool_that_was_damaged_the_lost_trade_is_fetched_and_the_damage_is_a_dead_letter(
    scene: Scene, service: "subprocess.Popen[bytes]", until: Callable[..., None]
) -> None:
    spool = scene.folder / "var" / "demo" / "streaming" / "spool"

    def spooled() -> list[tuple[Any, int]]:
        """The events in the file that is being written, each with where it ends."""
        content = b"".join(path.read_bytes() for path in spool.glob("*.open"))
        return [(json.loads(record.value), end) for record, end in decoded(content)]

    def trades() -> list[tuple[int, int]]:
        return [
            (event["trade_id"], end)
            for event, end in spooled()
            if (event["stream"], event.get("symbol"), event.get("source")) == ("trade", "BTCUSDT", "websocket")
        ]

    scene.kafka.kill()
    until(lambda: len(trades()) > 40, 90)
    service.kill()
    service.wait()
    lost, end = trades()[20]
    [path] = spool.glob("*.open")
    # A last one that the kill tore would be a hole of its own.
    content = bytearray(path.read_bytes())[: spooled()[-1][1]]
    content[end - 60] ^= 1
    path.write_bytes(content)
    again = scene.run("streaming.service")
    scene.kafka.start()
    until(lambda: (spool_gap := [gap for gap in scene.gaps("BTCUSDT", "trade") if gap["cause"] == "spool_damaged"])
          and spool_gap[0]["status"] == "repaired", 90)  # fmt: skip
    [gap] = [gap for gap in scene.gaps("BTCUSDT", "trade") if gap["cause"] == "spool_damaged"]
    assert (gap["first_missing"], gap["last_missing"]) == (lost, lost)
    for symbol in SYMBOLS:
        until(lambda symbol=symbol: scene.is_whole(symbol), 90)
    letters = [json.loads(value) for _, value, _ in scene.kafka.read("crypto_dead_letters", 1)]
    [letter] = [letter for letter in letters if letter["exchange"] == "spool"]
    assert "messages of the spool could not be read" in letter["error"]
    assert f'"trade_id":{lost},' in letter["frame"]
    assert list(spool.glob("*.damaged"))
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


def test_with_kafka_stuck_and_the_spool_full_the_whole_service_keeps_within_its_memory(
    tmp_path: Path, kafka_server: KafkaServer, until: Callable[..., None]
) -> None:
    """Sockets, parser, producer, archive and ledger together."""
    bounded = {"STREAM_MEMORY_MB": "8", "STREAM_SPOOL_MB": "8", "RAW_ARCHIVE": "true", "SIMULATOR_RATE": "1000"}
    scene = Scene(tmp_path, kafka_server, **bounded)
    try:
        until(lambda: scene.simulated("/api/v3/time"), 60)
        service = scene.run("streaming.service")
        memory = psutil.Process(service.pid)
        until(lambda: scene.metric("ingestor_messages_total") > 5000, 90)
        before = memory.memory_info().rss
        kafka_server.pause()
        until(lambda: scene.metric("reading_paused") == 1, 120)
        most = 0
        for _ in range(50):
            most = max(most, memory.memory_info().rss)
            time.sleep(0.1)
        assert scene.metric("reading_paused") == 1
        kafka_server.resume()
        until(lambda: not scene.metric("reading_paused") and not scene.metric("spool_messages"), 90)
    finally:
        kafka_server.resume()
        scene.close()
    # 8 MB of messages, 32 MB of the archive at most, and the frames between socket and parser
    assert most - before < 64 * 1024 * 1024, f"{(most - before) >> 20} MB"


class Stuck:
    """A producer that has refused something, and keeps what it is given."""

    def __init__(self, *losses: object) -> None:
        self.losses = deque(losses)
        self.sent: list[tuple[str, bytes]] = []

    def sweep(self) -> int:
        return 0

    def send(self, topic: str, _key: bytes, value: bytes, _mark: object = None) -> None:
        self.sent.append((topic, value))


def test_what_kafka_refuses_is_a_dead_letter_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    refused = encode(trade_event(7))
    producer = Stuck(Refused(refused, "Kafka refused it"))
    worker = Worker(Settings(), Feed(Settings()), producer, None, Metrics())  # type: ignore[arg-type]
    worker._tick()
    worker.ledger.close()
    [(topic, value)] = producer.sent
    letter = json.loads(value)
    assert topic == DEAD_LETTERS
    assert (letter["exchange"], letter["error"]) == ("kafka", "Kafka refused it")
    assert letter["frame"] == refused.decode()


def test_a_gap_is_in_the_ledger_before_kafka_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    gap = gap_event(8, None, cause="disconnect")
    found: list[list[Gap]] = []

    class Asking(Stuck):
        """What a process finds that is started in this moment."""

        def send(self, topic: str, _key: bytes, value: bytes, _mark: object = None) -> None:
            after = Ledger(Settings.load().state / "streaming" / "ledger.sqlite")
            found.append(after.gaps())
            after.close()

    settings = Settings.load()
    worker = Worker(settings, Feed(settings), Asking(), None, Metrics())  # type: ignore[arg-type]
    worker._tell([gap])
    worker.ledger.close()
    assert found == [[gap]]
