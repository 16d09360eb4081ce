"""How Hudi names the files of a table, and which of them a newer version has replaced."""

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

TIMELINE = ".hoodie/timeline/"


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


def settled(paths: Iterable[str]) -> Iterator[tuple[str, FileName]]:
    """The base files at rest of a table: no log file lies on them, and its timeline begins later.

    Hudi takes every file that is older than its timeline for that of a finished write.
    """
    paths = list(paths)
    old = set(replaced(paths))
    begun = [
        found[1]
        for path in paths
        if path.startswith(TIMELINE) and (found := _INSTANT.fullmatch(path.removeprefix(TIMELINE)))
    ]
    there = [(path, name) for path in paths if path not in old and (name := parsed(path))]
    logged = {(name.partition, name.file) for _, name in there if not name.is_base}
    for path, name in there:
        if name.is_base and (name.partition, name.file) not in logged and begun:
            younger = parsed(sorted_name(path))
            if younger and younger.instant < min(begun):
                yield path, name
