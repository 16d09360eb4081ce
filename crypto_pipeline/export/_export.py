"""An export, file by file."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crypto_pipeline.export import format_of
from crypto_pipeline.export._files import Progress, whole
from crypto_pipeline.export._format import File, Format, Wanted
from crypto_pipeline.export._reading import Reader, nothing, part_of, pieces


@dataclass
class Done:
    """What became of an export."""

    rows: int = 0
    files: int = 0
    earlier: int = 0
    """Files that an interrupted run of the same command had finished."""
    empty: int = 0
    """Files that were not made because there is no row for them."""
    left_out: int = 0
    """Candles that are not proven."""

    def add(self, other: "Done") -> None:
        """Count the other's too."""
        self.rows += other.rows
        self.files += other.files
        self.earlier += other.earlier
        self.empty += other.empty
        self.left_out += other.left_out


def steps(name: str, wanted: Wanted) -> int:
    """How many steps `export` tells of."""
    form = format_of(name)
    return sum(_steps(form, wanted, file) for file in form.files(wanted))


def export(
    name: str,
    wanted: Wanted,
    folder: Path,
    *,
    overwrite: bool = False,
    did: Callable[[int], None] = lambda _steps: None,
    says: Callable[[str], None] = lambda _line: None,
) -> Done:
    """Write the files of the format of a name into a folder; `says` is told which one is written, `did` of each step.

    Raises `ExportError`, `LakeError`, and `NotStoredError` where there is no row. What is finished then stays.
    """
    form = format_of(name)
    files = list(form.files(wanted))
    asked = (name, wanted.symbol, wanted.exchange, wanted.word, *map(str, wanted.asked))
    progress = Progress(folder, " ".join(asked))
    before = progress.begin([file.path for file in files], overwrite=overwrite)
    done = Done()
    for file in files:
        if file.path in before and (folder / file.path).exists():
            done.earlier += 1
            did(_steps(form, wanted, file))
            continue
        says(file.path.name)
        began = datetime.now(UTC)
        reader = Reader(wanted, lambda: did(1))
        with whole(folder / file.path) as place:
            rows = form.write(place, file, wanted, reader.read)
            if not rows:
                place.unlink(missing_ok=True)
        done.add(Done(rows, files=int(rows > 0), empty=int(not rows), left_out=reader.left_out))
        if rows and file.range.end <= began:
            progress.finished(file.path)
    progress.end()
    if not done.files and not done.earlier:
        raise nothing(
            part_of(wanted.symbol, wanted.exchange, wanted.data, wanted.interval, wanted.asked), done.left_out
        )
    return done


def _steps(form: Format, wanted: Wanted, file: File) -> int:
    return sum(len(pieces(data, file.range)) for data in (wanted.data, *form.beside))
