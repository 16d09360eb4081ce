"""How many trades a second the streaming service brings from a socket into Kafka, what each costs, how long it takes.

    python benchmarks/streaming.py --kafka 127.0.0.1:9092 [--messages 150000] [--runs 3]
    python benchmarks/streaming.py --kafka 127.0.0.1:9092 --steady [--minutes 10] [--rate 5000] [--symbols 50]

The first floods the service, on one core, from a local server; the time runs from the first message until Kafka has
acknowledged the last. It is measured in turns with the raw archive, without it, and for the plain way: websocket-client
and kafka-python with their defaults, and `json`.

The second sends at a steady rate, with a linger of 20 ms, and reports the time from the server's socket to Kafka's log
(from which the answer takes less than a millisecond more), the CPU, and the memory in the first and the last minute.

The Kafka must be running; its topics `crypto_raw_bench<n>usdt` are made and removed.
"""

import argparse
import base64
import hashlib
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

PROJECT = Path(__file__).resolve().parent.parent
KINDS = ("archive", "service", "plain")
"""The service with its raw archive, without it, and the plain way."""
FLOODED_SYMBOLS = 5
STEADY_LINGER_MS = 20
BURST_SECONDS = 0.01
WARM_UP_SECONDS = 5
"""What comes first is sent too, and its latency reported apart: Kafka's caches and its compiler are cold."""


class Cost(NamedTuple):
    """Of one run."""

    messages_per_second: float
    cpu_microseconds: float


def names(count: int) -> list[str]:
    return [f"BENCH{number}USDT" for number in range(count)]


def topics(symbols: Sequence[str]) -> list[str]:
    return [f"crypto_raw_{symbol.lower()}" for symbol in symbols]


def frame(symbol: str, number: int) -> bytes:
    """A trade as a WebSocket frame, sent now."""
    now = time.time_ns() // 1000
    body = (
        f'{{"stream":"{symbol.lower()}@trade","data":{{"e":"trade","E":{now},"s":"{symbol}","t":{number},'
        f'"p":"6{number % 9973:04d}.63000000","q":"0.0{number % 99991:05d}1","T":{now - 500},"m":true,"M":true}}}}'
    ).encode()
    return b"\x81\x7e" + len(body).to_bytes(2) + body  # a text frame of 126 to 65,535 bytes


