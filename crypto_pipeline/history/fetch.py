"""What happened on past days: from the exchange's archive where it has the file, else by REST."""

import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import httpx
import msgspec
import pyarrow as pa
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from crypto_pipeline.history.archives import Archive, ArchiveError, Part, checked, remote_path
from crypto_pipeline.history.layouts import Kind, period_of
from crypto_pipeline.history.load import MODULES
from crypto_pipeline.reader import arrow_schema
from shared.events import AggTrade, Kline, Trade
from shared.symbol_manager import Symbol
from streaming.exchange import Exchange, Request
from streaming.rest import Refused
from streaming.series import KLINE_GRACE

_MINUTE = 60_000_000
_DAY = 24 * 60 * _MINUTE
_PAGES = 100
"""Replies of REST that make one part."""
_NO_ROWS = pa.table({"rule": pa.array([], pa.string())})
_TIMEOUT_SECONDS = 60


class FetchError(Exception):
    """Something that cannot be had now; the message says why, and when or how it can."""


class Rest(Protocol):
    """What asks the exchange within its limits; `streaming.rest.RestClient` does."""

    def get(self, request: Request) -> bytes:
        """The body of the reply."""


@dataclass(frozen=True)
class Piece:
    """Days `[start, end)` of one kind and symbol."""

    kind: Kind
    symbol: Symbol
    start: date
    end: date


@dataclass(frozen=True)
class Source:
    """One exchange, by both of its ways."""

    exchange: Exchange
    rest: Rest
    folder: Path
    """Where files lie while they are read."""
    files: bool = True
    """Whether the archive is asked; for the last days REST is quicker."""
    warn: Callable[[str], None] = lambda _line: None
    did: Callable[[list[date]], None] = lambda _days: None
    """Told of the days that were read."""

    def parts(self, piece: Piece) -> Iterator[Part]:
        """All there is of a piece, newest first: from the archive (whole months as one file), the rest by REST.

        So is a file of candles that is damaged or cannot be had: REST gives them all again. Single trades it gives to
        nobody for long.
        Raises `ArchiveError`, `FetchError`, and what the REST client raises.
        """
        if not self.files:
            yield from self.by_rest(piece)
            self.did(days_of(piece.start, piece.end))
            return
        for period in reversed(list(periods(piece.start, piece.end, _today()))):
            yield from self._period(piece.kind, piece.symbol, period)

    def _period(self, kind: Kind, symbol: Symbol, period: str) -> Iterator[Part]:
        start, end = period_of(period)
        is_away = False
        try:
            is_read = end <= _today() and (yield from self._by_file(kind, symbol, period))
        except (ArchiveError, FetchError) as error:
            if kind != "klines":
                raise
            is_read, is_away = False, isinstance(error, FetchError)
            self.warn(f"{error} Its days are fetched {'by REST' if is_away else 'one by one'}.")
        if not is_read and not is_away and len(days := days_of(start, end)) > 1:
            for day in reversed(days):
                yield from self._period(kind, symbol, day.isoformat())
            return
        if not is_read:
            yield from self.by_rest(Piece(kind, symbol, start, end))
        self.did(days_of(start, end))

    def _by_file(self, kind: Kind, symbol: Symbol, period: str) -> Generator[Part, None, bool]:
        """What the archive's file of a day or month holds. Its value: whether there is one."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            archive = self.archive(kind, symbol, period, Path(folder))
            if not archive:
                return False
            for warning in archive.warnings:
                self.warn(warning)
            yield from archive.parts()
            return True

    def archive(self, kind: Kind, symbol: Symbol, period: str, folder: Path) -> Archive | None:
        """The file of a day or month, downloaded and checked; none where the archive does not have it.

        Raises `ArchiveError` and `FetchError`.
        """
        if not self.exchange.base_archive_url:
            return None
        native = self.exchange.native(symbol.base, symbol.quote)
        address = self.exchange.base_archive_url + remote_path(kind, native, period)
        path = folder / Path(address).name
        try:
            if not _downloaded(address, path):
                return None
            _downloaded(f"{address}.CHECKSUM", path.with_name(f"{path.name}.CHECKSUM"))
        except httpx.RequestError as error:
            reason = str(error) or type(error).__name__
            raise FetchError(f"{address} cannot be had ({reason}): run the same again later.") from None
        return checked(path, kind, self.exchange.name, symbol, native)

    def by_rest(self, piece: Piece) -> Iterator[Part]:
        """What REST gives of these days, in parts."""
        ways: Mapping[Kind, Callable[[Symbol, int, int], Iterator[list[Any]]]] = {
            "klines": self._klines,
            "agg-trades": self._agg_trades,
            "trades": self._trades,
        }
        pages = ways[piece.kind]
        events: list[Any] = []
        for number, page in enumerate(pages(piece.symbol, _micros(piece.start), _micros(piece.end)), 1):
            events += page
            if number % _PAGES == 0 and events:
                yield Part(as_rows(events, piece.kind), _NO_ROWS, 0)
                events = []
        if events:
            yield Part(as_rows(events, piece.kind), _NO_ROWS, 0)

    def _klines(self, symbol: Symbol, start: int, end: int) -> Iterator[list[Kline]]:
        """Pages; an empty one ends it: there is nothing from its start on."""
        end = min(end, _now())
        while start < end:
            closed_by = _now() - KLINE_GRACE
            reply = self.rest.get(self.exchange.klines_request(symbol, start, end))
            page = self.exchange.klines(reply, symbol, closed_by)
            if not page:
                return
            yield page
            start = page[-1].open_time + _MINUTE

    def _agg_trades(self, symbol: Symbol, start: int, end: int) -> Iterator[list[AggTrade]]:
        """Pages by time; those of one millisecond that stand at a page's end come twice, and once into the table."""
        last = -1
        while start < end:
            page = self.exchange.agg_trades(self.rest.get(self.exchange.agg_trades_request(symbol, start)), symbol)
            fresh = [fill for fill in page if fill.agg_trade_id > last and fill.event_time < end]
            if not fresh:
                return
            yield fresh
            last = fresh[-1].agg_trade_id
            start = fresh[-1].event_time

    def _trades(self, symbol: Symbol, start: int, end: int) -> Iterator[list[Trade]]:
        """Pages by id, from the first id of the time, which the merged fills name."""
        fills = next(self._agg_trades(symbol, start, end), [])
        if not fills:
            return
        next_id = fills[0].first_trade_id
        while True:
            try:
                reply = self.rest.get(self.exchange.trades_request(symbol, next_id))
            except Refused as error:
                raise FetchError(
                    f"Single trades of {symbol} from {_day(start)} on cannot be had by REST: {error} "
                    "The archive has the file of a day on the next one; run the same again then."
                ) from None
            page = self.exchange.trades(reply, symbol)
            within = [trade for trade in page if start <= trade.event_time < end]
            if within:
                yield within
            if not page or page[-1].event_time >= end:
                return
            next_id = page[-1].trade_id + 1


