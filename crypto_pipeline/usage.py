"""What takes the room: the lake's objects by table, day and symbol, the services' folders, and when the disk is full.

It lists the bucket and opens few files, so that it answers in seconds, without Spark.
"""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import unquote

from botocore.exceptions import BotoCoreError, ClientError

from crypto_pipeline import contracts
from crypto_pipeline.hudi_files import parsed, replaced
from crypto_pipeline.reader import LakeError, keys_refused, not_running, object_store
from shared.disk import Disk, lake_disk
from shared.retention import load_rules
from shared.settings import Settings
from shared.yaml_file import YamlFileError
from streaming.object_store import s3_client

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_AT_ONCE = 8
"""So many requests are under way side by side."""
_LAYERS = ("bronze/", "silver/", "gold/")
_WINDOW = timedelta(days=7)
_SHORTEST = timedelta(hours=1)
"""Of less, no growth can be told."""
_LATE = timedelta(hours=2)
"""The raw archive has an hour when that is over."""

Result = TypeVar("Result")
Item = TypeVar("Item")


class Object(NamedTuple):
    """An object of the bucket, by its path inside the folder that it is listed with."""

    path: str
    size: int
    at: datetime


class Span(NamedTuple):
    """The time that a partition is of; both UTC, the end not included."""

    start: datetime
    end: datetime
    day: str
    """`2026-11-20`, or `2026-11` where a partition is a month."""


class Growth(NamedTuple):
    """How fast a folder grows."""

    bytes_a_day: float
    days: float
    """Of so many days it is the mean."""
    for_days: float | None = None
    """So long it goes on, then as much expires as comes; None: for ever."""


class Held(NamedTuple):
    """What is held of something."""

    files: int
    bytes: float


@dataclass(frozen=True)
class Folder:
    """A table of the lake, the raw archive, or another folder of the bucket."""

    name: str
    """`silver.ohlcv_1m`, `raw`."""
    prefix: str
    objects: Sequence[Object] = field(repr=False)
    replaced: frozenset[str] = field(repr=False)
    """The paths of file versions that newer ones replaced."""
    growth: Growth | None
    """None where its partitions are no times, or it holds less than an hour."""

    @property
    def bytes(self) -> int:
        return sum(one.size for one in self.objects)

    @property
    def older_bytes(self) -> int:
        """Of `bytes`, those of replaced versions; the job `maintenance` removes them."""
        return sum(one.size for one in self.objects if one.path in self.replaced)


@dataclass(frozen=True)
class Usage:
    """All of it."""

    folders: Sequence[Folder]
    """The largest first."""
    disk: Disk | None
    """None where the lake lies in another object store than ours."""
    is_whole: bool = True
    """Not of one table alone."""

    @property
    def bytes_a_day(self) -> float | None:
        """Growth of all of them; None where none tells any."""
        told = [folder.growth.bytes_a_day for folder in self.folders if folder.growth]
        return sum(told) if told else None

    @property
    def days_until_full(self) -> float | None:
        """None where there is no disk to ask, or nothing grows, and of one table: the others fill it too."""
        if self.disk is None or not self.is_whole:
            return None
        return days_until_full(self.disk.free, [folder.growth for folder in self.folders if folder.growth])


def collect(settings: Settings, table: str = "", now: datetime | None = None) -> Usage:
    """What the bucket holds, of one table or of all. Raises `LakeError`."""
    now = now or datetime.now(UTC)
    keep = _kept(settings)
    listed = _listed(settings, table)
    opened = _Opened(settings)

    def folder(one: tuple[str, list[Object]]) -> Folder:
        prefix, objects = one
        name = prefix.strip("/").replace("/", ".")
        old = frozenset(replaced(found.path for found in objects)) if prefix.startswith(_LAYERS) else frozenset()
        there = [found for found in objects if found.path not in old]
        grown = _growth(opened, name, prefix, there, now)
        return Folder(name, prefix, objects, old, grown and _ending(grown, there, keep.get(name), now))

    found = _side_by_side(folder, listed.items())
    return Usage(sorted(found, key=lambda one: -one.bytes), lake_disk(settings), is_whole=not table)


def days_until_full(free: float, growing: Sequence[Growth]) -> float | None:
    """How long what is free lasts; None where it lasts for ever."""
    passed = 0.0
    pace = sum(one.bytes_a_day for one in growing)
    for one in sorted((one for one in growing if one.for_days is not None), key=lambda one: one.for_days or 0.0):
        used = pace * ((one.for_days or 0.0) - passed)
        if used >= free and pace > 0:
            break
        free, passed, pace = free - used, one.for_days or 0.0, pace - one.bytes_a_day
    still = sum(one.bytes_a_day for one in growing if one.for_days is None or one.for_days > passed)
    days = passed + free / still if still > 0 else math.inf
    return days if math.isfinite(days) else None


def _kept(settings: Settings) -> dict[str, timedelta]:
    """How long folders are kept that have an end. Raises `LakeError` where nobody can tell."""
    try:
        rules = load_rules(settings)
    except YamlFileError as error:
        raise LakeError(str(error)) from None
    longest = [rules.raw, *rules.raw_by_symbol.values()]
    raw = None if None in longest else max(one for one in longest if one)
    return {name: keep for name, keep in {"raw": raw, **rules.tables}.items() if keep}


