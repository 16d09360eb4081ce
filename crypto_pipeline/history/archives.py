"""Binance's public archive: where its files lie, and how one is checked and read, exactly.

Daily and monthly files, zipped CSV without a header (`layouts.py`), each with a `.CHECKSUM` beside it. Times are
milliseconds in older files and microseconds in newer ones.
"""

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from crypto_pipeline.bronze.trades import ROUNDING
from crypto_pipeline.history.layouts import DECIMAL, IGNORED, LAYOUTS, SAID, Kind, file_name, period_of
from shared.symbol_manager import Symbol

BLOCK = 64 * 1024 * 1024
"""Bytes of CSV that are read at once: about a million trades."""
_LINE = 4096
"""Bytes that no line of Binance's comes near."""
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Python unpacks any other way as much at once as there is, however little is asked for."""
_RATIO = 200
"""What unpacks to more than so many times its size is made to, and is no market data."""

_LARGEST = pa.scalar(Decimal(f"{'9' * 20}.{'9' * 18}"), DECIMAL)
_MICROSECONDS_FROM = 10**14
"""As milliseconds it is the year 5138, as microseconds it was 1973."""
_LATEST = 10**17
_MINUTE = 60_000_000
_NAME = re.compile(r"(?P<native>.+?)-(?P<word>trades|aggTrades|[0-9]+[a-zA-Z]+)-(?P<day>\d{4}-\d\d(-\d\d)?)\.(zip|csv)")


class ArchiveError(Exception):
    """A file that is refused whole; the message says which, why, and the cure."""


class Part(NamedTuple):
    """Some rows of a file: those that may go on, and those that may not, each with its `rule`."""

    rows: pa.Table
    refused: pa.Table
    repeated: int
    """Rows that stood there once more, and equal."""


def remote_path(kind: Kind, native: str, period: str) -> str:
    """Where the file of a day (`2026-11-20`) or month (`2026-11`) lies below the archive's address."""
    layout = LAYOUTS[kind]
    folder = f"{layout.folder}/{native}" + ("/1m" if kind == "klines" else "")
    length = "daily" if len(period) > len("2026-11") else "monthly"
    return f"/data/spot/{length}/{folder}/{file_name(native, layout.word, period, 'zip')}"


