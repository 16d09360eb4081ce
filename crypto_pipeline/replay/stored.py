"""What there is of a range, and its messages in the order in which they were received.

A minute in which the raw archive has a frame of a symbol is played from there. Any other is made of bronze's rows, also
of those that came by REST or from an archive: they stand where they happened.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from itertools import chain
from operator import attrgetter, itemgetter
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crypto_pipeline import contracts, utc
from crypto_pipeline.lake_part import Span, likely, partitions_of, shown
from crypto_pipeline.reader import NotThereYetError, Snapshot, open_table
from crypto_pipeline.replay import messages
from crypto_pipeline.replay.merging import merged
from crypto_pipeline.replay.messages import Message, Row
from shared.settings import Settings
from streaming.archive import HOUR, OTHER
from streaming.replay import Piece, Range, ReplayError, Store, blocks, lines

EXCHANGE = "binance"
"""The one whose protocol is spoken."""
MINUTE = 60_000_000
_ASTRAY = timedelta(minutes=10)
"""How far the times of the exchange may lie from those of receipt."""
_AT_ONCE = 2_000
"""So many rows."""
_FRAME = re.compile(rb'\{"received_at":(\d+),"connection_id":"[^"]*","frame":"\{\\"stream\\": ?\\"([^"\\]+)\\"')
_MADE: Mapping[str, Callable[[Row], Message]] = {
    "bronze.trades": messages.trade,
    "bronze.agg_trades": messages.agg_trade,
    "bronze.klines": messages.kline,
    "bronze.tickers": messages.ticker,
    "bronze.depth": messages.depth,
}
_BOOKKEEPING = {"base_asset", "quote_asset", "kafka_time", "ingested_at", "connection_id", "ordering", "broken_rules"}
_SOURCES = ("websocket", "rest", "archive")
"""The best first."""


class Wanted(NamedTuple):
    """What to play: `[start, end)` by the time of receipt, in microseconds, and which symbols (none: all)."""

    start: int
    end: int
    symbols: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{shown(utc.moment_of(self.start))} to {shown(utc.moment_of(self.end))}"


@dataclass
class Found:
    """What there is of a range."""

    streams: dict[str, Counter[str]] = field(default_factory=dict)
    """Messages by symbol and stream."""
    archived: int = 0
    """How many of them are frames as they were received; the others are made of rows."""
    nameless: int = 0
    """Frames that name no stream, and are not played."""
    first: int = 0
    last: int = 0
    """When the first and the last message were received."""
    holes: dict[str, int] = field(default_factory=dict)
    """By symbol, how many minutes `silver.completeness` knows as partial or missing."""

    @property
    def count(self) -> int:
        """Messages in all."""
        return sum(map(Counter.total, self.streams.values()))


class Stored:
    """The messages of a range in the raw archive and in bronze.

    `found` is right once `look` has returned, and `messages` may be asked for then.
    """

    def __init__(self, settings: Settings, wanted: Wanted) -> None:
        self._settings = settings
        self._wanted = wanted
        self._range = Range(wanted.start, wanted.end, EXCHANGE)
        self._archive = Store(settings)
        self._snapshots: dict[str, Snapshot | None] = {}
        self._pieces: dict[tuple[str, int], Piece] = {}
        self._minutes: dict[str, set[int]] = {}
        """Those of which a symbol has frames, since 1970."""
        self.found = Found()

    def snapshot(self, name: str) -> Snapshot | None:
        """A table as it was when it was first asked for; none where it is not made yet. Raises `LakeError`."""
        if name not in self._snapshots:
            try:
                self._snapshots[name] = open_table(contracts.tables()[name], self._settings)
            except NotThereYetError:
                self._snapshots[name] = None
        return self._snapshots[name]

    def look(self, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> Found:
        """See what there is; `on_progress` gets compressed bytes done and in all.

        Raises `ReplayError` where there is nothing of the range or of a symbol, and `LakeError`.
        """
        pieces = [
            piece
            for piece in self._archive.pieces(self._range)
            if piece.symbol != OTHER and piece.symbol in (self._wanted.symbols or (piece.symbol,))
        ]
        total, done = sum(piece.size for piece in pieces), 0
        for piece in pieces:
            self._count(piece)
            done += piece.size
            on_progress(done, total)
        known = self._lives
        start, end = utc.moment_of(self._wanted.start), utc.moment_of(self._wanted.end)
        lived = {
            name for name, span in known.items() if span.start and span.end and span.start < end and start < span.end
        }
        for symbol in self._wanted.symbols or sorted({*self._minutes, *lived}):
            for message in self._made(symbol, self._wanted.start, self._wanted.end):
                self._note(symbol, message.stream, message.at)
            if self._wanted.symbols and symbol not in self.found.streams:
                raise self._nothing(symbol, known)
        if not self.found.streams:
            raise self._nothing("", known)
        self.found.holes = self._holes()
        return self.found

    def messages(self) -> Iterator[Message]:
        """All of them, in the order in which they were received. Raises `LakeError` and `ReplayError`."""
        return merged(map(self._of, sorted(self.found.streams)))

    def _of(self, symbol: str) -> Iterator[Message]:
        for hour in range(self._wanted.start // HOUR, (self._wanted.end - 1) // HOUR + 1):
            start, end = max(hour * HOUR, self._wanted.start), min((hour + 1) * HOUR, self._wanted.end)
            made = list(self._made(symbol, start, end))
            piece = self._pieces.get((symbol, hour))
            frames = self._frames(piece) if piece else iter(())
            yield from merged([frames, made]) if made else frames

    def _frames(self, piece: Piece) -> Iterator[Message]:
        stream_of = messages.stream_of
        for line in lines(self._archive, piece, self._range):
            body = line.body
            stream = stream_of(body)
            if stream:
                yield Message(line.received_at, stream, body)

    def _count(self, piece: Piece) -> None:
        """Notes the frames of a piece without decoding them."""
        self._pieces[piece.symbol, piece.hour] = piece
        minutes = self._minutes.setdefault(piece.symbol, set())
        counts: Counter[bytes] = Counter()
        start, end = self._wanted.start, self._wanted.end
        for name in piece.files:
            with self._archive.open(name) as file:
                for block in blocks(file):
                    found = [(int(at), stream) for at, stream in _FRAME.findall(block)]
                    inside = [each for each in found if start <= each[0] < end]
                    self.found.nameless += block.count(b"\n") - len(found)
                    if inside:
                        counts.update(map(itemgetter(1), inside))
                        minutes.update({at // MINUTE for at, _ in inside})
                        self._stretch(inside[0][0], inside[-1][0])
        self.found.archived += counts.total()
        for stream, count in counts.items():
            self.found.streams.setdefault(piece.symbol, Counter())[stream.decode()] += count

    def _note(self, symbol: str, stream: str, at: int) -> None:
        self.found.streams.setdefault(symbol, Counter())[stream] += 1
        self._stretch(at, at)

    def _stretch(self, first: int, last: int) -> None:
        self.found.first = min(self.found.first or first, first)
        self.found.last = max(self.found.last, last)

    def _made(self, symbol: str, start: int, end: int) -> Iterator[Message]:
        """The messages of the minutes in `[start, end)` of which there is no frame, in order, read hour by hour."""
        archived = self._minutes.get(symbol, set())
        for begin in range(start // HOUR * HOUR, end, HOUR):
            first, last = max(begin, start), min(begin + HOUR, end)
            if archived.issuperset(range(first // MINUTE, (last - 1) // MINUTE + 1)):
                continue
            every = chain.from_iterable(self._rows(name, symbol, first, last) for name in _MADE)
            inside = [one for one in every if first <= one.at < last and one.at // MINUTE not in archived]
            yield from sorted(inside, key=attrgetter("at"))

    def _rows(self, name: str, symbol: str, start: int, end: int) -> Iterator[Message]:
        """The messages of a table about a time, and some around it."""
        snapshot = self.snapshot(name)
        if snapshot is None:
            return
        table, first, last = contracts.tables()[name], utc.moment_of(start) - _ASTRAY, utc.moment_of(end) + _ASTRAY
        times = ("received_at", "close_time") if name == "bronze.klines" else messages.TIMES
        at = pc.coalesce(*map(pc.field, times))
        where = (pc.field("exchange") == EXCHANGE) & (pc.field("symbol") == symbol) & (at >= first) & (at < last)
        columns = [each for each in table.column_names if each not in {*_BOOKKEEPING, *table.partitions}]
        parts = [
            snapshot.read(columns, [*each, (table.bucket, "IN", symbol)], where)
            for each in partitions_of(table.partitions, Span(first, last))
        ]
        rows = pa.concat_tables(parts).sort_by([(key, "ascending") for key in table.key])
        if name == "bronze.klines":
            yield from map(messages.kline, best(rows.to_pylist()))
        else:
            for batch in rows.to_batches(max_chunksize=_AT_ONCE):  # as Python's objects they are large
                yield from map(_MADE[name], batch.to_pylist())

    def _holes(self) -> dict[str, int]:
        snapshot = self.snapshot("silver.completeness")
        if snapshot is None:
            return {}
        span = Span(utc.moment_of(self._wanted.start), utc.moment_of(self._wanted.end))
        at = pc.field("interval_start")
        where = (
            (pc.field("exchange") == EXCHANGE)
            & pc.field("status").isin(["partial", "missing"])
            & (at >= span.start)
            & (at < span.end)
        )
        columns = ["exchange", "symbol", "interval_start", "status"]
        found = [snapshot.read(columns, each, where) for each in partitions_of(snapshot.table.partitions, span)]
        symbols = pa.concat_tables(found)["symbol"].to_pylist()
        return dict(Counter(symbol for symbol in symbols if symbol in self.found.streams))

    def opening(self, symbol: str) -> int:
        """When the first day of candles of a symbol begins, or what is played, in microseconds."""
        start = self._lives.get(symbol, Span(None, None)).start
        return min(utc.micros(start) if start else self._wanted.start, self._wanted.start)

    @cached_property
    def _lives(self) -> dict[str, Span]:
        """Of each symbol, the begin of its first and the end of its last day of candles."""
        snapshot = self.snapshot("silver.ohlcv")
        if snapshot is None:
            return {}
        columns = ["symbol", "interval_start", "interval_end"]
        days = snapshot.read(["exchange", "interval", *columns], [("interval", "IN", "1d")])
        days = days.filter(pc.field("exchange") == EXCHANGE)
        ends = days.group_by("symbol").aggregate([("interval_start", "min"), ("interval_end", "max")])
        return {row["symbol"]: Span(row["interval_start_min"], row["interval_end_max"]) for row in ends.to_pylist()}

    def _nothing(self, symbol: str, known: Mapping[str, Span]) -> ReplayError:
        """Says what there is instead."""
        days = self._archive.days(self._range._replace(symbol=symbol or None))
        spans = [span for name, span in known.items() if symbol in ("", name)]
        there = []
        if days:
            there.append(f"the raw archive has {days[0] if days[0] == days[-1] else f'{days[0]} to {days[-1]}'}")
        if spans:
            first, last = min(span.start for span in spans if span.start), max(span.end for span in spans if span.end)
            there.append(f"the lake has the days from {first:%Y-%m-%d} to {last - timedelta(seconds=1):%Y-%m-%d}")
        if there:
            of_it = f" of {symbol}" if symbol else ""
            return ReplayError(f"Nothing{of_it} is stored from {self._wanted}: {', and '.join(there)}.")
        names = {*known, *self._archive.symbols(self._range)}
        if symbol and names:
            return ReplayError(f"Nothing of {symbol} is stored. There is: {likely(symbol, names)}.")
        return ReplayError("Nothing is stored yet: ./deploy.sh begins to stream, and the first rows come with minutes.")


def best(klines: Sequence[Row]) -> Collection[Row]:
    """Of several rows of one candle the one from the best source."""
    chosen: dict[object, Row] = {}
    for row in klines:
        there = chosen.get(row["open_time"])
        if there is None or _SOURCES.index(row["source"]) < _SOURCES.index(there["source"]):
            chosen[row["open_time"]] = row
    return chosen.values()
