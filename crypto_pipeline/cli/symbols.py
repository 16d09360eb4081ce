"""`crypto symbols`: what is streamed."""

from pathlib import Path
from typing import Annotated

import typer


def symbols(
    check: Annotated[Path | None, typer.Option(help="Say whether this file is right; exit code 1 if not.")] = None,
) -> None:
    """Show what `config/symbols.yaml` streams, the most important first, and its selectors.

    Saving that file changes the running service within seconds. A wrong file is refused whole, and changes nothing:
    `--check` tells beforehand.

    Examples:

    - `crypto symbols`
    - `crypto symbols --check config/symbols.yaml`
    """
    from rich.console import Console
    from rich.table import Table

    from shared.settings import settings
    from shared.symbol_manager import SymbolsFileError, load_watchlist, topic
    from streaming.exchange import check_exchanges

    if check is not None:
        try:
            watchlist = load_watchlist(check)
            check_exchanges([*watchlist.symbols, *watchlist.selectors])
        except SymbolsFileError as error:
            typer.echo(error, err=True)
            raise typer.Exit(1) from None
        what = [
            f"{len(watchlist.symbols)} symbols",
            f"{sum(len(entry.streams) for entry in watchlist.symbols)} streams",
        ]
        what += [f"and of {selector.quote} the {selector.top} largest" for selector in watchlist.selectors]
        typer.echo(f"{check} is right: {', '.join(what)}.")
        return

    watchlist = load_watchlist(settings().symbols_file, settings().active_symbols)
    rows = [
        (entry, entry.symbol, entry.name, settings().kafka_topic or topic(entry.symbol)) for entry in watchlist.symbols
    ] + [
        (
            selector,
            str(selector),
            f"the {selector.top} largest by turnover, each day",
            settings().kafka_topic or "each its own",
        )
        for selector in watchlist.selectors
    ]
    table = Table(box=None, pad_edge=False)
    for column in ("symbol", "name", "priority", "exchanges", "streams", "topic"):
        table.add_column(column, overflow="fold")
    for entry, symbol, name, where in rows:
        table.add_row(symbol, name, str(entry.priority), " ".join(entry.exchanges), " ".join(entry.streams), where)
    Console().print(table)