@dataclass(frozen=True)
class Archive:
    """A file that was checked: `rows_of` what it says."""

    path: Path
    kind: Kind
    exchange: str
    symbol: Symbol
    period: tuple[date, date] | None
    """Of its name; none where it has another name than Binance gives."""
    warnings: tuple[str, ...]

    def parts(self, block: int = BLOCK) -> Iterator[Part]:
        """What it holds, in parts of about `block` bytes. Raises `ArchiveError`."""
        unit = 0
        with _refusing(self.path), _csv(self.path) as stream:
            for text in _blocks(stream, block, self.path.name):
                raw = self._parsed(text)
                if not raw.num_rows:
                    continue
                unit = unit or _unit(raw, self.kind)
                rows = self._in_microseconds(raw, unit)
                distinct = self._distinct(rows)
                yield self._judged(distinct, rows.num_rows - distinct.num_rows)

    def _parsed(self, text: bytes) -> pa.Table:
        columns = LAYOUTS[self.kind].columns
        first = text[: text.find(b"\n")]
        if (found := first.count(b",") + 1) != len(columns):
            raise ArchiveError(
                f"{self.path.name} has {found} columns, a file of {self.kind} {len(columns)}: import it as what it is."
            )
        is_header = first.lstrip(b'"')[:1].isalpha()
        rows = csv.read_csv(
            io.BytesIO(text),
            read_options=csv.ReadOptions(column_names=list(columns), skip_rows=int(is_header)),
            convert_options=csv.ConvertOptions(column_types=dict(columns), null_values=[], strings_can_be_null=False),
        )
        for name, kind in columns.items():
            if kind == DECIMAL and pc.any(pc.greater(pc.abs(rows[name]), _LARGEST)).as_py():
                raise ArchiveError(f"{self.path.name}: a {name} is not below 10^20, which decimal(38,18) cannot hold.")
        return rows

    def _in_microseconds(self, rows: pa.Table, unit: int) -> pa.Table:
        for name in {"close_time", LAYOUTS[self.kind].time} & set(rows.column_names):
            low, high = _range(rows[name])
            if (low < _MICROSECONDS_FROM) != (unit == 1000) or (high < _MICROSECONDS_FROM) != (unit == 1000):
                raise ArchiveError(f"{self.path.name} mixes milliseconds and microseconds: download it again.")
            if low < 0 or high * unit >= _LATEST:
                raise ArchiveError(f"{self.path.name} has a {name} that is no time: download it again.")
            # The end of a candle is the last microsecond of its last millisecond.
            times = pc.add(pc.multiply(rows[name], unit), unit - 1 if name == "close_time" else 0)
            rows = rows.set_column(rows.column_names.index(name), name, times)
        if self.period:
            low, high = _range(rows[LAYOUTS[self.kind].time])
            start, end = (_micros(day) for day in self.period)
            if low < start or high >= end:
                raise ArchiveError(
                    f"{self.path.name} holds rows of {_day(low)} to {_day(high)}, which its name does not say: "
                    "it is another file under this name; download it again."
                )
        return rows

    def _distinct(self, rows: pa.Table) -> pa.Table:
        """Each row once, in the order of its id or time. Raises `ArchiveError` where two of one id differ."""
        key = LAYOUTS[self.kind].key
        if _is_rising(rows[key]):
            return rows
        distinct = rows.group_by(rows.column_names, use_threads=False).aggregate([]).sort_by(key)
        ids = distinct[key].combine_chunks()
        doubled = ids.slice(1).filter(pc.equal(ids.slice(1), ids.slice(0, len(ids) - 1)))
        if len(doubled):
            some = ", ".join(str(one) for one in doubled.unique().to_pylist()[:5])
            raise ArchiveError(
                f"{self.path.name} says different things of one {key} ({some}): which is right cannot be known; "
                "download it again."
            )
        return distinct

    def _judged(self, rows: pa.Table, repeated: int) -> Part:
        """With the columns of the events, and apart those that are none of their kind. What a file of trades says of
        price * quantity stays beside, for the table to judge."""
        if self.kind == "klines":
            rule, keeps = "opens_and_ends_on_its_minute", _lies_on_the_grid(rows)
            more = {
                "interval": _repeated("1m", rows),
                "is_closed": _repeated(True, rows),
                "event_time": rows["close_time"],
            }
            for name, values in more.items():
                rows = rows.append_column(name, values)
        else:
            product = exact_products(rows["price"], rows["quantity"])
            rows = rows.append_column("quote_quantity", product)
            rule, keeps = "quote_quantity_is_price_times_quantity", _repeated(True, rows)
            if self.kind == "trades":
                wide = [one.cast(pa.decimal256(38, 18)) for one in (product, rows[SAID])]
                if not pc.any(pc.less(pc.abs(pc.subtract(*wide)), ROUNDING)).as_py():
                    keeps = _repeated(False, rows)
        rows = rows.drop_columns([name for name in IGNORED if name in rows.column_names])
        rows = self._named(rows)
        refused = rows.filter(pc.invert(keeps))
        if refused.num_rows == rows.num_rows:
            raise ArchiveError(f"{self.path.name}: no row keeps the rule {rule}: it is no file of {self.kind} at 1m.")
        return Part(
            rows.filter(keeps) if refused.num_rows else rows,
            refused.append_column("rule", _repeated(rule, refused)),
            repeated,
        )

    def _named(self, rows: pa.Table) -> pa.Table:
        texts = {
            "exchange": self.exchange,
            "symbol": self.symbol.symbol,
            "base_asset": self.symbol.base,
            "quote_asset": self.symbol.quote,
            "source": "archive",
            "connection_id": f"archive:{self.path.name}",
        }
        for name, text in texts.items():
            rows = rows.append_column(name, _repeated(text, rows))
        times = [name for name in ("event_time", "open_time", "close_time") if name in rows.column_names]
        for name in times:
            rows = rows.set_column(rows.column_names.index(name), name, rows[name].cast(pa.timestamp("us", "UTC")))
        return rows


def checked(path: Path, kind: Kind, exchange: str, symbol: Symbol, native: str) -> Archive:
    """The archive in a file, if it is what it is said to be and whole. Raises `ArchiveError`.

    The name, where it is one that Binance gives, must name the symbol (`native`) and the kind. A checksum beside the
    file must be right; without one, a zip's own is asked.
    """
    if not path.is_file():
        raise ArchiveError(f"{path} is not there.")
    if kind not in LAYOUTS:
        raise ArchiveError(f"{path.name} has no place for the ids of books: export them as Parquet, and import that.")
    period = None
    if name := _NAME.fullmatch(path.name):
        if name["native"] != native:
            raise ArchiveError(f"{path.name} is a file of {name['native']}, not of {native}: give --symbol rightly.")
        if name["word"] != LAYOUTS[kind].word:
            what = f"{name['word']} candles" if name["word"][0].isdigit() else name["word"]
            cure = "longer candles are made of those of 1m" if name["word"][0].isdigit() else "import it as what it is"
            raise ArchiveError(f"{path.name} holds {what}, not {kind}{' of 1m' * (kind == 'klines')}: {cure}.")
        period = period_of(name["day"])
    warnings = [] if _checksum_is_right(path) else [f"{path.name}.CHECKSUM is missing: the file cannot be checked."]
    if warnings and path.suffix == ".zip":
        with _refusing(path), _csv(path) as stream:
            while stream.read(BLOCK):  # at its end its CRC-32 is compared
                pass
    return Archive(path, kind, exchange, symbol, period, tuple(warnings))


