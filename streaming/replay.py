"""An archived range once more through today's parsers, into the same topics, with its first source and times.

Every message carries the Kafka header `replay`. Keys and times are those of the first time, so the tables do not
change where the parsers did not; where they did, the later row wins. Replaying twice, or going on after a stop, changes
nothing.
"""

import heapq
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

import msgspec
import zstandard
from botocore.exceptions import BotoCoreError, ClientError
from kafka.errors import KafkaError
from pydantic import ValidationError

from shared.events import DepthSnapshot, LiveEvent, encode
from shared.settings import Settings
from shared.symbol_manager import Symbol
from streaming.archive import HOUR, OTHER, Line, is_ours, raw_folder
from streaming.exchange import Exchange, UnparsableMessage, exchanges
from streaming.kafka_producer import EventProducer, address, topic_of
from streaming.metrics import Metrics
from streaming.object_store import s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HEADERS = (("replay", b"1"),)
MEMORY_MB = 64
TELL_EVERY = 1000
BLOCK = 256 * 1024
PATIENCE_SECONDS = 60
"""How long Kafka may take nothing in."""

_decoder = msgspec.json.Decoder(Line)


class ReplayError(Exception):
    """A range that cannot be replayed; the message says why, and what would be right."""


class Range(NamedTuple):
    """What to replay: `[start, end)` by the time of receipt, in UTC microseconds."""

    start: int
    end: int
    exchange: str | None = None
    symbol: str | None = None

    def __str__(self) -> str:
        symbol = f" of {self.symbol}" if self.symbol else ""
        exchange = f" on {self.exchange}" if self.exchange else ""
        return f"{_text(self.start)} to {_text(self.end)} UTC{symbol}{exchange}"


class Piece(NamedTuple):
    """The files of an exchange, symbol and hour."""

    exchange: str
    symbol: str
    hour: int
    files: tuple[str, ...]
    """Names beneath `raw/` in the bucket, and beneath the folder on this machine."""
    size: int


@dataclass
class Summary:
    """What a replay did."""

    frames: int = 0
    events: Counter[str] = field(default_factory=Counter)
    """By stream."""
    refused: int = 0
    """Frames that today's parsers do not understand either; they are not sent again."""
    earlier: int = 0
    """Pieces that an earlier run, which was stopped, had sent."""
    seconds: float = 0.0


class Store:
    """The archive wherever it lies: in the bucket, and for what is not uploaded yet on this machine."""

    def __init__(self, settings: Settings) -> None:
        self._client: S3Client = s3_client(settings)
        self._settings = settings
        self._folder = raw_folder(settings)

    def pieces(self, wanted: Range) -> list[Piece]:
        """What there is of a range, by exchange, symbol and hour.

        Raises `ReplayError` where the bucket cannot be read.
        """
        sizes: dict[tuple[str, str, int], dict[str, int]] = {}
        for name, size in self._names(wanted):
            exchange, symbol, hour = _parsed(name)
            if wanted.start < (hour + 1) * HOUR and hour * HOUR < wanted.end:
                sizes.setdefault((exchange, symbol, hour), {})[name] = size
        return [Piece(*key, tuple(sorted(files)), sum(files.values())) for key, files in sorted(sizes.items())]

    def days(self, wanted: Range) -> list[str]:
        """The dates of which something is archived of the exchange and symbol of a range, whatever its times."""
        return sorted({path.rpartition("date=")[2].rstrip("/") for path, _, _ in self._folders(wanted)})

    def symbols(self, wanted: Range) -> set[str]:
        """Of which symbols something is archived, at whatever time."""
        names = {unquote(symbol.rpartition("symbol=")[2].rstrip("/")) for _, _, symbol in self._folders(wanted)}
        return names - {OTHER}

    def open(self, name: str) -> IO[bytes]:
        """A file of the archive, compressed. One that is uploaded meanwhile is found in the bucket.

        From there it is copied at once: who reads it slowly does not hold a connection.
        """
        for path in (self._folder / f"{name}.part", self._folder / name):  # the way that a file goes
            try:
                return path.open("rb")
            except FileNotFoundError:
                continue
        file = TemporaryFile()  # noqa: SIM115 (the caller closes it)
        try:
            self._client.download_fileobj(self._settings.bucket, f"raw/{name}", file)
        except (BotoCoreError, ClientError) as error:
            file.close()
            raise self._unreadable(error) from None
        file.seek(0)
        return file

    def _folders(self, wanted: Range) -> Iterator[tuple[str, str, str]]:
        """`exchange=…/symbol=…/date=…/` of everything, with exchange and symbol."""
        for exchange in self._children("", "exchange", wanted.exchange):
            symbol_name = quote(wanted.symbol, safe="") if wanted.symbol else None
            symbols = list(self._children(exchange, "symbol", symbol_name))
            if wanted.symbol:
                symbols += self._children(exchange, "symbol", OTHER)
            for symbol in symbols:
                for date in self._children(symbol, "date", None):
                    yield date, exchange, symbol

    def _names(self, wanted: Range) -> Iterator[tuple[str, int]]:
        first, last = (datetime.fromtimestamp(at / 1_000_000, UTC).date() for at in (wanted.start, wanted.end - 1))
        for folder, _, _ in self._folders(wanted):
            if not first.isoformat() <= folder.rpartition("date=")[2].rstrip("/") <= last.isoformat():
                continue
            for path in self._local(folder):
                yield str(path.relative_to(self._folder)).removesuffix(".part"), _size(path)
            for item in self._listed(f"raw/{folder}", delimiter=""):
                yield item[0].removeprefix("raw/"), item[1]

    def _local(self, folder: str) -> list[Path]:
        """The files of the archive on this machine; to be asked before the bucket, into which they go meanwhile."""
        found = (Path(parent, name) for parent, _, names in os.walk(self._folder / folder) for name in names)
        return [path for path in found if is_ours(path, self._folder)]

    def _children(self, parent: str, key: str, value: str | None) -> list[str]:
        """The folders `key=…/` in a folder, or just the one of `value` where it is there."""
        prefix = f"raw/{parent}{key}="
        found = {f"{path.relative_to(self._folder)}/" for path in (self._folder / parent).glob(f"{key}=*")}
        found |= {name.removeprefix("raw/") for name, _ in self._listed(prefix, delimiter="/")}
        return sorted(name for name in found if value is None or name == f"{parent}{key}={value}/")

    def _listed(self, prefix: str, delimiter: str) -> Iterator[tuple[str, int]]:
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._settings.bucket, Prefix=prefix, Delimiter=delimiter
            )
            for page in pages:
                yield from ((item["Key"], item["Size"]) for item in page.get("Contents", ()))
                yield from ((item["Prefix"], 0) for item in page.get("CommonPrefixes", ()))
        except (BotoCoreError, ClientError) as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> ReplayError:
        return ReplayError(
            f"The archive in bucket {self._settings.bucket} at {self._settings.s3_url} cannot be read ({error}): "
            "start the services (./deploy.sh), or set S3_ENDPOINT and its keys."
        )


