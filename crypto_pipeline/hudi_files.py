"""How Hudi names the files of a table, and which of them a newer version has replaced."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_BASE = re.compile(r"(?P<file>.+)_[\d-]+_(?P<instant>\d+)\.parquet")
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


def parsed(path: str) -> FileName | None:
    """The name at the end of a path inside the table's folder; none where that is no file with rows."""
    partition, _, name = path.rpartition("/")
    for is_base, form in ((True, _BASE), (False, _LOG)):
        if found := form.fullmatch(name):
            return FileName(partition, found["file"], found["instant"], is_base)
    return None


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
