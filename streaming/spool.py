"""Messages on disk, in order, for the time in which Kafka does not take them in.

Segments `<number>-<messages>.spool` in one folder, the last of them `<number>.open` while it is written. A record is
its length and CRC-32 (little-endian, four bytes each), then topic, key, value and headers as MessagePack. A record that
a crash cut short is cut off when the folder is opened again. A segment goes when all of its messages are acknowledged;
what was acknowledged of an unfinished one comes once more after a crash, which the tables do not mind. What cannot be
read is passed over and told (`damages`), and its file is kept as `<number>-<time>.damaged`.
"""

import errno
import fcntl
import logging
import os
import shutil
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from shared.settings import Settings

log = logging.getLogger(__name__)

SEGMENT_BYTES = 16 * 1024 * 1024
WRITE_BYTES = 64 * 1024
READ_BYTES = 256 * 1024
PAGE_BYTES = 4096
"""What a disk that has become bad in one place still gives, or does not."""
FREE_BYTES = 256 * 1024 * 1024
"""What stays free on the disk for the others who write there."""
SHOWN_BYTES = 100_000
"""How much of what is lost is kept for a person."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_head = struct.Struct("<II")
_BODY = b"\x94"
"""How MessagePack begins an array of four, as which a record is written."""


class SpoolFull(Exception):  # noqa: N818 (a state, not an error)
    """There is no room for a message now; the text says why."""


class SpoolError(Exception):
    """The spool cannot be used; the message says why, and what would be right."""


class Record(NamedTuple):
    """A message for Kafka."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


@dataclass(eq=False)
class Segment:
    """A file of the spool."""

    number: int
    path: Path
    messages: int = 0
    size: int = 0
    """With what is still in the write buffer."""
    acknowledged: int = 0
    aside: Path | None = None
    """Where its file is kept in the end, if some of it cannot be read."""


class Damage(NamedTuple):
    """A part of a segment that cannot be read."""

    file: str
    """The name under which the segment is kept."""
    messages: int
    """So many of the segment are lost; none where an earlier part of it was told with them."""
    part: bytes
    """Its beginning."""


_decoder = msgspec.msgpack.Decoder(Record)
_encoder = msgspec.msgpack.Encoder()


def encoded(record: Record) -> bytes:
    """A record as it lies in a segment."""
    body = _encoder.encode(record)
    return _head.pack(len(body), zlib.crc32(body)) + body


def decoded(data: bytes, place: int = 0) -> Iterator[tuple[Record, int]]:
    """The whole records of `data` from a place on, each with where it ends; it stops before a torn one."""
    view = memoryview(data)
    while place + _head.size <= len(data):
        length, checksum = _head.unpack_from(data, place)
        body = view[place + _head.size : place + _head.size + length]
        if not length or len(body) < length or zlib.crc32(body) != checksum:
            return
        try:
            record = _decoder.decode(body)
        except msgspec.MsgspecError:
            return
        place += _head.size + length
        yield record, place