def replay(
    settings: Settings,
    wanted: Range,
    known: Iterable[Symbol],
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Summary:
    """Send a range again; `on_progress` gets compressed bytes done and in all.

    Raises `ReplayError` where there is nothing to send, or nowhere to send it. Stopped by `KeyboardInterrupt`, it goes
    on behind the last whole hour of a symbol when it is called for the same range again.
    """
    began = time.monotonic()
    store = Store(settings)
    pieces = store.pieces(wanted)
    if not any(piece.symbol != OTHER for piece in pieces):
        raise ReplayError(_nothing(store, wanted))
    venues = _venues(pieces, known)
    journal = _Journal(settings, wanted)
    summary = Summary()
    total, done = sum(piece.size for piece in pieces), 0
    producer = EventProducer(settings.model_copy(update={"stream_memory_mb": MEMORY_MB}), Metrics())
    try:
        producer.prepare({topic_of(settings, piece.symbol) for piece in pieces if piece.symbol != OTHER})
        sender = _Sender(settings, producer, wanted, summary)
        for piece in pieces:
            if piece[:3] in journal.done:
                summary.earlier += 1
            else:
                for count, line in enumerate(lines(store, piece, wanted)):
                    if count % TELL_EVERY == 0:
                        on_progress(done, total)
                    sender.send(venues[piece.exchange], line)
                sender.settle()
                journal.add(piece)
            done += piece.size
            on_progress(done, total)
    except KafkaError as error:
        raise ReplayError(f"{settings.broker.trouble(error)}.") from None
    finally:
        producer.close(timeout=2)
    journal.remove()
    summary.seconds = time.monotonic() - began
    return summary


class _Sender:
    """Makes events of frames as the live feed does, and hands them to Kafka."""

    def __init__(self, settings: Settings, producer: EventProducer, wanted: Range, summary: Summary) -> None:
        self._settings = settings
        self._producer = producer
        self._symbol = wanted.symbol
        self._summary = summary
        self._newest: dict[tuple[str, str], int] = {}

    def send(self, venue: Exchange, line: Line) -> None:
        self._summary.frames += 1
        try:
            events: Sequence[LiveEvent] = venue.parse(line.body, line.received_at, line.connection_id)
        except UnparsableMessage:
            self._summary.refused += 1
            return
        for event in events:
            if self._symbol and event.symbol != self._symbol:
                continue
            if isinstance(event, DepthSnapshot) and not self._is_newer(event):
                continue
            topic, key = address(self._settings, event)
            self._producer.send(topic, key, encode(event), headers=HEADERS)
            self._summary.events[event.stream] += 1

    def _is_newer(self, event: DepthSnapshot) -> bool:
        key = (event.exchange, event.symbol)
        if event.update_id <= self._newest.get(key, -1):
            return False
        self._newest[key] = event.update_id
        return True

    def settle(self) -> None:
        """Wait until Kafka has everything. Raises `ReplayError` where it takes in nothing."""
        waiting, since = self._producer.sweep(), time.monotonic()
        while waiting:
            time.sleep(0.02)
            left = self._producer.sweep()
            if left < waiting:
                waiting, since = left, time.monotonic()
            elif time.monotonic() - since > PATIENCE_SECONDS:
                raise ReplayError(
                    f"Kafka at {self._settings.kafka} takes in nothing: look at it, then call this again."
                )


def _size(path: Path) -> int:
    """For the progress alone: a file that is uploaded meanwhile is read from the bucket."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def lines(store: Store, piece: Piece, wanted: Range) -> Iterator[Line]:
    """The frames of a piece within the range, in order of receipt."""
    with ExitStack() as stack:
        files = [_read(stack.enter_context(store.open(name))) for name in piece.files]
        every = files[0] if len(files) == 1 else heapq.merge(*files, key=attrgetter("received_at"))
        if wanted.start <= piece.hour * HOUR and (piece.hour + 1) * HOUR <= wanted.end:
            yield from every
        else:
            yield from (line for line in every if wanted.start <= line.received_at < wanted.end)


def blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file of the archive, many at once. A last one that is being written now is left out."""
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    rest = b""
    while read := reader.read(BLOCK):
        whole, newline, rest = (rest + read).rpartition(b"\n")
        if newline:
            yield whole + newline


def _read(file: IO[bytes]) -> Iterator[Line]:
    for block in blocks(file):
        yield from _decoder.decode_lines(block)


def _venues(pieces: Sequence[Piece], known: Iterable[Symbol]) -> dict[str, Exchange]:
    """The exchanges of the pieces, with the symbols that they need. Raises `ReplayError` for one that is not known."""
    by_name = {symbol.symbol: symbol for symbol in known}
    venues: dict[str, Exchange] = {}
    for piece in pieces:
        if piece.exchange not in exchanges():
            raise ReplayError(f"There is no exchange {piece.exchange!r} any more: choose others with --exchange.")
        venue = venues.setdefault(piece.exchange, exchanges()[piece.exchange]())
        if piece.symbol != OTHER:
            if piece.symbol not in by_name:
                by_name[piece.symbol] = _made(piece.symbol)
            venue.learn([by_name[piece.symbol]])
    return venues


def _made(symbol: str) -> Symbol:
    try:
        return Symbol.model_validate({"symbol": symbol, "name": symbol})
    except ValidationError:
        raise ReplayError(
            f"The base and quote of {symbol} are not known: name them in symbols.yaml (it may be `enabled: false`)."
        ) from None


def _parsed(name: str) -> tuple[str, str, int]:
    """Exchange, symbol and hour of a file by its name beneath `raw/`."""
    values = dict(part.split("=", 1) for part in name.split("/")[:-1])
    start = datetime.fromisoformat(values["date"]).replace(tzinfo=UTC) + timedelta(hours=int(values["hour"]))
    return values["exchange"], unquote(values["symbol"]), int(start.timestamp()) // 3600


def _nothing(store: Store, wanted: Range) -> str:
    days = store.days(wanted)
    if days:
        between = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
        return f"Nothing is archived from {wanted}: there is {between}."
    return f"Nothing is archived from {wanted}, nor at any other time: RAW_ARCHIVE must be on, and the names be right."


def _text(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


class _Journal:
    """Which pieces of a range are done, on disk until all are."""

    def __init__(self, settings: Settings, wanted: Range) -> None:
        names = (str(wanted.start), str(wanted.end), wanted.exchange or "all", quote(wanted.symbol or "all", safe=""))
        self._path: Path = settings.state / "streaming" / "replay" / f"{'-'.join(names)}.json"
        self.done: set[tuple[str, str, int]] = set()
        if self._path.exists():
            self.done = {(exchange, symbol, hour) for exchange, symbol, hour in json.loads(self._path.read_text())}

    def add(self, piece: Piece) -> None:
        self.done.add(piece[:3])
        self._path.parent.mkdir(parents=True, exist_ok=True)
        made = self._path.with_suffix(".new")
        made.write_text(json.dumps(sorted(self.done)))
        made.rename(self._path)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