def frames(count: int, symbols: Sequence[str]) -> Iterator[bytes]:
    """`count` trades, the symbols in turn, the ids of each without a hole."""
    return (frame(symbols[number % len(symbols)], number // len(symbols)) for number in range(count))


def steadily(rate: int, seconds: float, symbols: Sequence[str]) -> Iterator[bytes]:
    """Bursts of trades, `rate` a second."""
    began, sent = time.monotonic(), 0
    numbers = itertools.count()
    while (elapsed := time.monotonic() - began) < seconds:
        due = int(elapsed * rate)
        yield b"".join(
            frame(symbols[number % len(symbols)], number // len(symbols))
            for number in itertools.islice(numbers, due - sent)
        )
        sent = due
        time.sleep(BURST_SECONDS)


class Server:
    """A WebSocket server that sends its pieces to its first client, when told to."""

    def __init__(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._server.getsockname()[1]}"
        self.connected, self.go, self.done = threading.Event(), threading.Event(), threading.Event()
        self._pieces = pieces
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        client, _ = self._server.accept()
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(65536)
        key = next(
            line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        )
        # RFC 6455, 4.2.2
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324
        client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        client.sendall(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connected.set()
        self.go.wait()
        try:
            for piece in self._pieces():
                client.sendall(piece)
            self.done.set()
            client.recv(1)  # keeps the connection until the other side ends it
        except OSError:
            pass
        client.close()
        self._server.close()


def plain(url: str, kafka: str) -> None:
    """The plain way, as a process of its own."""
    import websocket
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=kafka, value_serializer=lambda value: json.dumps(value).encode())

    def on_message(_app: object, message: str) -> None:
        trade = json.loads(message)["data"]
        event = {
            "exchange": "binance", "symbol": trade["s"], "stream": "trade", "trade_id": trade["t"], "price": trade["p"],
            "quantity": trade["q"], "event_time": trade["T"], "published_at": trade["E"], "is_buyer_maker": trade["m"],
            "received_at": time.time_ns() // 1000, "source": "websocket",
        }  # fmt: skip
        producer.send(f"crypto_raw_{trade['s'].lower()}", event, key=b"binance:trade")

    websocket.WebSocketApp(f"{url}/stream", on_message=on_message).run_forever()


@contextmanager
def running(kind: str, kafka: str, server: Server, symbols: Sequence[str], **settings: str) -> Iterator[psutil.Process]:
    """One way, in a process of its own on one core, with fresh topics; connected, and told nothing yet."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "symbols.yaml"
        entries = "".join(f"    - {{symbol: {symbol}, name: {symbol}, streams: [trade]}}\n" for symbol in symbols)
        file.write_text(f"tiers:\n  bench:\n{entries}", encoding="utf-8")
        environment = {
            **os.environ,  # noqa: TID251 (a child's environment)
            "PYTHONPATH": str(PROJECT), "CRYPTO_HOME": folder, "CRYPTO_MODE": "live", "SYMBOLS_FILE": str(file),
            "KAFKA_BOOTSTRAP_SERVERS": kafka, "BINANCE_WS_URL": server.url, "METRICS_PORT": str(_free_port()),
            "BINANCE_REST_URL": "http://127.0.0.1:9", "RAW_ARCHIVE": str(kind == "archive"), **settings,
        }  # fmt: skip
        command = (
            [__file__, "--kafka", kafka, "--plain", server.url] if kind == "plain" else ["-m", "streaming.service"]
        )
        _make_topics(kafka, topics(symbols))
        child = subprocess.Popen([sys.executable, *command], env=environment, stderr=subprocess.DEVNULL)
        try:
            process = psutil.Process(child.pid)
            process.cpu_affinity([max(process.cpu_affinity())])
            if not server.connected.wait(60):
                raise RuntimeError(f"the {kind} did not connect")
            time.sleep(1)  # what it does at its start is not what is measured
            yield process
        finally:
            child.terminate()
            child.wait(60)
            _remove_topics(kafka, topics(symbols))


def flooded(kind: str, kafka: str, count: int, payload: bytes) -> Cost:
    """One run of one way."""
    symbols = names(FLOODED_SYMBOLS)
    server = Server(lambda: iter([payload]))
    with running(kind, kafka, server, symbols) as process:
        cpu_before, before = sum(process.cpu_times()[:2]), time.perf_counter()
        server.go.set()
        _wait_for(kafka, topics(symbols), count)
        seconds = time.perf_counter() - before
        cpu = sum(process.cpu_times()[:2]) - cpu_before
    return Cost(count / seconds, cpu / count * 1_000_000)


def steady(kafka: str, minutes: float, rate: int, symbols: Sequence[str]) -> None:
    """Send at a steady rate, and print what it took."""
    server = Server(lambda: steadily(rate, minutes * 60, symbols))
    with running("archive", kafka, server, symbols, KAFKA_LINGER_MS=str(STEADY_LINGER_MS)) as process:
        memory, cpu_before = [], sum(process.cpu_times()[:2])
        server.go.set()
        while not server.done.wait(1):
            memory.append(process.memory_info().rss / 2**20)
        time.sleep(2)
        cpu = sum(process.cpu_times()[:2]) - cpu_before
        measured = list(_latencies(kafka, topics(symbols)))
    warm_from = min(sent_at for sent_at, _ in measured) + WARM_UP_SECONDS * 1000
    latencies = sorted(latency for sent_at, latency in measured if sent_at >= warm_from)
    cold = max(latency for sent_at, latency in measured if sent_at < warm_from)
    count = len(measured)
    minute = min(60, max(len(memory) // 3, 1))
    first, last = statistics.mean(memory[:minute]), statistics.mean(memory[-minute:])
    p50, p99 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99))
    print(f"{count:,} messages, {count / minutes / 60:,.0f} a second, {len(symbols)} topics, {minutes:g} minutes")
    print(
        f"socket to Kafka's log: p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {latencies[-1]:.0f} ms;",
        f"longest in the first {WARM_UP_SECONDS} s {cold:.0f} ms",
    )
    print(f"CPU {cpu / count * 1_000_000:.1f} µs a message, {cpu / minutes / 60 * 100:.0f} % of a core")
    print(f"memory {first:.0f} MB in the first {minute} s, {last:.0f} MB in the last (ratio {last / first:.2f})")


def _latencies(kafka: str, topics: Sequence[str]) -> Iterator[tuple[float, float]]:
    """When each trade was sent, and how long it took into Kafka's log, in milliseconds. Events of our own are none."""
    consumer = KafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
    partitions = [TopicPartition(topic, 0) for topic in topics]
    consumer.assign(partitions)
    left = sum(consumer.end_offsets(partitions).values())
    while left > 0:  # what came since may be read too
        for messages in consumer.poll(timeout_ms=1000, max_records=20_000).values():
            left -= len(messages)
            for message in filter(lambda message: message.key == b"binance:trade", messages):
                sent_at = json.loads(message.value)["published_at"] / 1000
                yield sent_at, message.timestamp - sent_at
    consumer.close()


def _make_topics(kafka: str, topics: Sequence[str]) -> None:
    _remove_topics(kafka, topics)
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    # its messages have the time at which Kafka took them in
    topic = {"num_partitions": 1, "replication_factor": 1, "configs": {"message.timestamp.type": "LogAppendTime"}}
    admin.create_topics(dict.fromkeys(topics, topic), wait_for_metadata=True)
    admin.close()


def _remove_topics(kafka: str, topics: Sequence[str]) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    there = set(admin.list_topics())
    if old := [topic for topic in topics if topic in there]:
        admin.delete_topics(old)
        while set(old) & set(admin.list_topics()):
            time.sleep(0.1)
    admin.close()


def _wait_for(kafka: str, topics: Sequence[str], count: int) -> None:
    consumer = KafkaConsumer(bootstrap_servers=kafka)
    partitions = [TopicPartition(topic, 0) for topic in topics]
    while sum(consumer.end_offsets(partitions).values()) < count:
        time.sleep(0.05)
    consumer.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def main() -> None:
    """Flood all ways in turns and print each run and the medians; or send steadily."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kafka", required=True, help="host:port of a running Kafka")
    parser.add_argument("--messages", type=int, default=150_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steady", action="store_true", help="a steady rate instead of a flood")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--plain", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain(options.plain, options.kafka)
        return
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if options.steady:
        steady(options.kafka, options.minutes, options.rate, names(options.symbols))
        return
    payload = b"".join(frames(options.messages, names(FLOODED_SYMBOLS)))
    costs: dict[str, list[Cost]] = {kind: [] for kind in KINDS}
    for number in range(options.runs):
        for kind, runs in costs.items():
            runs.append(flooded(kind, options.kafka, options.messages, payload))
            print(
                f"run {number + 1} {kind:<8} {runs[-1].messages_per_second:9,.0f} messages/s",
                f"{runs[-1].cpu_microseconds:7.1f} µs of CPU a message",
            )
    for kind, runs in costs.items():
        speed = statistics.median(cost.messages_per_second for cost in runs)
        cpu = statistics.median(cost.cpu_microseconds for cost in runs)
        print(f"median {kind:<8} {speed:9,.0f} messages/s {cpu:7.1f} µs of CPU a message")


if __name__ == "__main__":
    main()
