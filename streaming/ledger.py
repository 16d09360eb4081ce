"""What streaming remembers across restarts: how far each series is safe, the gaps that wait, what is listed.

A SQLite file. What is noted goes to memory, and with `commit` to the file; a crash forgets the second before, which is
fetched again.
"""

import logging
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec.structs import replace
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from shared.events import AnyEvent, Gap, Instrument, Kline, Trade, encode
from streaming.exchange import HIGHEST_ID
from streaming.gaps import LINGER, SeriesKey
from streaming.series import Watermark, is_settled, missing_range

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 6.0
"""For so long a file that cannot be used at the start is tried again: what is in its way may pass."""
RETRY_SECONDS = 0.5

_TABLES = """
CREATE TABLE IF NOT EXISTS watermarks (
    exchange TEXT, symbol TEXT, stream TEXT, place INTEGER NOT NULL, time INTEGER NOT NULL,
    PRIMARY KEY (exchange, symbol, stream)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gaps (
    exchange TEXT, symbol TEXT, stream TEXT, first_missing INTEGER, updated_at INTEGER NOT NULL, event BLOB NOT NULL,
    PRIMARY KEY (exchange, symbol, stream, first_missing)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS instruments (
    exchange TEXT, symbol TEXT, event BLOB NOT NULL, PRIMARY KEY (exchange, symbol)
) WITHOUT ROWID;
"""

_gap = msgspec.json.Decoder(Gap)
_instrument = msgspec.json.Decoder(Instrument)


class LedgerError(Exception):
    """The ledger cannot be used; the message says why, and what would be right."""


