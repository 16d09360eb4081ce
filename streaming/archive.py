"""The raw archive: every frame as it was received, compressed, in a file for each exchange, symbol and hour.

A line is `{"received_at": microseconds, "connection_id": …, "frame": …}`, the frame as a string; one that is not UTF-8
stands in `frame_base64` instead, so that each is there byte for byte. Every few seconds what came is written as one
complete zstd frame and brought to the disk: a crash costs the last seconds, and a torn end is cut off at the next
start. When the hour is over, files go to `raw/exchange=…/symbol=…/date=…/hour=…/` in the bucket, and from the disk.

The archive is a second copy, so it yields: when the disk is nearly full, it stops (and says so) long before the spool
must, and the stream goes on.
"""

import base64
import hashlib
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
import zstandard
from botocore.exceptions import BotoCoreError, ClientError

from shared.settings import Settings
from streaming.metrics import Metrics
from streaming.object_store import s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

OTHER = "_other"
"""Where frames lie that are about no symbol: answers, announcements, what could not be parsed."""
HOUR = 3_600_000_000
FLUSH_SECONDS = 3.0
LATE_SECONDS = 30
"""How long after its end an hour's file is closed: frames may still be on the way."""
LOOK_SECONDS = 10
"""How often there is a look for files to upload."""
LONGEST_WAIT_SECONDS = 60
MEMORY_BYTES = 32 * 1024 * 1024
"""What may wait for the disk."""
FREE_BYTES = 1024 * 1024 * 1024
"""Below this the archive stops; the spool goes on to a quarter of it."""
LEVEL = 3

_OURS = re.compile(r"exchange=[^/]+/symbol=[^/]+/date=\d{4}-\d\d-\d\d/hour=\d\d/\d+-\d+\.jsonl\.zst(\.part)?")
_encoder = msgspec.json.Encoder()
_folders = threading.Lock()
"""An empty folder is not removed while a file is about to be made in it."""


class Line(msgspec.Struct, omit_defaults=True):
    """A frame in the archive."""

    received_at: int
    connection_id: str
    frame: str | None = None
    frame_base64: bytes | None = None

    @property
    def body(self) -> bytes:
        """The frame as it was received."""
        return self.frame.encode() if self.frame is not None else self.frame_base64 or b""


def encoded(body: bytes, received_at: int, connection_id: str) -> bytes:
    """The archive's line of a frame."""
    try:
        line = Line(received_at, connection_id, body.decode())
    except UnicodeDecodeError:
        line = Line(received_at, connection_id, frame_base64=body)
    return _encoder.encode(line) + b"\n"


def raw_folder(settings: Settings) -> Path:
    """Where files lie until they are uploaded."""
    return settings.state / "streaming" / "raw"


def place(exchange: str, symbol: str, hour: int) -> str:
    """The folder of an hour (counted from 1970), in the bucket and on disk; non-ASCII is percent-encoded."""
    start = datetime.fromtimestamp(hour * 3600, UTC)
    return f"exchange={exchange}/symbol={quote(symbol, safe='')}/date={start:%Y-%m-%d}/hour={start:%H}"


def is_ours(path: Path, folder: Path) -> bool:
    """Whether a file in the archive's folder is one of the archive."""
    return _OURS.fullmatch(path.relative_to(folder).as_posix()) is not None


def whole_frames(data: bytes) -> int:
    """How many bytes of `data` are complete zstd frames, by RFC 8878, 3.1.1; what follows was torn by a crash."""
    done = last = 0
    while (end := _frame_end(data, done)) is not None:
        last, done = done, end
    if done:
        try:  # the end of a file may have its length and not its content
            zstandard.ZstdDecompressor().decompressobj().decompress(data[last:done])
        except zstandard.ZstdError:
            return last
    return done


def _frame_end(data: bytes, start: int) -> int | None:
    """Where the zstd frame that begins at `start` ends; none where it is not all there."""
    header = data[start : start + 18]
    try:
        at = start + zstandard.frame_header_size(header)
        has_checksum = zstandard.get_frame_parameters(header).has_checksum
    except zstandard.ZstdError:
        return None
    is_last = False
    while not is_last:
        block = data[at : at + 3]
        if len(block) < 3:
            return None
        number = int.from_bytes(block, "little")
        is_last, kind, size = bool(number & 1), number >> 1 & 3, number >> 3
        at += 3 + (1 if kind == 1 else size)
    at += 4 * has_checksum
    return at if at <= len(data) else None


@dataclass
class _Hour:
    """The file of an exchange, symbol and hour while it is written; it is named `….part` as long."""

    path: Path
    size: int = 0