def periods(start: date, end: date, today: date) -> Iterator[str]:
    """The archive's files that cover the days `[start, end)`: whole months that are over as one, the others by day."""
    day = start
    while day < end:
        next_month = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
        if day.day == 1 and next_month <= min(end, today):
            yield f"{day:%Y-%m}"
            day = next_month
        else:
            yield f"{day:%Y-%m-%d}"
            day += timedelta(days=1)


def as_rows(events: Sequence[Kline | Trade | AggTrade], kind: Kind) -> pa.Table:
    """Events (at least one) with the columns that an archive's rows have."""
    table = MODULES[kind].TABLE
    names = [field.name for field in msgspec.structs.fields(type(events[0]))]
    schema = arrow_schema(table, [name for name in names if name in table.column_names])
    columns = []
    for field in schema:
        values = [getattr(event, field.name) for event in events]
        if pa.types.is_timestamp(field.type):
            columns.append(pa.array(values, pa.int64()).cast(field.type))
        else:
            columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


@retry(
    retry=retry_if_exception_type(httpx.TransportError),
    wait=wait_exponential_jitter(initial=1, max=10),
    stop=stop_after_attempt(4),
    reraise=True,
)
def _downloaded(address: str, path: Path) -> bool:
    """Whether it was there. Raises `FetchError`, and `httpx.RequestError` after several attempts."""
    with httpx.stream("GET", address, timeout=_TIMEOUT_SECONDS, follow_redirects=True) as reply:
        if reply.status_code == 404:
            return False
        if reply.status_code != 200:
            raise FetchError(f"{address} answers HTTP {reply.status_code}: run the same again later.")
        with path.open("wb") as file:
            for chunk in reply.iter_bytes():
                file.write(chunk)
    return True


def days_of(start: date, end: date) -> list[date]:
    """The days `[start, end)`."""
    return [start + timedelta(days=number) for number in range((end - start).days)]


def hours_of(start: date, end: date) -> list[datetime]:
    """The hours of the days `[start, end)`."""
    first = datetime(start.year, start.month, start.day, tzinfo=UTC)
    return [first + timedelta(hours=number) for number in range((end - start).days * 24)]


def _today() -> date:
    return datetime.now(UTC).date()


def _now() -> int:
    return time.time_ns() // 1000


def _micros(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def _day(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%Y-%m-%d")
