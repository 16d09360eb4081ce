"""`crypto alerts`: what fired, and whether it would reach you."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from alerts.store import Store

MOST = 100

alerts = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Show and acknowledge alerts, and test the rules of `config/alerts.yaml`.\n\n"
    "Examples:\n\n"
    "- `crypto alerts list`\n"
    "- `crypto alerts test fast_move`",
)


@alerts.command("list")
def list_(
    past: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")] = False,
) -> None:
    """Show the active alerts, the latest first; with `--all` those that are over too, 100 at most.

    Examples:

    - `crypto alerts list`
    - `crypto alerts list --all --json`
    """
    import json as to_json

    from rich.console import Console

    with _store() as store:
        found = store.alerts(past=past, limit=MOST)
    if json:
        typer.echo(to_json.dumps(found, indent=1, default=lambda time: time.isoformat()))
    elif found:
        Console().print(_table(found))
    else:
        typer.echo("No alert has fired." if past else "No alert is active. `crypto alerts list --all` shows past ones.")


def _table(found: list[dict[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("id", "severity", "rule", "subject", "fired (UTC)", "state", "text"):
        table.add_column(column, overflow="fold", no_wrap=column != "text")
    for row in found:
        state = f"over {row['resolved_at']:%H:%M:%S}" if row["resolved_at"] else "active"
        seen = ", seen" if row["acknowledged_at"] else ""
        values = (row["id"], row["severity"], row["rule"], row["subject"], f"{row['fired_at']:%m-%d %H:%M:%S}")
        table.add_row(*(Text(str(value)) for value in (*values, state + seen, row["text"])))
    return table


@alerts.command()
def ack(number: Annotated[int, typer.Argument(metavar="ID", help="As `crypto alerts list` shows it.")]) -> None:
    """Acknowledge an alert: note that someone has seen it.

    Examples:

    - `crypto alerts ack 17`
    """
    with _store() as store:
        is_there = store.acknowledge(number)
    if not is_there:
        typer.echo(f"There is no alert {number}: `crypto alerts list --all` shows their ids.", err=True)
        raise typer.Exit(1)
    typer.echo(f"Alert {number} is acknowledged.")


@alerts.command()
def test(name: Annotated[str, typer.Argument(metavar="NAME", help="Of a rule in config/alerts.yaml.")]) -> None:
    """Send a test message of a rule to its destinations, and say what each answered; exit code 1 where one did not
    take it.

    Examples:

    - `crypto alerts test fast_move`
    """
    import uuid

    from alerts.delivery import Message, send
    from alerts.rules import load
    from shared.settings import settings

    file = load(settings().alerts_file)
    rule = file.rule(name)
    if rule is None:
        raise typer.BadParameter(f"There is no rule {name}; there are: {', '.join(each.name for each in file.rules)}.")
    if not rule.destinations:
        typer.echo(f"{name} has no destination: its alerts are kept, and `crypto alerts list` shows them.")
        return
    body = f"This is a test of the rule {name} ({rule.kind}). Nothing has happened."
    message = Message("test", rule.severity, f"Test: {name}", body, str(uuid.uuid4()))
    answers = {each: send(file.destinations[each].url.get_secret_value(), message) for each in rule.destinations}
    for destination, answer in answers.items():
        typer.echo(f"{destination}: {answer or 'taken'}")
    if any(answers.values()):
        raise typer.Exit(1)


@alerts.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="Else config/alerts.yaml.", show_default=False)] = None,
) -> None:
    """Say whether a file of rules is right; exit code 1, with line and reason, if not.

    Examples:

    - `crypto alerts check`
    - `crypto alerts check new.yaml`
    """
    from alerts.rules import AlertsFileError, load
    from shared.settings import settings

    path = file or settings().alerts_file
    try:
        found = load(path)
    except AlertsFileError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{path} is right: {len(found.rules)} rules, {len(found.destinations)} destinations.")


@contextmanager
def _store() -> "Iterator[Store]":
    """The alerts of this deployment; a sentence where the database does not answer."""
    import psycopg2

    from alerts.store import Store
    from shared.settings import settings

    try:
        store = Store(settings())
        try:
            yield store
        finally:
            store.close()
    except psycopg2.Error as error:
        typer.echo(f"The alerts cannot be read: {str(error).strip().splitlines()[0]}", err=True)
        raise typer.Exit(1) from None
