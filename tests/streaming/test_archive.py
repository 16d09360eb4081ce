"""The raw archive: every byte, whatever happens, and once in the bucket."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shared.settings import Settings
from streaming import archive as module
from streaming.archive import HOUR, OTHER, Archive, Line, Uploader, encoded, place, recover, upload, whole_frames
from streaming.metrics import Metrics
from tests.servers import MinioServer

NOW = (time.time_ns() // 1000 // HOUR + 6) * HOUR + 60_000_000
"""In an hour to come that is not over before the tests are: this is read first, and these may be the last to run."""
FRAME = b'{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","t":%d,"p":"60000.63000000","q":"0.00012000"}}'


def lines(data: bytes) -> list[Line]:
    text = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    return [msgspec.json.decode(line, type=Line) for line in text.splitlines()]


@pytest.fixture
def settings(minio_server: MinioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "LONGEST_WAIT_SECONDS", 0.1)
    yield minio_server.settings
    minio_server.clear()


@pytest.fixture
def archives(settings: Settings) -> Iterator[Callable[..., Archive]]:
    made: list[Archive] = []

    def make(free_bytes: int = 0) -> Archive:
        made.append(Archive(settings, Metrics(), free_bytes))
        made[-1].start()
        return made[-1]

    yield make
    for archive in made:
        archive.close(10)


def local(settings: Settings) -> list[Path]:
    # os.walk, as folders may go meanwhile
    return sorted(Path(folder, name) for folder, _, names in os.walk(module.raw_folder(settings)) for name in names)


def stored(server: MinioServer, prefix: str = "raw/") -> dict[str, list[Line]]:
    get = server.client.get_object
    return {key: lines(get(Bucket=server.settings.bucket, Key=key)["Body"].read()) for key in server.keys(prefix)}


@given(st.binary(max_size=300), st.integers(0, 2**62), st.text(max_size=30))
def test_every_frame_is_kept_byte_for_byte(body: bytes, received_at: int, connection_id: str) -> None:
    line = encoded(body, received_at, connection_id)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    read = msgspec.json.decode(line, type=Line)
    assert (read.body, read.received_at, read.connection_id) == (body, received_at, connection_id)


@given(st.lists(st.binary(max_size=2000), max_size=5), st.booleans(), st.data())
def test_a_torn_end_is_found_wherever_it_is(pieces: list[bytes], has_checksum: bool, data: st.DataObject) -> None:
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=has_checksum)
    frames = [compressor.compress(piece) for piece in pieces]
    whole = b"".join(frames)
    cut = data.draw(st.integers(0, len(whole)))
    ends = [sum(map(len, frames[:number])) for number in range(len(frames) + 1)]
    assert whole_frames(whole[:cut]) == max(end for end in ends if end <= cut)


def test_a_last_frame_of_zeros_is_torn() -> None:
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(bytes(range(256)) * 9)
    assert whole_frames(frame + frame[:20] + bytes(len(frame) - 20)) == len(frame)
    assert whole_frames(frame + bytes(100)) == len(frame)


def test_an_hour_lies_where_hive_looks_for_it() -> None:
    hour = 1_795_392_000 // 3600
    assert place("binance", "BTCUSDT", hour) == "exchange=binance/symbol=BTCUSDT/date=2026-11-23/hour=00"
    assert place("binance", "币安USDT", hour).split("/")[1] == "symbol=%E5%B8%81%E5%AE%89USDT"


def test_frames_are_whole_on_the_disk_within_seconds(
    settings: Settings, archives: Callable[..., Archive], until: Callable[..., None]
) -> None:
    archive = archives()
    bodies = [FRAME % number for number in range(1000)]
    for body in bodies[:500]:
        archive.append(body, NOW, "c1", "binance", "BTCUSDT")
    until(lambda: local(settings))
    for body in bodies[500:]:
        archive.append(body, NOW, "c1", "binance", "BTCUSDT")
    until(lambda: len(lines(local(settings)[0].read_bytes())) == 1000)
    (path,) = local(settings)
    assert path.parent == module.raw_folder(settings) / place("binance", "BTCUSDT", NOW // HOUR)
    assert path.suffix == ".part"
    assert [line.body for line in lines(path.read_bytes())] == bodies
    assert path.stat().st_size < sum(map(len, bodies)) / 4


def test_an_hour_that_is_over_is_uploaded_and_removed_here(
    settings: Settings, minio_server: MinioServer, archives: Callable[..., Archive], until: Callable[..., None]
) -> None:
    archive = archives()
    past = NOW - 9 * HOUR
    archive.append(b"{}", past, "c1", "binance", "币安USDT")
    archive.append(b"\xff not JSON", past + 1, "c1", "binance", OTHER)
    archive.append(b"now", NOW, "c1", "binance", "BTCUSDT")
    until(lambda: len(minio_server.keys()) == 2 and len(local(settings)) == 1)
    found = stored(minio_server)
    symbol = f"raw/{place('binance', '币安USDT', past // HOUR)}"
    other = f"raw/{place('binance', OTHER, past // HOUR)}"
    assert sorted(key.rpartition("/")[0] for key in found) == sorted([symbol, other])
    assert sorted(line.body for one in found.values() for line in one) == [b"{}", b"\xff not JSON"]
    assert not (module.raw_folder(settings) / symbol.removeprefix("raw/")).exists()


def test_what_another_process_left_is_uploaded_and_overwrites_nothing(
    settings: Settings, minio_server: MinioServer, archives: Callable[..., Archive], until: Callable[..., None]
) -> None:
    for run in range(3):
        archive = archives()
        archive.append(b"%d" % run, NOW, "c1", "binance", "BTCUSDT")  # the same moment: the same name
        archive.close(10)
    archives()
    until(lambda: len(minio_server.keys()) == 3 and not local(settings))
    assert sorted(line.body for one in stored(minio_server).values() for line in one) == [b"0", b"1", b"2"]


def test_an_upload_that_was_done_before_a_crash_is_not_done_twice(
    settings: Settings, minio_server: MinioServer, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    key = f"raw/{uuid4().hex}/100000-0.jsonl.zst"
    path.write_bytes(b"content")
    upload(minio_server.client, settings.bucket, key, path)
    upload(minio_server.client, settings.bucket, key, path)
    assert minio_server.keys() == [key]
    path.write_bytes(b"another")
    upload(minio_server.client, settings.bucket, key, path)
    assert minio_server.keys() == [key, key.replace("-0.", "-1.")]


def test_without_the_object_store_files_wait_and_go_when_it_is_back(
    settings: Settings,
    minio_server: MinioServer,
    archives: Callable[..., Archive],
    until: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    minio_server.kill()
    try:
        archive = archives()
        archive.append(b"{}", NOW - 9 * HOUR, "c1", "binance", "BTCUSDT")
        until(lambda: "it waits on the disk" in caplog.text)
        time.sleep(0.5)  # some more attempts
        assert len(local(settings)) == 1
        assert caplog.text.count("it waits on the disk") == 1
    finally:
        minio_server.start()
    until(lambda: len(minio_server.keys()) == 1 and not local(settings), 20)


def test_what_others_left_in_the_folder_keeps_nothing_waiting_and_stays(
    settings: Settings, minio_server: MinioServer, archives: Callable[..., Archive], until: Callable[..., None]
) -> None:
    hour = module.raw_folder(settings) / place("binance", "AAAUSDT", NOW // HOUR - 100)
    foreign = [hour / "notes.jsonl.zst", hour / "copy.part", module.raw_folder(settings) / "1-0.jsonl.zst"]
    hour.mkdir(parents=True)
    for path in foreign:
        path.write_bytes(b"not ours")
    archive = archives()
    archive.append(b"{}", NOW - 9 * HOUR, "c1", "binance", "BTCUSDT")
    until(lambda: len(minio_server.keys()) == 1)
    until(lambda: local(settings) == sorted(foreign))


def test_an_object_store_that_is_named_wrong_is_told_once_and_tried_again(
    settings: Settings, until: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    folder = module.raw_folder(settings)
    uploader = Uploader(settings.model_copy(update={"s3_endpoint": "minio:9000"}), Metrics(), folder)
    uploader.start()
    until(lambda: "it waits on the disk" in caplog.text)
    uploader._settings = settings
    until(lambda: "uploaded again" in caplog.text)
    uploader.stop()
    uploader.join(10)
    assert caplog.text.count("minio:9000 (Invalid endpoint: minio:9000); it waits on the disk") == 1


def test_a_full_disk_stops_the_archive_loudly_and_nothing_else(
    settings: Settings,
    archives: Callable[..., Archive],
    until: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = archives(free_bytes=2**60)
    value = archive._metrics.registry.get_sample_value
    until(lambda: value("archive_paused") == 1)
    for number in range(100):
        archive.append(FRAME % number, NOW, "c1", "binance", "BTCUSDT")
    until(lambda: value("archive_dropped_total", {"exchange": "binance"}) == 100)
    assert not local(settings)
    monkeypatch.setattr(archive, "_free", 0)
    until(lambda: value("archive_paused") == 0)
    archive.append(b"again", NOW, "c1", "binance", "BTCUSDT")
    until(lambda: local(settings))
    assert caplog.text.count("frames are not archived") == 1
    assert "frames are archived again" in caplog.text


def test_memory_is_bounded_when_the_disk_hangs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY_BYTES", 100_000)
    archive = Archive(settings, Metrics(), 0)  # nothing writes: it was not started
    for number in range(10_000):
        archive.append(FRAME % number, NOW, "c1", "binance", "BTCUSDT")
    assert archive._bytes < 101_000
    archive._flush()
    dropped = archive._metrics.registry.get_sample_value("archive_dropped_total", {"exchange": "binance"})
    kept = len(lines(local(settings)[0].read_bytes()))
    assert (dropped or 0) + kept == 10_000
    assert archive._bytes == 0


KILLED = """
import sys, time
from shared.settings import Settings
from streaming import archive
from streaming.metrics import Metrics
archive.FLUSH_SECONDS = 0.02
made = archive.Archive(Settings(minio_port=1), Metrics(), 0)
made.start()
for number in range(10**9):
    made.append(b"%d" % number, time.time_ns() // 1000, "c1", "binance", "BTCUSDT")
    if number % 100 == 0:
        time.sleep(0.001)
        print(number, flush=True)
"""


def test_after_kill_9_the_archive_is_whole_up_to_the_last_seconds(settings: Settings) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    while int(child.stdout.readline()) < 20_000:
        pass
    child.kill()
    last = int((child.stdout.read().split() or ["20000"])[-1])
    child.wait()
    child.stdout.close()
    (path,) = local(settings)
    with path.open("ab") as file:
        file.write(zstandard.ZstdCompressor().compress(b"torn" * 100)[:-3])
    recover(module.raw_folder(settings))
    (path,) = local(settings)
    assert path.name.endswith(".jsonl.zst")
    assert whole_frames(path.read_bytes()) == path.stat().st_size, "what was torn is still there"
    found = [int(line.body) for line in lines(path.read_bytes())]
    assert found == list(range(len(found)))
    assert len(found) > last / 2