def _ending(grown: Growth, objects: Sequence[Object], keep: timedelta | None, now: datetime) -> Growth:
    """With how long it goes on, by the oldest day that is held."""
    if keep is None:
        return grown
    held = now - min(span.start for one in objects if (span := span_of(one.path)))
    return grown._replace(for_days=max((keep - held) / timedelta(days=1), 0.0))


def span_of(path: str) -> Span | None:
    """The time of a partition, `date=2026-11-20/hour=08` or `interval=5m/month=2026-11`; none where it has none."""
    values = dict(part.split("=", 1) for part in path.split("/") if "=" in part)
    try:
        if "month" in values:
            start = datetime.strptime(values["month"], "%Y-%m").replace(tzinfo=UTC)
            return Span(start, (start + timedelta(days=31)).replace(day=1), values["month"])
        start = datetime.strptime(values["date"], "%Y-%m-%d").replace(tzinfo=UTC)
        if "hour" in values:
            start += timedelta(hours=int(values["hour"]))
            return Span(start, start + timedelta(hours=1), values["date"])
        return Span(start, start + timedelta(days=1), values["date"])
    except (KeyError, ValueError):
        return None


def growth(held: Mapping[Span, int], now: datetime, begins: Callable[[], datetime]) -> Growth | None:
    """Bytes a day of the data of the last seven days, by the times of its partitions.

    When files were written says nothing of that: compaction writes old rows anew, and an import those of past years.
    Where a partition reaches back further, as a month does, it is the mean of that whole time. `begins` is asked for
    where the data are younger than that, and says when they begin. None where that is less than an hour ago.
    """
    if not held:
        return None
    first, last = min(held), max(span.end for span in held)
    until = last if now - _LATE <= last < now else now
    running = [span.start for span in held if span.start <= until - _WINDOW < span.end]
    since = min([until - _WINDOW, *running])
    if first.start >= since:
        since = max(begins(), first.start)
    if until - since < _SHORTEST:
        return None
    days = (until - since) / timedelta(days=1)
    return Growth(sum(size for span, size in held.items() if since < span.end and span.start < until) / days, days)


def by_day(folders: Iterable[Folder]) -> dict[str, Held]:
    """What is held of each day of the data, or month where a table has partitions of months; `""`: of no time."""
    files, size = Counter[str](), Counter[str]()
    for folder in folders:
        for one in folder.objects:
            span = span_of(one.path)
            files[span.day if span else ""] += 1
            size[span.day if span else ""] += one.size
    return {day: Held(files[day], size[day]) for day in sorted(files)}


def by_symbol(settings: Settings, folders: Iterable[Folder]) -> dict[str, Held]:
    """What is held of each symbol, the largest first; `""`: of none, or of all together.

    The raw archive has its files by symbol. A table's file holds many: each has the share of its rows. Files without
    such a share (rows that wait to be merged, older versions, the timeline) are divided as the table's others. `files`
    are those that are known to hold a row of the symbol.
    """
    files: Counter[str] = Counter()
    size: defaultdict[str, float] = defaultdict(float)
    opened = _Opened(settings)
    for folder in folders:
        if folder.prefix.startswith(_LAYERS):
            told = [one for one in folder.objects if one.path not in folder.replaced and _is_base(one.path)]
            rows = _side_by_side(partial(_rows, opened, folder.prefix), told)
        else:
            told, rows = list(folder.objects), [{_symbol(one.path): 1} for one in folder.objects]
        share: defaultdict[str, float] = defaultdict(float)
        for one, by in zip(told, rows, strict=True):
            for symbol, count in by.items():
                files[symbol] += 1
                share[symbol] += one.size * count / sum(by.values())
        whole = sum(share.values())
        files[""] += 0 if whole else len(folder.objects)
        for symbol, held in (share if whole else {"": 1.0}).items():
            size[symbol] += folder.bytes * held / (whole or 1.0)
    return {symbol: Held(files[symbol], size[symbol]) for symbol in sorted(size, key=lambda one: -size[one])}


def beside(settings: Settings, *, with_lake: bool = False) -> dict[str, int | None]:
    """Bytes of each folder of the deployment, the largest first: Kafka, PostgreSQL, logs and so on.

    None where it cannot be looked at. In Docker there are none: they are volumes. That of our own object store, which
    has a folder for each object, is looked at where nothing else tells what it holds.
    """
    there = settings.state.iterdir() if settings.state.is_dir() else ()
    found = {path.name: _size(path) for path in there if path.is_dir() and (with_lake or path.name != "minio")}
    return dict(sorted(found.items(), key=lambda item: -(item[1] or 0)))


