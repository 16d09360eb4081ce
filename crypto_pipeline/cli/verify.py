"""`crypto verify`: whether the lake keeps its promises."""

import json as to_json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from crypto_pipeline.verify.verdict import Found, Verdict

_DAY = ["%Y-%m-%d"]


def verify(
    symbol: Annotated[str, typer.Option(help="One or more, comma-separated; all where this is not given.")] = "",
    start: Annotated[
        datetime | None, typer.Option("--from", formats=_DAY, help="First day, UTC; else the first.")
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", formats=_DAY, help="Last day, UTC, inclusive; else the last there is.")
    ] = None,
    without_spark: Annotated[
        bool, typer.Option("--without-spark", help="Only what needs no Spark: all but some tables of promise 10.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")] = False,
) -> None:
    """Recompute silver from bronze, compare row by row, and check every promise that data can show.

    Ends with 0 where no promise is broken, and with 1 where one is. It changes nothing. The candles are made again in
    SQL that shares nothing with the code that made them, the other tables of silver by their own code, on Spark. What
    silver has not followed yet is not judged, and counted. docs/completeness.md explains each promise.

    `--json` gives one object: `from`, `to`, `symbols` (empty: all), `as_of` (up to when silver has followed bronze),
    `moving` (minutes that were not judged yet), `broken` (numbers of promises), and `checks`: `promise`, `sentence`,
    `unit`, `looked_at` (null: it could not be looked, and `why_not` says why), `offenders`, `examples` (`exchange`,
    `symbol`, `at`, `says`).

    Examples:

    - `crypto verify`
    - `crypto verify --symbol BTCUSDT,ETHUSDT --from 2026-11-01 --to 2026-11-20`
    - `crypto verify --without-spark --json | jq .broken`
    """
    from crypto_pipeline.cli import _history
    from crypto_pipeline.cli._lake import check_spark, connected
    from crypto_pipeline.lakehouse import Lakehouse
    from crypto_pipeline.reader import LakeError
    from crypto_pipeline.verify import verdict as looking
    from crypto_pipeline.verify.workbench import Stored
    from shared.settings import settings

    symbols = [name.strip().upper() for name in symbol.split(",") if name.strip()]
    first, last = (day.date() if day else None for day in (start, end))
    if start and end and end < start:
        raise typer.BadParameter("--to is before --from.")

    def look(lake: Lakehouse | None) -> "Verdict":
        done = 0.0
        with _history.Bar("looking", 1.0) as bar:

            def progress(line: str, so_far: float) -> None:
                nonlocal done
                bar.says(line)
                bar.advance(so_far - done)
                done = so_far

            return looking.verify(Stored(settings()), lake, first, last, symbols, progress)

    try:
        if without_spark:
            found = look(None)
        else:
            check_spark(settings(), "leave its part out with --without-spark.")
            with connected(settings(), "verify") as lake:
                found = look(lake)
    except (looking.VerifyError, LakeError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    if json:
        typer.echo(as_json(found))
    else:
        from rich.console import Console

        Console().print(rendered(found))
    raise typer.Exit(1 if found.broken else 0)


def as_json(found: "Verdict") -> str:
    """The verdict as the help of the command describes it."""
    checks = [
        {
            "promise": one.promise,
            "sentence": one.sentence,
            "unit": one.unit,
            "looked_at": one.looked_at,
            "why_not": one.why_not or None,
            "offenders": one.offenders,
            "examples": [{**example, "at": _time(example["at"])} for example in one.examples],
        }
        for one in found.found
    ]
    whole: dict[str, Any] = {
        "from": str(found.start),
        "to": str(found.end),
        "symbols": found.symbols,
        "as_of": _time(found.as_of),
        "moving": found.moving,
        "broken": found.broken,
        "checks": checks,
    }
    return to_json.dumps(whole, indent=2)


def rendered(found: "Verdict") -> "RenderableType":
    """The verdict on the screen: promise by promise, and in the end what it comes to."""
    from rich.console import Group
    from rich.text import Text

    of_whom = ", ".join(found.symbols) or "All symbols"
    title = Text(f"{of_whom}, {found.start} to {found.end}, as of {_time(found.as_of)}", style="bold")
    moving = Text(f"{found.moving:,} minutes were not judged: silver had not followed them yet.", style="dim")
    broken = ", ".join(map(str, found.broken))
    word = (f"Broken: promise {broken}.", "bold red") if broken else ("No promise is broken.", "bold green")
    return Group(title, "", *_parts(found), "", *([moving] if found.moving else []), Text(*word))


def _parts(found: "Verdict") -> Iterator["RenderableType"]:
    """A heading for each promise, and its checks in a table; all tables have the same columns."""
    from rich.text import Text

    from crypto_pipeline.verify.promises import PROMISES

    heads = _table()
    heads.add_row("", "", "looked at", "", "broken", "for example", style="bold")
    yield heads
    for number, promise in PROMISES.items():
        yield Text(f"{number}  {promise}", style="bold")
        table = _table()
        for one in sorted((one for one in found.found if one.promise == number), key=lambda one: -one.offenders):
            table.add_row(*_row(one))
        yield table


def _table() -> "Table":
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column(width=2, justify="right")
    table.add_column(overflow="fold", ratio=3)
    table.add_column(justify="right", width=11)
    table.add_column(style="dim", width=11)
    table.add_column(justify="right", width=7)
    table.add_column(overflow="fold", ratio=2)
    return table


def _row(one: "Found") -> list[Any]:
    from rich.text import Text

    sentence = Text(one.sentence)
    if one.looked_at is None:
        return [Text("–", style="yellow"), sentence, Text("not"), "", "", Text(one.why_not, style="yellow")]
    mark = Text("✗", style="bold red") if one.offenders else Text("✓", style="green")
    count = Text(f"{one.offenders:,}", style="bold red" if one.offenders else "dim")
    return [mark, sentence, f"{one.looked_at:,}", one.unit, count, Text(_example(one.examples))]


def _example(examples: list[dict[str, Any]]) -> str:
    if not examples:
        return ""
    first = examples[0]
    where = " ".join(filter(None, (first["symbol"], first["at"] and f"{first['at']:%Y-%m-%d %H:%M:%S}")))
    return f"{where}: {first['says']}" if where else str(first["says"])


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
