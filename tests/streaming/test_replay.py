"""A replay over a real Kafka and a real object store."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from shared.events import DepthSnapshot, decode, encode
from shared.settings import Settings
from shared.symbol_manager import Symbol
from streaming import archive as archive_module
from streaming.archive import HOUR, OTHER, Archive
from streaming.exchanges.binance import Binance
from streaming.kafka_producer import topic_of
from streaming.metrics import Metrics
from streaming.replay import Range, ReplayError, Store, replay
from tests.servers import KafkaServer, MinioServer

NOW = (time.time_ns() // 1000 // HOUR + 6) * HOUR + 60_000_000
"""In an hour to come that is not over before the tests are: this is read first, and these may be the last to run."""
PAST = NOW - 9 * HOUR


def trade(symbol: str, number: int) -> bytes:
    return json.dumps(
        {
            "stream": f"{symbol.lower()}@trade",
            "data": {
                "e": "trade", "E": PAST + number, "s": symbol, "t": number, "p": "60000.63000000", "q": "0.00012000",
                "T": PAST + number, "m": True, "M": True,
            },
        },
        ensure_ascii=False,
    ).encode()  # fmt: skip


def depth(symbol: str, update_id: int) -> bytes:
    book = {"lastUpdateId": update_id, "bids": [["1.0", "2.0"]], "asks": [["2.0", "1.0"]]}
    return json.dumps({"stream": f"{symbol.lower()}@depth5@100ms", "data": book}).encode()


@pytest.fixture
def settings(
    kafka_server: KafkaServer, minio_server: MinioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    monkeypatch.setattr(archive_module, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(archive_module, "LOOK_SECONDS", 0.05)
    port = kafka_server.settings.kafka_port
    yield minio_server.settings.model_copy(update={"kafka_port": port, "mode": "demo"})
    minio_server.clear()


@pytest.fixture
def symbol() -> Symbol:
    """A symbol with a topic of its own."""
    base = f"T{uuid4().hex[:12].upper()}"
    return Symbol.model_validate({"symbol": f"{base}USDT", "name": "test"})


def archived(settings: Settings, frames: list[tuple[bytes, int, str]], is_uploaded: Callable[[], bool]) -> None:
    """Put frames (body, received at, symbol) through the archive, and wait."""
    archive = Archive(settings, Metrics(), 0)
    archive.start()
    for body, received_at, symbol in frames:
        archive.append(body, received_at, "c1", "binance", symbol)
    deadline = time.monotonic() + 20
    while not is_uploaded():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    archive.close(10)


def events(server: KafkaServer, settings: Settings, symbol: Symbol, count: int) -> list[Any]:
    found = server.read(topic_of(settings, symbol.symbol), count)
    assert all(headers == [("replay", b"1")] for _, _, headers in found)
    return [decode(value) for _, value, _ in found]


def test_what_was_received_is_sent_again_word_for_word(
    settings: Settings, kafka_server: KafkaServer, minio_server: MinioServer, symbol: Symbol
) -> None:
    name = symbol.symbol
    frames = [(trade(name, number), PAST + number * 1000, name) for number in range(500)]
    late = [(trade(name, number), NOW + number, name) for number in range(500, 600)]  # the hour is not over: local
    archived(settings, frames + late, lambda: len(minio_server.keys()) == 1)
    summary = replay(settings, Range(PAST, NOW + HOUR), [symbol])
    venue = Binance()
    venue.learn([symbol])
    first = [event for body, at, _ in frames + late for event in venue.parse(body, at, "c1")]
    sent = events(kafka_server, settings, symbol, 600)
    assert [encode(event) for event in sent] == [encode(event) for event in first]
    assert (summary.frames, summary.refused, summary.events) == (600, 0, {"trade": 600})


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_file_that_is_uploaded_while_the_archive_is_listed_is_in_the_replay(
    minio_server: MinioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    settings = minio_server.settings
    folder = archive_module.raw_folder(settings)
    path = folder / archive_module.place("binance", "BTCUSDT", PAST // HOUR) / "100000-0.jsonl.zst"
    name = str(path.relative_to(folder))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"content")
    store = Store(settings)
    listed, calls = store._listed, 0

    def uploaded_behind_it(prefix: str, delimiter: str) -> Iterator[tuple[str, int]]:
        nonlocal calls
        calls += 1
        yield from listed(prefix, delimiter)
        if calls == call:
            archive_module.upload(minio_server.client, settings.bucket, f"raw/{name}", path)
            path.unlink()
            archive_module._remove_empty(path.parent, folder)

    monkeypatch.setattr(store, "_listed", uploaded_behind_it)
    try:
        [piece] = store.pieces(Range(PAST, PAST + 1))
        assert piece.files == (name,)
        with contextlib.closing(store.open(name)) as file:
            assert file.read() == b"content"
    finally:
        minio_server.clear()


def test_only_the_range_and_the_symbol_are_sent(
    settings: Settings, kafka_server: KafkaServer, minio_server: MinioServer, symbol: Symbol
) -> None:
    name, other = symbol.symbol, f"X{symbol.symbol}"
    frames = [(trade(one, number), PAST + number * 1_000_000, one) for number in range(100) for one in (name, other)]
    archived(settings, frames, lambda: len(minio_server.keys()) == 2)
    summary = replay(settings, Range(PAST + 10_000_000, PAST + 20_000_000, "binance", name), [symbol])
    assert summary.frames == 10
    assert [event.trade_id for event in events(kafka_server, settings, symbol, 10)] == list(range(10, 20))


def test_books_go_again_in_order_of_receipt_and_only_forward(
    settings: Settings, kafka_server: KafkaServer, minio_server: MinioServer, symbol: Symbol
) -> None:
    ids = [5, 7, 6, 7, 9, 8, 12]
    venue = Binance()
    frames = []
    for number, update_id in enumerate(ids):
        body = depth(symbol.symbol, update_id).replace(
            f"{symbol.symbol.lower()}@depth5@100ms".encode(), venue.channel(symbol, "depth5").encode()
        )
        frames.append((body, PAST + number, symbol.symbol))
    archived(settings, frames, lambda: len(minio_server.keys()) == 1)
    replay(settings, Range(PAST, PAST + HOUR), [symbol])
    sent = events(kafka_server, settings, symbol, 4)
    assert all(isinstance(event, DepthSnapshot) for event in sent)
    assert [(event.update_id, event.received_at) for event in sent] == [
        (5, PAST), (7, PAST + 1), (9, PAST + 4), (12, PAST + 6),
    ]  # fmt: skip


def test_what_was_refused_is_tried_again(
    settings: Settings, kafka_server: KafkaServer, minio_server: MinioServer, symbol: Symbol
) -> None:
    frames = [
        (trade(symbol.symbol, 1), PAST, symbol.symbol),
        (trade(symbol.symbol, 2), PAST + 1, OTHER),  # a parser of that time did not know it
        (b"\xff\xfe", PAST + 2, OTHER),
    ]
    archived(settings, frames, lambda: len(minio_server.keys()) == 2)
    summary = replay(settings, Range(PAST, PAST + HOUR, None, symbol.symbol), [symbol])
    assert (summary.frames, summary.refused) == (3, 1)
    assert sorted(event.trade_id for event in events(kafka_server, settings, symbol, 2)) == [1, 2]


def test_a_replay_that_was_stopped_goes_on_where_it_was(
    settings: Settings, kafka_server: KafkaServer, minio_server: MinioServer, symbol: Symbol
) -> None:
    frames = [(trade(symbol.symbol, hour), PAST - (5 - hour) * HOUR, symbol.symbol) for hour in range(5)]
    archived(settings, frames, lambda: len(minio_server.keys()) == 5)
    wanted = Range(PAST - 10 * HOUR, PAST)
    stopped = 0

    def stop(done: int, total: int) -> None:
        nonlocal stopped
        stopped += done > total // 2
        if stopped == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(settings, wanted, [symbol], stop)
    summary = replay(settings, wanted, [symbol])
    assert 2 <= summary.earlier <= 4
    assert summary.frames == 5 - summary.earlier
    sent = [event.trade_id for event in events(kafka_server, settings, symbol, 5)]
    assert list(dict.fromkeys(sent)) == list(range(5))
    assert replay(settings, wanted, [symbol]).earlier == 0, "a finished replay is remembered"


def test_an_empty_range_names_what_there_is(settings: Settings, minio_server: MinioServer, symbol: Symbol) -> None:
    archived(settings, [(trade(symbol.symbol, 1), PAST, symbol.symbol)], lambda: len(minio_server.keys()) == 1)
    day = time.strftime("%Y-%m-%d", time.gmtime(PAST / 1e6))
    with pytest.raises(ReplayError, match=f"Nothing is archived from 1970-01-01 00:00:00 .*: there is {day}"):
        replay(settings, Range(0, HOUR), [symbol])
    with pytest.raises(ReplayError, match="nor at any other time"):
        replay(settings, Range(0, HOUR, None, "NONEUSDT"), [symbol])


def test_an_unknown_pair_is_named(settings: Settings, minio_server: MinioServer) -> None:
    archived(settings, [(trade("ABCXYZ", 1), PAST, "ABCXYZ")], lambda: len(minio_server.keys()) == 1)
    with pytest.raises(ReplayError, match=r"base and quote of ABCXYZ are not known.*symbols.yaml"):
        replay(settings, Range(PAST, PAST + HOUR), [])


def test_without_servers_the_cure_is_named(settings: Settings, minio_server: MinioServer, symbol: Symbol) -> None:
    archived(settings, [(trade(symbol.symbol, 1), PAST, symbol.symbol)], lambda: len(minio_server.keys()) == 1)
    with pytest.raises(ReplayError, match=r"Kafka at 127\.0\.0\.1:9 does not answer .*: look whether it runs"):
        replay(settings.model_copy(update={"kafka_port": 9}), Range(PAST, PAST + HOUR), [symbol])
    with pytest.raises(ReplayError, match=r"cannot be read.*deploy\.sh"):
        replay(settings.model_copy(update={"minio_port": 9}), Range(PAST, PAST + HOUR), [symbol])


def test_the_command_says_what_it_did(
    settings: Settings, minio_server: MinioServer, symbol: Symbol, tmp_path: Path
) -> None:
    archived(settings, [(trade(symbol.symbol, 1), PAST, symbol.symbol)], lambda: len(minio_server.keys()) == 1)

    def crypto(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {
            "CRYPTO_HOME": str(tmp_path), "CRYPTO_MODE": "demo", "PATH": "/usr/bin:/bin", "COLUMNS": "200",
            "PYTHONPATH": str(Path(__file__).parents[2]), "NO_COLOR": "1",
            "KAFKA_PORT": str(settings.kafka_port), "MINIO_PORT": str(settings.minio_port),
            "S3_BUCKET": settings.bucket, "S3_ACCESS_KEY": settings.s3_access_key,
            "S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        }  # fmt: skip
        command = [sys.executable, "-c", "from crypto_pipeline.cli import app; app()", "replay", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    day = time.strftime("%Y-%m-%d", time.gmtime(PAST / 1e6 - 86400))
    done = crypto("--from", day, "--to", "2100-01-01")
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "1 frames in" in done.stdout
    assert "1 trade" in done.stdout
    done = crypto("--from", "yesterday", "--to", "2100-01-01")
    assert done.returncode == 2
    assert "2026-11-21T10:00" in done.stderr
    done = crypto("--from", "2000-01-01", "--to", "2001-01-01")
    assert done.returncode == 1
    assert "there is" in done.stderr