def salvaged(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each whole record begins and ends, also of those behind torn ones."""
    place = 0
    while place < len(data):
        for _, end in decoded(data, place):
            yield place, end
            place = end
        found = data.find(_BODY, place + 1 + _head.size)
        while found >= 0 and next(decoded(data, found - _head.size), None) is None:
            found = data.find(_BODY, found + 1)
        place = len(data) if found < 0 else found - _head.size


class Spool:
    """A queue on disk, used by one thread. Opening it takes in what another process left.

    Raises `SpoolError` where another process has it open, or the folder cannot be written.
    """

    def __init__(self, folder: Path, limit_bytes: int, free_bytes: int = FREE_BYTES) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._free = free_bytes
        self._buffer = bytearray()
        self._file: int | None = None
        self._segments: list[Segment] = []
        self._is_synced = True
        self.damages: list[Damage] = []
        """What `take` had to pass over, for who calls it to take out: it lay before what was taken last."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise SpoolError(
                f"{folder} cannot be used ({error.strerror}): free the disk, or make it writable."
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise SpoolError(f"Another streaming service uses {folder}: end it first.") from None
        self._segments = [segment for path in sorted(folder.glob("*.*")) if (segment := _recovered(path))]
        self._number = max((segment.number for segment in self._segments), default=0)
        self.messages = sum(segment.messages for segment in self._segments)
        """Not acknowledged yet, as far as is known."""
        self.bytes = sum(segment.size for segment in self._segments)
        self.pending = 0
        """Not taken yet."""
        self.rewind()

    def rewind(self) -> None:
        """Give out again all that was not acknowledged, and what is in one segment with it."""
        self.messages = sum(segment.messages for segment in self._segments)
        for segment in self._segments:
            segment.acknowledged = 0
        self.pending = self.messages
        self._reading = self._segments[0] if self._segments else None
        self._place = 0

    def append(self, record: Record, taken: bool = False, force: bool = False) -> Segment:
        """Put a message at the end; with `taken` it is in Kafka's hands already, and so must be all before it.

        It is safe after `sync`. `force` passes the limit, not the end of the disk. Raises `SpoolFull`, and then nothing
        has changed.
        """
        data = encoded(record)
        if not force and self.bytes + len(data) > self._limit:
            raise SpoolFull(f"the spool holds {self._limit >> 20} MB, as STREAM_SPOOL_MB says")
        if len(self._buffer) >= WRITE_BYTES:
            self._write(force)
        if self._file is None or self._segments[-1].size >= SEGMENT_BYTES:
            self._begin_segment(force)
        segment = self._segments[-1]
        self._buffer += data
        self._is_synced = False
        segment.size += len(data)
        segment.messages += 1
        self.bytes += len(data)
        self.messages += 1
        if taken:
            self._reading, self._place = segment, segment.size
        else:
            self.pending += 1
            if self._reading is None:
                self._reading, self._place = segment, segment.size - len(data)
        return segment

    def sync(self, force: bool = False) -> None:
        """Make everything that was appended safe from a crash. Raises `SpoolFull`; it may be called again."""
        if self._is_synced:
            return
        self._write(force)
        if self._file is not None:
            os.fdatasync(self._file)
        self._is_synced = True

    def take(self) -> list[tuple[Record, Segment]]:
        """The next messages, some hundred kilobytes; none where all were taken."""
        while (segment := self._reading) is not None and self.pending:
            if self._place < segment.size and (found := self._read(segment)):
                self.pending -= len(found)
                return found
            if self._place < segment.size or self._pending_in(segment):
                self._pass_over(segment)
            else:
                self._next(segment)
        return []

    def done(self, segment: Segment) -> None:
        """One message of a segment was acknowledged; its file goes with the last."""
        segment.acknowledged += 1
        self.messages -= 1
        if segment.acknowledged >= segment.messages and segment in self._segments:
            self._finish(segment)

    def _finish(self, segment: Segment) -> None:
        if segment is self._segments[-1] and self._file is not None:
            self._close_file()
            self._buffer.clear()
            self._is_synced = True
        if self._reading is segment:
            self._next(segment)
        self._segments.remove(segment)
        self.bytes -= segment.size
        if segment.aside:
            with suppress(FileNotFoundError):
                segment.path.rename(segment.aside)
        else:
            segment.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files; `sync` comes before."""
        if self._file is not None and not self._buffer:
            _seal(self._segments[-1])
        self._close_file()
        os.close(self._lock)

    def _read(self, segment: Segment) -> list[tuple[Record, Segment]]:
        written = self._written(segment)
        if self._place >= written:
            found = list(decoded(bytes(self._buffer[self._place - written :])))
        else:
            size = READ_BYTES
            while True:
                data = _content(segment.path, self._place, min(self._place + size, written))
                found = list(decoded(data))
                if found or len(data) < size:
                    break
                size *= 4  # the next message is longer than what was read
        if found:
            self._place += found[-1][1]
        return [(record, segment) for record, _ in found]

    def _written(self, segment: Segment) -> int:
        """How much of a segment is in its file; the rest is in the buffer."""
        return segment.size - len(self._buffer) if segment is self._segments[-1] else segment.size

    def _pending_in(self, segment: Segment) -> int:
        """How many messages of the segment that is read now were not taken yet."""
        return self.pending - sum(later.messages for later in self._segments[self._segments.index(segment) + 1 :])

    def _pass_over(self, segment: Segment) -> None:
        """Go on behind what cannot be read of a segment. What else cannot is counted with it."""
        written = self._written(segment)
        data = _content(segment.path, self._place, written)
        if segment is self._segments[-1]:
            data += self._buffer[max(0, self._place - written) :]
        whole = list(salvaged(data))
        begin = whole[0][0] if whole else len(data)
        lost = max(0, self._pending_in(segment) - len(whole))
        if begin or lost:
            when = time.strftime("%Y%m%dT%H%M%S")
            segment.aside = segment.aside or self._folder / f"{segment.number:010}-{when}.damaged"
            self.damages.append(Damage(segment.aside.name, lost, data[: min(begin, SHOWN_BYTES)]))
        if lost:
            log.error(
                "the spool's %s is damaged at byte %d: up to %d messages of it are lost; it is kept as %s",
                segment.path, self._place, lost, segment.aside,
            )  # fmt: skip
        self._place += begin
        self.pending -= lost
        self.messages -= lost
        segment.messages -= lost
        if segment.acknowledged >= segment.messages:
            self._finish(segment)

    def _next(self, segment: Segment) -> None:
        index = self._segments.index(segment) + 1
        self._reading = self._segments[index] if index < len(self._segments) else None
        self._place = 0

    def _write(self, force: bool) -> None:
        if not self._buffer or self._file is None:
            return
        if not force and shutil.disk_usage(self._folder).free < self._free + len(self._buffer):
            raise SpoolFull(f"the disk of {self._folder} is full: less than {self._free >> 20} MB would stay free")
        before = os.lseek(self._file, 0, os.SEEK_CUR)
        view = memoryview(self._buffer)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            os.ftruncate(self._file, before)
            os.lseek(self._file, before, os.SEEK_SET)
            raise _full(error, self._folder) from None
        finally:
            view.release()
        self._buffer.clear()

    def _begin_segment(self, force: bool) -> None:
        self.sync(force)
        number = self._number + 1
        path = self._folder / f"{number:010}.open"
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            raise _full(error, self._folder) from None
        if self._file is not None:
            _seal(self._segments[-1])
            self._close_file()
        self._file, self._number = file, number
        self._segments.append(Segment(number, path))
        _sync_folder(self._folder)

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def spool_folder(settings: Settings) -> Path:
    """Where the streaming service's spool lies."""
    return settings.state / "streaming" / "spool"


def _recovered(path: Path) -> Segment | None:
    """A segment that another process left; none where the file is no segment, or has nothing in it."""
    if path.suffix == ".spool":
        number, _, messages = path.stem.partition("-")
        return Segment(int(number), path, int(messages), path.stat().st_size)
    if path.suffix != ".open":
        return None
    data = _content(path, 0, path.stat().st_size)
    whole = list(salvaged(data))
    end = whole[-1][1] if whole else 0
    if end < len(data):
        log.warning("the spool's %s ended in a torn message, which was cut off (%d bytes)", path, len(data) - end)
    if not whole:
        path.unlink()
        return None
    os.truncate(path, end)
    segment = Segment(int(path.stem), path, len(whole) + _most_between(whole), end)
    _seal(segment)
    return segment


def _most_between(whole: list[tuple[int, int]]) -> int:
    """How many records at most lay between those that are whole, none being shorter than the shortest of these."""
    shortest = min(end - begin for begin, end in whole)
    between = [begin - end for end, (begin, _) in zip([0, *(end for _, end in whole)], whole, strict=False)]
    return sum(-(-size // shortest) for size in between)


def _content(path: Path, start: int, end: int) -> bytes:
    """A part of a file, with zeros for what the disk does not give."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(start)
        return file.read(end - start).ljust(end - start, b"\0")
    pages = (_page(path, place, min(PAGE_BYTES, end - place)) for place in range(start, end, PAGE_BYTES))
    return b"".join(pages)


def _page(path: Path, place: int, size: int) -> bytes:
    with suppress(OSError), path.open("rb", buffering=0) as file:
        file.seek(place)
        return file.read(size).ljust(size, b"\0")
    return bytes(size)


def _seal(segment: Segment) -> None:
    segment.path = segment.path.rename(segment.path.with_name(f"{segment.number:010}-{segment.messages}.spool"))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _full(error: OSError, folder: Path) -> Exception:
    return SpoolFull(f"the disk of {folder} is full") if error.errno in NO_ROOM else error
