"""Files that are there whole or not at all, and an export that goes on where it was interrupted."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path


class ExportError(Exception):
    """What cannot be exported or written; the message says why, and the cure."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write: it takes the name `path` at the end of the block, and is gone where that fails.

    A file that is not there at the end is no error: nothing takes the name then. Raises `ExportError`.
    """
    beside = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        if beside.exists():
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            why = os.strerror(error.errno) if error.errno else error
            raise ExportError(
                f"{path} cannot be written ({why}): make room, or name another --out; what is finished stays, and the "
                "same command goes on."
            ) from None
        raise


class Progress:
    """Which files of an export are finished, kept in its folder until all are.

    The record is named by what is exported, `what`, so that only the same command goes on with it.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self._folder = folder
        self._record = folder / f".unfinished-export-{sha256(what.encode()).hexdigest()[:12]}"

    def begin(self, paths: list[Path], *, overwrite: bool) -> set[Path]:
        """The files that an interrupted run of the same command finished.

        Raises `ExportError` where this is another one, and one of these files is there.
        """
        if self._record.exists():
            return {Path(line) for line in self._record.read_text(encoding="utf-8").splitlines()}
        there = [path for path in paths if (self._folder / path).exists()]
        if there and not overwrite:
            more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
            raise ExportError(f"{self._folder / there[0]} is there already{more}: name another --out, or --overwrite.")
        with _writing(self._record):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._record.touch()
        return set()

    def finished(self, path: Path) -> None:
        """A file that need not be written again."""
        with _writing(self._record), self._record.open("a", encoding="utf-8") as record:
            record.write(f"{path}\n")

    def end(self) -> None:
        """All are."""
        self._record.unlink()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportError(
            f"{path.parent} cannot be written to ({error.strerror}): make room, or name another --out."
        ) from None
