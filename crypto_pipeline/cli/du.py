"""`crypto du`: what takes the room, how fast it grows, and when the disk is full."""

import json as to_json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crypto_pipeline.cli.status import plain_table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from crypto_pipeline.usage import Held, Usage
    from shared.settings import Settings


def du(
    by: Annotated[Literal["table", "day", "symbol"], typer.Option(help="What each line is of.")] = "table",
    table: Annotated[str, typer.Option(help="Just this table, such as silver.ohlcv_1m; or raw, the archive.")] = "",
    json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts: bytes, not rounded.")] = False,
) -> None:
    """Show what the lake and the services hold, how fast the lake grows, and in how many days the disk is full.

    `older` are versions of files that newer ones replaced: the job `maintenance` removes them, so they do not pile up.
    Growth is that of the data of the last seven days by their own time, for an import of past years is none; `over`
    says of how much time it is the mean, where there is less, or a table has partitions of months. Days until full are
    what is free by the growth of the lake: Kafka and Prometheus keep no more than they may, and what
    `config/retention.yaml` lets go of grows until it is as old as it is kept.

    `--by day` is by the data's own time (UTC), or month where a table is kept by months. `--by symbol` is a share by
    rows, for the file of a table holds many symbols; it opens every file, and so takes longer. Where the lake lies in
    another object store than ours, there is no disk to ask.

    `--json` gives one object: `bucket`, `tables` (`name`, `files`, `bytes`, `older_bytes`, `bytes_a_day`,
    `growth_over_days`), with `--by` also `days` or `symbols` (`files` and `bytes` by name; `""`: of none), `beside`
    (bytes by folder of the deployment), `disk` (`total`, `used`, `free`, in bytes), `bytes_a_day`, `days_until_full`.
    What is not known is null.

    Examples:

    - `crypto du`
    - `crypto du --by symbol --table bronze.trades`
    - `crypto du --by day --json | jq .days`
    """
    from crypto_pipeline import usage
    from crypto_pipeline.cli._answers import console
    from crypto_pipeline.reader import LakeError
    from shared.settings import settings

    chosen = settings()
    try:
        found = usage.collect(chosen, table)
        parts = usage.by_day(found.folders) if by == "day" else None
        parts = usage.by_symbol(chosen, found.folders) if by == "symbol" else parts
    except LakeError as error:
        typer.echo(error, err=True)
        if not (table or json):  # a full disk stops the object store too
            console().print(_folders(usage.beside(chosen, with_lake=True)))
        raise typer.Exit(1) from None
    beside = {} if table else usage.beside(chosen)
    if json:
        typer.echo(as_json(chosen, found, beside, by, parts))
    else:
        console().print(rendered(chosen, found, beside, by, parts))


def as_json(
    settings: "Settings", found: "Usage", beside: Mapping[str, int | None], by: str, parts: "Mapping[str, Held] | None"
) -> str:
    """What the help of the command describes."""
    whole: dict[str, Any] = {
        "bucket": settings.bucket,
        "tables": [
            {
                "name": one.name,
                "files": len(one.objects),
                "bytes": one.bytes,
                "older_bytes": one.older_bytes,
                "bytes_a_day": round(one.growth.bytes_a_day) if one.growth else None,
                "growth_over_days": round(one.growth.days, 3) if one.growth else None,
            }
            for one in found.folders
        ],
    }
    if parts is not None:
        whole[f"{by}s"] = {name: {"files": held.files, "bytes": round(held.bytes)} for name, held in parts.items()}
    growth, days = found.bytes_a_day, found.days_until_full
    whole |= {
        "beside": beside,
        "disk": found.disk._asdict() if found.disk else None,
        "bytes_a_day": None if growth is None else round(growth),
        "days_until_full": None if days is None else round(days, 1),
    }
    return to_json.dumps(whole, indent=2)


def rendered(
    settings: "Settings", found: "Usage", beside: Mapping[str, int | None], by: str, parts: "Mapping[str, Held] | None"
) -> "RenderableType":
    """The tables, or the days or symbols; then the services, and the disk."""
    from rich.console import Group
    from rich.text import Text

    shown: list[RenderableType] = [_tables(found) if parts is None else _parts(by, parts)]
    if by == "symbol":
        shown.append(Text("A symbol's bytes are its share by rows of the files that hold it.", style="dim"))
    if beside:
        shown += ["", _folders(beside)]
    return Group(*shown, "", _disk(settings, found))


def _tables(found: "Usage") -> "Table":
    shown = plain_table("table", "files>", "bytes>", "older>", "growth a day>", "over>")
    for one in found.folders:
        grown = (size(one.growth.bytes_a_day), _time(one.growth.days)) if one.growth else ("", "")
        shown.add_row(one.name, f"{len(one.objects):,}", size(one.bytes), size(one.older_bytes or None), *grown)
    if len(found.folders) > 1:
        files, held = (sum(counts) for counts in zip(*((len(f.objects), f.bytes) for f in found.folders), strict=True))
        older = sum(one.older_bytes for one in found.folders)
        shown.add_row("the lake", f"{files:,}", size(held), size(older), size(found.bytes_a_day), style="bold")
    return shown


def _parts(by: str, parts: "Mapping[str, Held]") -> "Table":
    shown = plain_table(by, "files>", "bytes>")
    for name, held in parts.items():
        shown.add_row(name or "(none)", f"{held.files:,}", size(held.bytes))
    return shown


def _folders(folders: Mapping[str, int | None]) -> "Table":
    shown = plain_table("folder", "bytes>")
    for name, held in folders.items():
        shown.add_row(name, "not ours to see" if held is None else size(held))
    return shown


def _disk(settings: "Settings", found: "Usage") -> "RenderableType":
    from rich.text import Text

    from shared.disk import WARNING_PERCENT, imports_wait

    if found.disk is None:
        return Text(f"The lake lies in the object store {settings.s3_url}: there is no disk to ask when it is full.")
    days = found.days_until_full
    until = "" if days is None else f"; at this growth it is full in {_time(days)}"
    text = f"The disk of {settings.state} is {found.disk.percent:.0f} % full, {size(found.disk.free)} are free{until}."
    waits = imports_wait(settings)
    style = "bold red" if waits else "yellow" if found.disk.percent >= WARNING_PERCENT else ""
    return Text(f"{text}\n{waits}".strip(), style=style)


def size(held: float | None) -> str:
    """`812 B`, `1.2 GB`, by thousands; empty where it is not known."""
    if held is None:
        return ""
    for unit in ("B", "kB", "MB", "GB"):
        if held < 999.5:
            return f"{held:.0f} B" if unit == "B" else f"{held:.3g} {unit}"
        held /= 1000
    return f"{held:,.3g} TB" if held < 1000 else f"{held:,.0f} TB"


def _time(days: float) -> str:
    return f"{days:,.0f} d" if days >= 2 else f"{days * 24:.0f} h"
