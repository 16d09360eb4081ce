"""What `crypto import` and `crypto backfill` share: a bar, a summary, and faults as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

if TYPE_CHECKING:
    from crypto_pipeline.history.importing import Done
    from crypto_pipeline.history.layouts import Kind
    from shared.symbol_manager import Symbol


def symbol_of(name: str, base: str, quote: str) -> "Symbol":
    """The symbol, which no file needs to know. Raises `typer.BadParameter`."""
    from pydantic import ValidationError

    from shared.symbol_manager import Symbol

    name = name.strip().upper()
    pair = {"base": base.upper(), "quote": quote.upper()} if base or quote else {}
    try:
        return Symbol.model_validate({"symbol": name, "name": name, **pair})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(f"{name}: {reason} (--base and --quote).") from None


class Bar:
    """A bar with an estimate of the time left, on standard error."""

    def __init__(self, what: str, total: float) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task(what, total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def says(self, line: str) -> None:
        """What is done now."""
        self._progress.update(self._task, description=line)

    def advance(self, done: float = 1) -> None:
        """So much more is done."""
        self._progress.advance(self._task, done)

    def print(self, line: str) -> None:
        """A line above the bar, which stays."""
        self._progress.console.print(line, markup=False)


@contextmanager
def explained() -> Iterator[None]:
    """Ends with one sentence where something cannot be had, and at Ctrl-C."""
    from pyspark.errors import PySparkException

    from crypto_pipeline.history.archives import ArchiveError
    from crypto_pipeline.history.fetch import FetchError
    from crypto_pipeline.reader import LakeError
    from streaming.exchange import UnparsableMessage
    from streaming.rest import RestError

    try:
        yield
    except (ArchiveError, FetchError, LakeError, RestError, UnparsableMessage, ValueError) as error:
        typer.echo(error, err=True)
    except PySparkException as error:
        reason = str(error).splitlines()[0][:300]
        typer.echo(f"Spark could not do it ({reason}): what was written stays; the same command goes on.", err=True)
    except KeyboardInterrupt:
        typer.echo("Interrupted: what was written stays; the same command goes on.", err=True)
        raise typer.Exit(130) from None
    else:
        return
    raise typer.Exit(1)


def summary(done: "Done", kind: "Kind") -> None:
    """What became of all rows."""
    from rich.console import Console
    from rich.table import Table

    from crypto_pipeline.history.load import DISAGREES, MODULES

    name = MODULES[kind].TABLE.full_name
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_row(f"{done.new:,}", f"rows new in {name}")
    table.add_row(f"{done.there:,}", "already there")
    if done.repeated:
        table.add_row(f"{done.repeated:,}", "stood twice in a file, and equal")
    if done.differing:
        table.add_row(
            f"{done.differing:,}",
            f"differ from what is stored, which stayed; bronze.quarantine has them under the rule {DISAGREES}",
        )
    for rule, count in sorted(done.quarantined.items()):
        table.add_row(f"{count:,}", f"went to bronze.quarantine under the rule {rule}")
    for built, count in done.built.items():
        table.add_row(f"{count:,}", f"rows built in {built}")
    Console().print(table)
