"""How Hudi names the files of a table, which of them newer ones replaced, and which were there at one moment."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

SORTED = "sorted"
"""Stands in the name of a base file that `crypto_pipeline.sorting` made, where Hudi names the task that wrote it."""
_BASE = re.compile(rf"(?P<file>.+)_(?P<writer>[\d-]+|{SORTED})_(?P<instant>\d+)\.parquet")
_LOG = re.compile(r"\.(?P<file>.+)_(?P<instant>\d+)\.log\.\d+_[\d-]+")
_INSTANT = re.compile(r"(\d+)(?:_(\d+))?\.[a-z.]+")
"""Of a write in the timeline: when it was asked for and, where it is finished, when it was done."""
_CLEARS = re.compile(r"\.(clean|rollback|savepoint|restore|indexing)\b")
"""What writes no rows. Its names stay in the timeline for longer than those of writes."""

TIMELINE = ".hoodie/timeline/"
METADATA = ".hoodie/metadata/"
"""Hudi's table of a table's files, which none of ours has."""
_NOT_OF_THE_TABLE = (".hoodie/.temp/", ".hoodie/.heartbeat/", ".hoodie/.locks/")
"""What a writer keeps in a table's folder while it writes."""


class FileName(NamedTuple):
    """What the name of a file with rows says."""

    partition: str
    file: str
    """Its versions, base files and the log files on them, share this."""
    instant: str
    """The write that made it, by when that was asked for."""
    is_base: bool
    is_sorted: bool = False


def parsed(path: str) -> FileName | None:
    """The name at the end of a path inside the table's folder; none where that is no file with rows."""
    if path.startswith(".hoodie/"):  # the timeline's own history is in Parquet too
        return None
    partition, _, name = path.rpartition("/")
    for is_base, form in ((True, _BASE), (False, _LOG)):
        if found := form.fullmatch(name):
            is_sorted = is_base and found["writer"] == SORTED
            return FileName(partition, found["file"], found["instant"], is_base, is_sorted)
    return None


def sorted_name(path: str) -> str:
    """The path of the version, a millisecond younger, that has the rows of a base file in another order."""
    name = parsed(path)
    if name is None or not name.is_base:
        raise ValueError(f"{path} is no base file.")
    second, milliseconds = name.instant[:14], int(name.instant[14:])
    younger = datetime.strptime(second, "%Y%m%d%H%M%S") + timedelta(milliseconds=milliseconds + 1)  # noqa: DTZ007 (Hudi's own, of no zone)
    instant = f"{younger:%Y%m%d%H%M%S}{younger.microsecond // 1000:03}"
    return f"{name.partition}/{name.file}_{SORTED}_{instant}.parquet"


def replaced(paths: Iterable[str]) -> Iterator[str]:
    """Of all paths in a table's folder the files that a newer finished version replaced: cleaning will remove them.

    A write that is not finished replaces nothing. A log file lies on the newest base file that was asked for before
    the log file was done, as Hudi's readers have it. Writes that the timeline no longer has are finished.
    """
    files: dict[tuple[str, str], list[tuple[str, FileName]]] = {}
    done: dict[str, str] = {}
    under_way: set[str] = set()
    for path in paths:
        if path.startswith(TIMELINE):
            if found := _INSTANT.fullmatch(path.removeprefix(TIMELINE)):
                requested, completed = found.groups()
                if completed:
                    done[requested] = completed
                else:
                    under_way.add(requested)
        elif name := parsed(path):
            files.setdefault((name.partition, name.file), []).append((path, name))
    under_way -= done.keys()
    for versions in files.values():
        bases = (name.instant for _, name in versions if name.is_base and name.instant not in under_way)
        newest = max(bases, default="")
        for path, name in versions:
            if name.instant not in under_way and newest > (
                name.instant if name.is_base else done.get(name.instant, name.instant)
            ):
                yield path


class Moment(NamedTuple):
    """A table as it was at one moment: which writes were finished."""

    paths: frozenset[str]
    """Of `.hoodie/`, what belongs to the table then: its properties, and the timeline without what was under way."""
    finished: frozenset[str]
    """The finished writes of the timeline, by when they were asked for."""
    since: str
    """What was asked for before this is finished, though the timeline no longer has it."""
    until: str
    """When the latest of them was done; empty where there is none."""

    def has(self, path: str) -> bool:
        """Does a path in the table's folder belong to the table as it was?"""
        if path.startswith(".hoodie/"):
            return path in self.paths
        name = parsed(path)
        return name is None or name.instant in self.finished or name.instant < self.since


def moment(before: Iterable[str], now: Iterable[str]) -> Moment:
    """The table at the latest write that is done in a first listing of `.hoodie/`, by a second, made after that.

    A listing is not of one moment: it may lack a write and have one that was done after that. But writes become visible
    in the order in which they are done: all that were done before one of the first listing are in the second.
    """
    until = max(_writes(before).values(), default="")
    there = list(now)
    writes = _writes(there)
    finished = frozenset(asked for asked, done in writes.items() if done and done <= until)
    kept = set()
    for path in there:
        if path.startswith(_NOT_OF_THE_TABLE):
            continue
        found = _INSTANT.fullmatch(path.removeprefix(TIMELINE)) if path.startswith(TIMELINE) else None
        if found is None or found[1] in finished:
            kept.add(path)
    rows = _writes(path for path in there if not _CLEARS.search(path))
    return Moment(frozenset(kept), finished, min(rows, default=""), until)


def _writes(paths: Iterable[str]) -> dict[str, str]:
    """When each write of a timeline was done, by when it was asked for; empty while it is under way."""
    writes: dict[str, str] = {}
    for path in paths:
        if path.startswith(TIMELINE) and (found := _INSTANT.fullmatch(path.removeprefix(TIMELINE))):
            asked, done = found[1], found[2] or ""
            writes[asked] = max(writes.get(asked, ""), done)
    return writes


def settled(paths: Iterable[str]) -> Iterator[tuple[str, FileName]]:
    """The base files at rest of a table: no log file is there of theirs, and its timeline begins later.

    No log file at all: one that was asked for before the base file, and done after it, lies on it all the same.
    Hudi takes every file that is older than its timeline for that of a finished write.
    """
    paths = list(paths)
    old = set(replaced(paths))
    begun = [
        found[1]
        for path in paths
        if path.startswith(TIMELINE) and (found := _INSTANT.fullmatch(path.removeprefix(TIMELINE)))
    ]
    there = [(path, name) for path in paths if (name := parsed(path))]
    logged = {(name.partition, name.file) for _, name in there if not name.is_base}
    for path, name in there:
        if path not in old and name.is_base and (name.partition, name.file) not in logged and begun:
            younger = parsed(sorted_name(path))
            if younger and younger.instant < min(begun):
                yield path, name