Key = tuple[str, str, int]
"""Exchange, symbol, hour since 1970."""


class Archive:
    """Takes in frames from one thread; two threads of its own write and upload them."""

    def __init__(self, settings: Settings, metrics: Metrics, free_bytes: int = FREE_BYTES) -> None:
        self._folder = raw_folder(settings)
        self._metrics = metrics
        self._free = free_bytes
        self._lock = threading.Lock()
        self._buffers: dict[Key, bytearray] = {}
        self._bytes = 0
        self._dropped: dict[str, int] = {}
        self._is_paused = self._is_slow = False
        self._hours: dict[Key, _Hour] = {}
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        self._closing = threading.Event()
        self._folder.mkdir(parents=True, exist_ok=True)
        recover(self._folder)
        self._uploader = Uploader(settings, metrics, self._folder)
        self._writer = threading.Thread(target=self._write_on, name="archive", daemon=True)

    def start(self) -> None:
        """Begin to write and to upload."""
        self._writer.start()
        self._uploader.start()

    def append(self, body: bytes, received_at: int, connection_id: str, exchange: str, symbol: str) -> None:
        """Keep a frame. It is on the disk some seconds later. It never blocks: without room the frame is dropped, and
        counted."""
        line = encoded(body, received_at, connection_id)
        key = (exchange, symbol, received_at // HOUR)
        with self._lock:
            if self._bytes > MEMORY_BYTES or self._is_paused:
                self._dropped[exchange] = self._dropped.get(exchange, 0) + 1
                return
            buffer = self._buffers.get(key)
            if buffer is None:
                buffer = self._buffers[key] = bytearray()
            buffer += line
            self._bytes += len(line)

    def close(self, timeout: float) -> None:
        """Write what waits, and stop. Files that are not uploaded yet go at the next start."""
        self._closing.set()
        self._uploader.stop()
        self._writer.join(timeout)
        self._uploader.join(timeout)

    def _write_on(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            try:
                self._flush()
            except Exception:  # without this thread nothing would be archived, and nobody told
                log.exception("%s: frames are not archived; trying again", self._folder)
        self._flush()
        for hour in self._hours.values():
            _close(hour)

    def _flush(self) -> None:
        """Write all buffers, each as one zstd frame, and close the hours that are over."""
        self._look_at_disk()
        with self._lock:
            buffers, self._buffers = self._buffers, {}
            taken, dropped, self._dropped = self._bytes, self._dropped, {}
        for exchange, count in dropped.items():
            self._metrics.archive_dropped.labels(exchange).inc(count)
        if dropped and not self._is_paused and not self._is_slow:
            log.error("the disk of %s is too slow: %d frames are not archived", self._folder, sum(dropped.values()))
        self._is_slow = bool(dropped)
        try:
            self._write_all(buffers)
        finally:
            with self._lock:
                self._bytes -= taken
        now = time.time()
        for key in [key for key in self._hours if (key[2] + 1) * 3600 + LATE_SECONDS < now]:
            _close(self._hours.pop(key))
            self._uploader.look()

    def _write_all(self, buffers: dict[Key, bytearray]) -> None:
        for key, buffer in buffers.items():
            try:
                self._write(key, buffer)
            except OSError as error:
                log.error("%s: frames of %s are not archived: %s", self._folder, key[1], error)  # noqa: TRY400
                self._metrics.archive_dropped.labels(key[0]).inc(buffer.count(b"\n"))

    def _look_at_disk(self) -> None:
        is_full = shutil.disk_usage(self._folder).free < self._free
        if is_full != self._is_paused:
            if is_full:
                size = self._free >> 20
                log.error("less than %d MB are free on the disk of %s: frames are not archived", size, self._folder)
            else:
                log.warning("frames are archived again")
            self._metrics.archive_paused.set(is_full)
            with self._lock:
                self._is_paused = is_full

    def _write(self, key: Key, buffer: bytearray) -> None:
        frame = self._compressor.compress(buffer)
        with _folders:
            hour = self._hours.get(key)
            if hour is None:
                hour = self._hours[key] = _Hour(self._new_path(key, _first_time(buffer)))
            file = hour.path.open("ab")
        with file:
            try:
                file.write(frame)
                file.flush()
                os.fdatasync(file.fileno())
            except OSError:
                os.truncate(hour.path, hour.size)
                raise
        hour.size += len(frame)

    def _new_path(self, key: Key, first: int) -> Path:
        folder = self._folder / place(*key)
        folder.mkdir(parents=True, exist_ok=True)
        start = datetime.fromtimestamp(first / 1_000_000, UTC)
        number = 0
        while True:
            path = folder / f"{start:%H%M%S}-{number}.jsonl.zst"
            part = path.with_name(f"{path.name}.part")
            if not path.exists() and not part.exists():
                return part
            number += 1


def _first_time(buffer: bytearray) -> int:
    return msgspec.json.decode(buffer[: buffer.index(b"\n")], type=Line).received_at


def _close(hour: _Hour) -> None:
    """From now on it may be uploaded."""
    if hour.size:
        hour.path.rename(hour.path.with_suffix(""))


def recover(folder: Path) -> None:
    """Cut and close the files that a process left open."""
    for path in folder.rglob("*.part"):
        if not is_ours(path, folder):
            continue
        data = path.read_bytes()
        size = whole_frames(data)
        if size < len(data):
            log.warning("%s ended in a torn piece, which was cut off (%d bytes)", path, len(data) - size)
            os.truncate(path, size)
        if size:
            path.rename(path.with_suffix(""))
        else:
            path.unlink()


class Uploader(threading.Thread):
    """Moves closed files into the bucket, the oldest first; what it cannot bring there waits on the disk."""

    def __init__(self, settings: Settings, metrics: Metrics, folder: Path) -> None:
        super().__init__(name="archive-upload", daemon=True)
        self._settings = settings
        self._metrics = metrics
        self._folder = folder
        self._wake = threading.Event()
        self._stopping = False

    def look(self) -> None:
        """There is something to upload."""
        self._wake.set()

    def stop(self) -> None:
        """End after the file that is being uploaded."""
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        client: S3Client | None = None
        failures = 0
        told: set[type[Exception]] = set()
        while not self._stopping:
            try:
                client = client or s3_client(self._settings)
                self._upload_all(client)
            except Exception as error:  # without this thread the disk would fill, and nobody be told
                failures += 1
                if type(error) not in told:
                    told.add(type(error))
                    log.error(  # noqa: TRY400 (a sentence; a traceback only where the fault is ours)
                        "the raw archive cannot be uploaded to %s (%s); it waits on the disk",
                        self._settings.s3_url,
                        error,
                        exc_info=not isinstance(error, BotoCoreError | ClientError | OSError | ValueError),
                    )
            else:
                if failures:
                    log.warning("the raw archive is uploaded again")
                failures = 0
                told.clear()
            wait = min(LONGEST_WAIT_SECONDS, 2.0 ** min(failures, 10)) if failures else LOOK_SECONDS
            self._wake.wait(wait)
            self._wake.clear()

    def _upload_all(self, client: "S3Client") -> None:
        found = (path for path in self._folder.rglob("*.jsonl.zst") if is_ours(path, self._folder))
        files = sorted(found, key=lambda path: (path.parts[-3:-1], path))
        waiting = sum(path.stat().st_size for path in files)
        self._metrics.archive_waiting.set(waiting)
        for path in files:
            if self._stopping:
                return
            waiting -= path.stat().st_size
            upload(client, self._settings.bucket, f"raw/{path.relative_to(self._folder)}", path)
            self._metrics.archive_waiting.set(waiting)
            path.unlink()
            _remove_empty(path.parent, self._folder)


def upload(client: "S3Client", bucket: str, key: str, path: Path) -> None:
    """Bring a file into the bucket whole, beside what is there already.

    Raises boto's errors; it may be called again.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5")  # what S3 compares
    size = path.stat().st_size
    for name in _names(key):
        try:
            with path.open("rb") as file:
                client.put_object(
                    Bucket=bucket,
                    Key=name,
                    Body=file,
                    ContentMD5=base64.b64encode(digest.digest()).decode(),
                    IfNoneMatch="*",
                )
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
                raise
            there = client.head_object(Bucket=bucket, Key=name)
            if there["ContentLength"] == size and there["ETag"].strip('"') == digest.hexdigest():
                return  # this very file, before a crash
            continue
        if client.head_object(Bucket=bucket, Key=name)["ContentLength"] != size:
            raise OSError(f"{name} in the bucket is not as long as {path}")
        return


def _names(key: str) -> Iterator[str]:
    """`key`, then with the next numbers: two machines may have begun a file in the same second."""
    stem, _, number = key.removesuffix(".jsonl.zst").rpartition("-")
    for count in range(int(number), int(number) + 1000):
        yield f"{stem}-{count}.jsonl.zst"


def _remove_empty(folder: Path, root: Path) -> None:
    with _folders:
        while folder != root:
            try:
                folder.rmdir()
            except OSError:  # not empty
                return
            folder = folder.parent
