"""`crypto symbols`: what is streamed."""

from pathlib import Path
from typing import Annotated

import typer


def symbols(
    check: Annotated[Path | None, typer.Option(help="Say whether this file is right; exit code 1 if not.")] = None,
) -> None:
    """Show what `config/symbols.yaml` streams, the most important first.

    Saving that file changes the running service within seconds. A wrong file is refused whole, and changes nothing:
    `--check` tells beforehand.

    Examples:

    - `crypto symbols`
    - `crypto symbols --check config/symbols.yaml`
    """
    from rich.console import Console
    from rich.table import Table

    from shared.settings import settings
    from shared.symbol_manager import SymbolsFileError, load_symbols, topic
    from streaming.exchange import check_exchanges

    if check is not None:
        try:
            entries = load_symbols(check)
            check_exchanges(entries)
        except SymbolsFileError as error:
            typer.echo(error, err=True)
            raise typer.Exit(1) from None
        typer.echo(f"{check} is right: {len(entries)} symbols, {sum(len(entry.streams) for entry in entries)} streams.")
        return

    table = Table(box=None, pad_edge=False)
    for column in ("symbol", "name", "priority", "exchanges", "streams", "topic"):
        table.add_column(column, overflow="fold")
    for entry in load_symbols(settings().symbols_file, settings().active_symbols):
        table.add_row(
            entry.symbol,
            entry.name,
            str(entry.priority),
            " ".join(entry.exchanges),
            " ".join(entry.streams),
            settings().kafka_topic or topic(entry.symbol),
        )
    Console().print(table)