class Ledger:
    """Used by one thread at a time. A damaged file is put aside with a sentence in the log, and begun anew.

    Raises `LedgerError` where the file cannot be used for another reason: what it holds is not given up.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lingers_until = float("inf")
        self._has_lingered = False
        self._kept: set[SeriesKey] | None = None
        self._marks: dict[SeriesKey, Watermark] = {}
        self._new_marks: dict[SeriesKey, Watermark] = {}
        self._begun: dict[SeriesKey, int] = {}
        """Where ids began anew: a trade of before says nothing of how far they are."""
        self._changes: list[tuple[str, tuple[object, ...]]] = []
        self._noted: dict[tuple[SeriesKey, int], Gap] = {}
        """The gaps as they are in the file."""
        retrying = Retrying(
            retry=retry_if_exception_type((OSError, sqlite3.Error)),
            wait=wait_fixed(RETRY_SECONDS),
            stop=stop_after_delay(PATIENCE_SECONDS),
            before_sleep=self._tell_retry,
            reraise=True,
        )
        try:
            retrying(self._begin)
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(
                f"{path} cannot be used ({error}): free the disk, end what holds the file, or make it and its folder "
                "writable."
            ) from None

    def _tell_retry(self, state: RetryCallState) -> None:
        if state.attempt_number == 1:
            error = state.outcome.exception() if state.outcome else None
            log.warning("%s cannot be used yet (%s); it is tried again", self._path, error)

    def _begin(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._open()
        except (sqlite3.Error, msgspec.MsgspecError, UnicodeDecodeError) as error:
            if not _is_damage(error):
                raise
            self._open()

    def _open(self) -> None:
        file = sqlite3.connect(self._path, check_same_thread=False, timeout=1)
        try:
            try:
                self._read(file)
            except Exception as error:
                if _is_damage(error):  # it is not closed yet: then SQLite removes its log
                    self._put_aside(error)
                raise
        except BaseException:
            file.close()
            raise
        self._file = file

    def _read(self, file: sqlite3.Connection) -> None:
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA synchronous=NORMAL")
        if file.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("its check fails")
        file.executescript(_TABLES)
        rows = file.execute("SELECT exchange, symbol, stream, place, time FROM watermarks")
        self._marks = {(exchange, symbol, stream): Watermark(*mark) for exchange, symbol, stream, *mark in rows}
        for key in [key for key, mark in self._marks.items() if key[2] == "trade" and mark.place > HIGHEST_ID]:
            log.warning(
                "%s: no trade of %s has the id %d; its last one is not known", self._path, key, self._marks[key][0]
            )
            del self._marks[key]
        gaps = [_gap.decode(event) for (event,) in file.execute("SELECT event FROM gaps")]
        self._gaps = [_possible(gap) for gap in gaps if gap.gap_stream != "trade" or gap.first_missing <= HIGHEST_ID]
        self._noted = {_name(gap): gap for gap in self._gaps}
        self._instruments = [_instrument.decode(event) for (event,) in file.execute("SELECT event FROM instruments")]

    def _put_aside(self, error: Exception) -> None:
        aside = self._path.with_name(f"{self._path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
        for ending in ("-shm", "-wal", ""):  # the file last: with a log of another it would be damaged again
            part = self._path.with_name(self._path.name + ending)
            if part.exists():
                part.rename(aside.with_name(aside.name + ending))
        log.error(
            "%s cannot be read (%s): it is kept as %s, and a new one begins; what was missed while streaming stood "
            "still is not known.", self._path, error, aside.name,
        )  # fmt: skip

    def watermarks(self) -> dict[SeriesKey, Watermark]:
        """The last of each series that was safe when the file was opened."""
        return dict(self._marks)

    def gaps(self) -> list[Gap]:
        """The gaps that were not settled when the file was opened, the oldest first."""
        return sorted(self._gaps, key=lambda gap: gap.event_time)

    def instruments(self, exchange: str) -> dict[str, Instrument]:
        """What each pair was when the file was opened."""
        return {event.symbol: event for event in self._instruments if event.exchange == exchange}

    def keep(self, series: Iterable[SeriesKey]) -> None:
        """Only these are wanted: forget how far others came, for nobody misses what comes after.

        Those of before the start are forgotten some minutes after `linger`: they may still be asked for.
        """
        before, self._kept = self._kept or set(), set(series)
        self._forget(key for key in before if key not in self._kept)

    def linger(self) -> None:
        """All that can be asked for is known."""
        if not self._has_lingered:
            self._has_lingered = True
            self._lingers_until = time.monotonic() + LINGER / 1_000_000

    def _forget(self, series: Iterable[SeriesKey]) -> None:
        for key in [key for key in series if key in self._marks]:
            del self._marks[key]
            self._new_marks.pop(key, None)
            self._changes.append(("DELETE FROM watermarks WHERE exchange=? AND symbol=? AND stream=?", key))

    def note(self, gap: Gap) -> None:
        """A gap is sent. One that is settled, or misses less than before, stays as it was until its event is safe, and
        with it what has filled it."""
        if is_settled(gap):
            self._noted.pop(_name(gap), None)
            return
        noted = self._noted.get(_name(gap))
        if noted is None or not _is_less(gap, noted):
            self._keep_gap(gap)

    def _keep_gap(self, gap: Gap) -> None:
        self._noted[_name(gap)] = gap
        key = (gap.exchange, gap.symbol, gap.gap_stream, gap.first_missing)
        self._changes.append(
            ("INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?, ?)", (*key, gap.updated_at, encode(gap)))
        )

    def safe(self, event: AnyEvent) -> None:
        """Kafka has an event, or the spool: it will not be lost."""
        if isinstance(event, Gap):
            if is_settled(event):
                key = (event.exchange, event.symbol, event.gap_stream, event.first_missing, event.updated_at)
                self._changes.append(
                    ("DELETE FROM gaps WHERE exchange=? AND symbol=? AND stream=? AND first_missing=? "
                     "AND updated_at<=?", key)
                )  # fmt: skip
                if event.status == "lost" and event.gap_stream == "trade":  # the exchange counts anew
                    self._forget([_name(event)[0]])
                    self._begun[_name(event)[0]] = min(event.event_time, event.updated_at)
            elif (noted := self._noted.get(_name(event))) and event.updated_at > noted.updated_at:
                self._keep_gap(event)
        elif isinstance(event, Instrument):
            row = (event.exchange, event.symbol, encode(event))
            self._changes.append(("INSERT OR REPLACE INTO instruments VALUES (?, ?, ?)", row))
        elif isinstance(event, Trade):
            self._mark(event, event.trade_id, event.event_time)
        elif isinstance(event, Kline):
            if event.is_closed:
                self._mark(event, event.open_time, event.open_time)
        elif event.source == "websocket":
            at = event.event_time or event.received_at or 0
            self._mark(event, at, at)

    def _mark(self, event: AnyEvent, place: int, at: int) -> None:
        key = (event.exchange, event.symbol, event.stream)
        mark = self._marks.get(key)
        if at <= self._begun.get(key, 0):
            return
        if (mark is None or place > mark.place) and (self._kept is None or key in self._kept):
            self._marks[key] = self._new_marks[key] = Watermark(place, at)

    def commit(self) -> None:
        """Write what was noted. A file that cannot be written is named in the log; streaming goes on."""
        if self._kept is not None and time.monotonic() > self._lingers_until:
            self._lingers_until = float("inf")
            self._forget(key for key in list(self._marks) if key not in self._kept)
        if not self._changes and not self._new_marks:
            return
        try:
            with self._file:
                for statement, values in self._changes:
                    self._file.execute(statement, values)
                rows = [(*key, *mark) for key, mark in self._new_marks.items()]
                self._file.executemany("INSERT OR REPLACE INTO watermarks VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            log.error("%s cannot be written (%s); it is tried again", self._path, error)  # noqa: TRY400
            return
        self._changes.clear()
        self._new_marks.clear()

    def close(self) -> None:
        self.commit()
        self._file.close()


def _name(gap: Gap) -> tuple[SeriesKey, int]:
    return (gap.exchange, gap.symbol, gap.gap_stream), gap.first_missing


def _possible(gap: Gap) -> Gap:
    """A hole up to an id that no exchange has come to: what is missing since its begin is not known."""
    if gap.gap_stream == "trade" and gap.last_missing is not None and gap.last_missing > HIGHEST_ID:
        return replace(gap, last_missing=None, missing=None)
    return gap


def _is_damage(error: Exception) -> bool:
    """Whether the file itself is wrong."""
    if isinstance(error, sqlite3.Error):  # its check, and text that is none, have no code of SQLite's
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return isinstance(error, msgspec.MsgspecError | UnicodeDecodeError)


def _is_less(gap: Gap, before: Gap) -> bool:
    """Whether a part of what was missing has come, and nothing else is new."""
    missing, was = missing_range(gap), missing_range(before)
    return gap.last_missing is not None and missing != was and was[0] <= missing[0] and missing[1] <= was[1]