def exact_products(left: pa.ChunkedArray, right: pa.ChunkedArray) -> pa.ChunkedArray:
    """`left * right` of decimals, without rounding. Raises `pyarrow.ArrowInvalid` where one does not fit."""
    wide = pc.multiply(left.cast(pa.decimal256(38, 18)), right.cast(pa.decimal256(37, 18)))
    return wide.cast(DECIMAL)


def _checksum_is_right(path: Path) -> bool:
    """False where there is none. Raises `ArchiveError` where it is another's."""
    beside = path.with_name(f"{path.name}.CHECKSUM")
    if not beside.is_file():
        return False
    with beside.open("rb") as line:
        said = line.read(_LINE).decode(errors="replace").split()
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not said or said[0].lower() != found:
        raise ArchiveError(f"{path.name} is not what {beside.name} says: download both again.")
    return True


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turns what zipfile and pyarrow say into an `ArchiveError`."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        # A changed header may also ask for another compression, for a password, or for a place before the file.
        raise ArchiveError(f"{path.name} is damaged ({error}): download it again.") from None
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise ArchiveError(f"{path.name} cannot be read ({reason}): it is damaged, or of another kind.") from None


@contextmanager
def _csv(path: Path) -> Iterator[IO[bytes]]:
    if path.suffix != ".zip":
        with path.open("rb") as plain:
            yield plain
        return
    with zipfile.ZipFile(path) as file:
        found = [one for one in file.infolist() if one.filename.endswith(".csv")]
        if len(found) != 1:
            raise ArchiveError(f"{path.name} holds {len(found)} CSV files instead of one: it is none of Binance's.")
        [entry] = found
        if entry.compress_type not in _PACKED:
            raise ArchiveError(f"{path.name} is packed as Binance packs nothing: unzip it, and import the CSV.")
        if entry.file_size > max(BLOCK, _RATIO * path.stat().st_size):
            raise ArchiveError(f"{path.name} unpacks to {entry.file_size} bytes: it is made to fill the disk.")
        with file.open(entry) as stream:
            yield stream


def _blocks(stream: IO[bytes], size: int, name: str) -> Iterator[bytes]:
    """The text in pieces that end with a line. Raises `ArchiveError` where one does not end."""
    left = b""
    while data := stream.read(size):
        text = left + data
        end = text.rfind(b"\n") + 1
        if end:
            yield text[:end]
        left = text[end:]
        if len(left) > _LINE:
            raise ArchiveError(f"{name} has a line of more than {_LINE} bytes: it is damaged, or none of Binance's.")
    if left.strip():
        yield left + b"\n"


def _unit(rows: pa.Table, kind: Kind) -> int:
    """Microseconds in the file's unit of time, told by its first one."""
    return 1000 if rows[LAYOUTS[kind].time][0].as_py() < _MICROSECONDS_FROM else 1


def _lies_on_the_grid(klines: pa.Table) -> pa.ChunkedArray:
    """In 2017-12 and 2018-02 some candles began within a minute."""
    opens = klines["open_time"]
    minutes = pc.multiply(pc.divide(opens, _MINUTE), _MINUTE)
    length = pc.subtract(klines["close_time"], opens)
    return pc.and_(pc.equal(minutes, opens), pc.equal(length, _MINUTE - 1))


def _is_rising(ids: pa.ChunkedArray) -> bool:
    flat = ids.combine_chunks()
    return bool(pc.all(pc.greater(flat.slice(1), flat.slice(0, len(flat) - 1))).as_py() is not False)


def _range(times: pa.ChunkedArray) -> tuple[int, int]:
    found = pc.min_max(times).as_py()
    return found["min"], found["max"]


def _repeated(value: str | bool, rows: pa.Table) -> pa.Array:
    return pa.repeat(value, rows.num_rows)


def _micros(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def _day(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%Y-%m-%d")
