"""`crypto doctor`: what would stop a deployment or break an exchange's limit, and how to mend it."""

import json as to_json
from typing import Annotated

import typer


def doctor(
    json: Annotated[bool, typer.Option("--json", help="The checks as JSON, for scripts.")] = False,
) -> None:
    """Check this machine, the settings, and the exchanges, and say how to mend what is wrong.

    Ends with 1 where a fault would stop a deployment; a warning would not.

    Examples:

    - `crypto doctor`
    - `crypto doctor --json`
    """
    from rich.console import Console
    from rich.table import Table

    from crypto_pipeline.cli._checks import checks

    found = list(checks())
    if json:
        typer.echo(to_json.dumps([check._asdict() for check in found], indent=2))
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        colours = {"ok": "green", "warning": "yellow", "fault": "bold red"}
        for check in found:
            table.add_row(f"[{colours[check.state]}]{check.state}[/]", check.what, check.message)
        Console().print(table)
    if any(check.state == "fault" for check in found):
        raise typer.Exit(1)