def _size(folder: Path) -> int | None:
    """What a folder takes on the disk: files with holes, as Kafka's indexes are, take less than they are long."""
    taken: dict[tuple[int, int], int] = {}
    refused: list[OSError] = []
    for where, _, names in os.walk(folder, onerror=refused.append):
        for name in names:
            try:
                found = os.lstat(Path(where, name))
            except FileNotFoundError:  # it went meanwhile
                continue
            taken[found.st_dev, found.st_ino] = found.st_blocks * 512
    return None if any(isinstance(error, PermissionError) for error in refused) else sum(taken.values())


def _listed(settings: Settings, table: str) -> dict[str, list[Object]]:
    """The objects of each folder of the bucket, by its prefix."""
    client: Any = s3_client(settings)

    def pages(**asked: str) -> Iterator[dict[str, Any]]:
        yield from client.get_paginator("list_objects_v2").paginate(Bucket=settings.bucket, **asked)

    def folders(prefix: str) -> list[str]:
        return [
            str(one["Prefix"]) for page in pages(Prefix=prefix, Delimiter="/") for one in page.get("CommonPrefixes", [])
        ]

    def objects(prefix: str) -> list[Object]:
        return [
            Object(str(one["Key"]).removeprefix(prefix), int(one["Size"]), one["LastModified"])
            for page in pages(Prefix=prefix)
            for one in page.get("Contents", [])
        ]

    try:
        if table:
            prefixes = [f"{table.replace('.', '/')}/"]
        else:
            tops = folders("")
            prefixes = [one for one in tops if one not in _LAYERS]
            prefixes += [one for found in _side_by_side(folders, set(tops) & set(_LAYERS)) for one in found]
        listed = dict(zip(prefixes, _side_by_side(objects, prefixes), strict=True))
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucket":
            raise LakeError(f"There is no bucket {settings.bucket} yet: ./deploy.sh makes it.") from None
        raise LakeError(keys_refused(settings)) from None
    except BotoCoreError:
        raise LakeError(not_running(settings)) from None
    if table and not listed[prefixes[0]]:
        raise LakeError(f"The bucket {settings.bucket} holds nothing of {table}: `crypto du` lists what there is.")
    return listed


class _Opened:
    """Opens Parquet files of the bucket."""

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.bucket
        self._store = cache(partial(object_store, settings))

    def file(self, prefix: str, one: Object) -> "pq.ParquetFile | None":
        """None where it went meanwhile, or is damaged. Raises `LakeError`."""
        import pyarrow as pa
        import pyarrow.parquet as pq  # it takes a while

        try:
            return pq.ParquetFile(f"{self._bucket}/{prefix}{one.path}", filesystem=self._store())
        except (FileNotFoundError, pa.ArrowInvalid):
            return None
        except OSError as error:
            raise LakeError(f"{prefix}{one.path} cannot be read: {str(error).splitlines()[0]}") from None


def _growth(opened: _Opened, name: str, prefix: str, objects: Sequence[Object], now: datetime) -> Growth | None:
    held: Counter[Span] = Counter()
    for one in objects:
        if span := span_of(one.path):
            held[span] += one.size
    table = contracts.tables().get(name)

    def begins() -> datetime:
        """When a table's data begin: by the statistics of its first partition's files, else when it was made, or that
        partition ended, where the lake was copied here."""
        if table is None:
            return min(held).start
        first = [one for one in objects if table.time and _is_base(one.path) and span_of(one.path) == min(held)]
        told = [_earliest(opened.file(prefix, one), str(table.time)) for one in first]
        return min((moment for moment in told if moment), default=min(min(held).end, *(one.at for one in objects)))

    return growth(held, now, begins)


def _earliest(file: "pq.ParquetFile | None", column: str) -> datetime | None:
    """The least time in a column by the file's statistics; none where it has none."""
    told = [one.statistics for _, one in _columns(file, column) if one.is_stats_set and one.statistics.has_min_max]
    return min((one.min for one in told), default=None)


def _rows(opened: _Opened, prefix: str, one: Object) -> dict[str, int]:
    """The rows of each symbol in a file, by statistics or else from that one column; by `""` where it knows none."""
    file = opened.file(prefix, one)
    if file is None or "symbol" not in file.schema_arrow.names:
        return {"": file.metadata.num_rows} if file and file.metadata.num_rows else {}
    rows: Counter[str] = Counter()
    for number, column in _columns(file, "symbol"):
        says = column.statistics if column.is_stats_set else None
        if says and says.has_min_max and says.min == says.max and not says.null_count:
            rows[says.min] += column.num_values
        else:
            for value in file.read_row_group(number, ["symbol"])["symbol"].value_counts().to_pylist():
                rows[value["values"] or ""] += value["counts"]
    return rows


def _columns(file: "pq.ParquetFile | None", name: str) -> Iterator[tuple[int, Any]]:
    """What each row group says of a column, with the group's number."""
    if file is None:
        return
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        for place in range(group.num_columns):
            if group.column(place).path_in_schema == name:
                yield number, group.column(place)


def _is_base(path: str) -> bool:
    name = parsed(path)
    return name is not None and name.is_base


def _symbol(path: str) -> str:
    """The symbol that the path of a raw file names."""
    values = dict(part.split("=", 1) for part in path.split("/") if "=" in part)
    return unquote(values.get("symbol", ""))


def _side_by_side(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(work, items))
