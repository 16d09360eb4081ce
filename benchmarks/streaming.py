"""How many trades a second the streaming service brings from a socket into Kafka, and what each costs.

    python benchmarks/streaming.py --kafka 127.0.0.1:9092 [--messages 150000] [--runs 3]

A local server floods the service; the time runs from the first message until Kafka has acknowledged the last. The same
is measured, in turns, for the plain way: websocket-client and kafka-python with their defaults, and `json`. The Kafka
must be running; its topics `crypto_raw_bench<n>usdt` are made and removed.
"""

import argparse
import base64
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import psutil
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

SYMBOLS = [f"BENCH{number}USDT" for number in range(5)]
TOPICS = [f"crypto_raw_{symbol.lower()}" for symbol in SYMBOLS]
PROJECT = Path(__file__).resolve().parent.parent


class Cost(NamedTuple):
    """Of one run."""

    messages_per_second: float
    cpu_microseconds: float


def frames(count: int) -> bytes:
    """`count` trades as WebSocket frames, the symbols in turn, ids rising."""
    pieces = []
    for number in range(count):
        symbol = SYMBOLS[number % len(SYMBOLS)]
        now = time.time_ns() // 1000
        body = (
            f'{{"stream":"{symbol.lower()}@trade","data":{{"e":"trade","E":{now},"s":"{symbol}","t":{number},'
            f'"p":"6{number % 9973:04d}.63000000","q":"0.0{number % 99991:05d}1","T":{now - 500},"m":true,"M":true}}}}'
        ).encode()
        pieces.append(b"\x81\x7e" + len(body).to_bytes(2) + body)  # a text frame of 126 to 65,535 bytes
    return b"".join(pieces)


class Flood:
    """A WebSocket server that sends everything at once to its first client, when told to."""

    def __init__(self, payload: bytes) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._server.getsockname()[1]}"
        self.connected, self.go = threading.Event(), threading.Event()
        self._payload = payload
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
        self.connected.set()
        self.go.wait()
        try:
            client.sendall(self._payload)
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


def run(kind: str, kafka: str, count: int, payload: bytes) -> Cost:
    """One run of one way, in a process of its own, with fresh topics."""
    flood = Flood(payload)
    with tempfile.TemporaryDirectory() as folder:
        symbols = Path(folder) / "symbols.yaml"
        entries = "".join(f"    - {{symbol: {symbol}, name: {symbol}, streams: [trade]}}\n" for symbol in SYMBOLS)
        symbols.write_text(f"tiers:\n  bench:\n{entries}", encoding="utf-8")
        environment = {
            **os.environ,  # noqa: TID251 (a child's environment)
            "PYTHONPATH": str(PROJECT), "CRYPTO_HOME": folder, "CRYPTO_MODE": "live", "SYMBOLS_FILE": str(symbols),
            "KAFKA_BOOTSTRAP_SERVERS": kafka, "BINANCE_WS_URL": flood.url, "METRICS_PORT": str(_free_port()),
        }  # fmt: skip
        command = (
            ["-m", "streaming.service"] if kind == "service" else [__file__, "--kafka", kafka, "--plain", flood.url]
        )
        _make_topics(kafka)
        child = subprocess.Popen([sys.executable, *command], env=environment, stderr=subprocess.DEVNULL)
        try:
            if not flood.connected.wait(60):
                raise RuntimeError(f"the {kind} did not connect")
            time.sleep(1)  # what it does at its start is not what is measured
            process = psutil.Process(child.pid)
            cpu_before, before = sum(process.cpu_times()[:2]), time.perf_counter()
            flood.go.set()
            _wait_for(kafka, count)
            seconds = time.perf_counter() - before
            cpu = sum(process.cpu_times()[:2]) - cpu_before
        finally:
            child.terminate()
            child.wait(30)
            _remove_topics(kafka)
    return Cost(count / seconds, cpu / count * 1_000_000)


def _make_topics(kafka: str) -> None:
    _remove_topics(kafka)
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.create_topics(
        {topic: {"num_partitions": 1, "replication_factor": 1} for topic in TOPICS}, wait_for_metadata=True
    )
    admin.close()


def _remove_topics(kafka: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    there = [topic for topic in TOPICS if topic in admin.list_topics()]
    if there:
        admin.delete_topics(there)
        while set(TOPICS) & set(admin.list_topics()):
            time.sleep(0.1)
    admin.close()


def _wait_for(kafka: str, count: int) -> None:
    consumer = KafkaConsumer(bootstrap_servers=kafka)
    partitions = [TopicPartition(topic, 0) for topic in TOPICS]
    while sum(consumer.end_offsets(partitions).values()) < count:
        time.sleep(0.05)
    consumer.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def main() -> None:
    """Measure both ways in turns, and print each run and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kafka", required=True, help="host:port of a running Kafka")
    parser.add_argument("--messages", type=int, default=150_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--plain", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain(options.plain, options.kafka)
        return
    payload = frames(options.messages)
    costs: dict[str, list[Cost]] = {"service": [], "plain": []}
    for number in range(options.runs):
        for kind, runs in costs.items():
            runs.append(run(kind, options.kafka, options.messages, payload))
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
