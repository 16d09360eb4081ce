"""`crypto status`: how everything is now."""

import json as to_json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from crypto_pipeline.monitoring import Status

REFRESH_SECONDS = 2.0


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, until Ctrl-C.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")] = False,
) -> None:
    """Show every service, topic and asset, and whether all is well.

    Ends with 0 where it is, and with 1 where not. It is well when every service is healthy, every exchange is
    connected, reading is not paused, imports need not wait for room on the disk, the last run of the pipeline
    succeeded, and no asset is older than five minutes, or 15 where it is made every five (once the services run for so
    long).

    `--json` gives one object: `mode`, `at`, `healthy`, `reasons` (sentences), `services` (`name`, `healthy`, `reason`,
    `pid`, `uptime_seconds`, `memory_bytes`), `exchanges` (open connections by name), `reading_paused`, `open_gaps`,
    `spooled` (messages on disk that wait for Kafka), `dead_letters`, `topics` (`topic`, `messages_per_second`,
    `messages`, `lag`), `assets` (`asset`, `job` that makes it, `materialized_at`, `age_seconds`, `run_status`,
    `rows_written`), `last_run` (`run_id`, `status`, `ended_at`, `seconds`) and `disk_percent` (how full it is). What is
    not known is null; times are UTC.

    Examples:

    - `crypto status`
    - `crypto status --watch` (so does `./monitor.sh`)
    - `crypto status --json | jq .reasons`
    """
    import os
    import sys

    from crypto_pipeline.monitoring import collect, still_asking
    from shared.settings import settings

    if watch and json:
        raise typer.BadParameter("--watch shows a table; call `crypto status --json` again and again instead.")
    code = _watch() if watch else _once(collect(settings()), json)
    if still_asking():
        # hudi-rs in a thread that is still waiting would abort the interpreter at its end.
        sys.stdout.flush()
        os._exit(code)
    raise typer.Exit(code)


def _once(found: "Status", json: bool) -> int:
    from rich.console import Console

    if json:
        typer.echo(as_json(found))
    else:
        Console().print(rendered(found))
    return 0 if found.healthy else 1


def _watch() -> int:
    import contextlib
    import time

    from rich.console import Console
    from rich.live import Live

    from crypto_pipeline.monitoring import collect
    from shared.settings import settings

    console = Console()
    with (
        contextlib.suppress(KeyboardInterrupt),
        Live(console=console, screen=console.is_terminal, auto_refresh=False, vertical_overflow="crop") as live,
    ):
        while True:
            began = time.monotonic()
            live.update(rendered(collect(settings())), refresh=True)
            time.sleep(max(began + REFRESH_SECONDS - time.monotonic(), 0.1))
    return 0


def as_json(found: "Status") -> str:
    """The status as the help of the command describes it."""
    from dataclasses import asdict

    def time_of(value: Any) -> str:
        if isinstance(value, datetime):
            return value.isoformat(timespec="seconds").replace("+00:00", "Z")
        raise TypeError(f"{value!r} has no form in JSON")

    return to_json.dumps(asdict(found), indent=2, default=time_of)


def rendered(found: "Status") -> "RenderableType":
    """The status on the screen: what is wrong first."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    verdict = ("healthy", "bold green") if found.healthy else ("not healthy", "bold red")
    title = Text.assemble(f"crypto lakehouse, {found.mode} mode: ", verdict, f"   {found.at:%Y-%m-%d %H:%M:%S} UTC")
    reasons = [Text(f"  ✗ {reason}", style="red") for reason in found.reasons]
    facts = Text(
        f"{_exchanges(found)}; gaps being repaired: {_count(found.open_gaps) or 'not known'}; "
        f"dead letters: {_count(found.dead_letters) or 'not known'}; {_last_run(found)}{_disk(found)}"
    )
    tables = [_services(found), _topics(found), _assets(found)]
    shown = Columns([Padding(table, (1, 2, 0, 0)) for table in tables if table.row_count])
    return Group(title, *reasons, facts, shown)


def _exchanges(found: "Status") -> str:
    said = [f"{name}: {count} connection{'s' * (count != 1)}" for name, count in found.exchanges.items()]
    waiting = f", {found.spooled:,} messages wait in the spool" if found.spooled else ""
    return f"{', '.join(said) or 'exchanges: not known'}{', reading paused' * bool(found.reading_paused)}{waiting}"


def _last_run(found: "Status") -> str:
    run = found.last_run
    if run is None or run.ended_at is None:
        return "no run has finished yet" if run is None else f"last run: {run.status}"
    took = f", took {run.seconds:.0f} s" if run.seconds is not None else ""
    return f"last run: {run.status}, {duration((found.at - run.ended_at).total_seconds())} ago{took}"


def _disk(found: "Status") -> str:
    return "" if found.disk_percent is None else f"; disk: {found.disk_percent:.0f} % full"


def _services(found: "Status") -> "Table":
    table = plain_table("service", "health", "uptime>", "memory>")
    for service in found.services:
        health = "[green]healthy[/]" if service.healthy else "[bold red]not healthy[/]"
        table.add_row(service.name, health, duration(service.uptime_seconds), memory(service.memory_bytes))
    return table


def _topics(found: "Status") -> "Table":
    table = plain_table("topic", "messages/s>", "in Kafka>", "lag>")
    for topic in found.topics:
        rate = "" if topic.messages_per_second is None else f"{topic.messages_per_second:,.1f}"
        table.add_row(topic.topic, rate, _count(topic.messages), _count(topic.lag))
    return table


def _assets(found: "Status") -> "Table":
    table = plain_table("asset", "made (UTC)", "age>", "last run", "rows written>")
    colours = {"SUCCESS": "green", "FAILURE": "bold red", "CANCELED": "yellow"}
    for asset in found.assets:
        made = f"{asset.materialized_at:%H:%M:%S}" if asset.materialized_at else "never"
        run = f"[{colours.get(asset.run_status, 'cyan')}]{asset.run_status.lower()}[/]" if asset.run_status else ""
        table.add_row(asset.asset, made, duration(asset.age_seconds), run, _count(asset.rows_written))
    return table


def plain_table(*columns: str) -> "Table":
    """A table without lines; a name that ends with `>` is a column of numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name.removesuffix(">"), justify="right" if name.endswith(">") else "left", no_wrap=True)
    return table


def duration(seconds: float | None) -> str:
    """`12 s`, `3 min`, `5 h 20 min`, `4 d 3 h`; empty where it is not known."""
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def memory(taken: int | None) -> str:
    """In MB; empty where it is not known."""
    return "" if taken is None else f"{taken / 1_000_000:,.0f} MB"


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
