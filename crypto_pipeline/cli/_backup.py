"""What `crypto backup` and `crypto restore` share: a bar, and faults as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress


class Copying:
    """A bar of bytes, on standard error."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def says(self, line: str) -> None:
        """What is done now."""
        self._progress.update(self._task, description=line)

    def expects(self, size: int) -> None:
        """So many bytes are to be copied in all."""
        self._progress.update(self._task, total=size, completed=0)

    def advance(self, size: int) -> None:
        """So many more are."""
        self._progress.advance(self._task, size)


@contextmanager
def copying() -> Iterator[Copying]:
    """Shows the bar; ends with one sentence where it cannot be done, and at Ctrl-C."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from crypto_pipeline.backup.manifest import BackupError
    from crypto_pipeline.backup.place import PlaceError
    from crypto_pipeline.reader import LakeError

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            yield Copying(progress)
    except (BackupError, PlaceError, LakeError) as error:
        typer.echo(error, err=True)
    except OSError as error:
        typer.echo(f"It cannot be copied: {error}. What is copied stays; the same command goes on.", err=True)
    except KeyboardInterrupt:
        typer.echo("Interrupted: what is copied stays; the same command goes on.", err=True)
        raise typer.Exit(130) from None
    else:
        return
    raise typer.Exit(1)
