"""`crypto stream`: live events on the screen, or the streaming service."""

from typing import Annotated

import typer


def stream(
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the events; no Kafka is needed.")] = False,
    symbols: Annotated[str, typer.Option(help="Comma-separated symbols instead of those of symbols.yaml.")] = "",
    streams: Annotated[str, typer.Option(help="Some of trade,ticker,kline_1m,depth5 (with --stdout).")] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as in Kafka (with --stdout).")] = False,
    limit: Annotated[int, typer.Option(min=0, help="End after so many events (with --stdout); 0: never.")] = 0,
) -> None:
    """Stream live market data from the exchanges.

    With `--stdout` it needs nothing but the network: no Kafka, no deployment. Without it, it is the streaming service
    that `deploy.sh` runs: from the exchanges of `config/symbols.yaml` into Kafka.

    Examples:

    - `crypto stream --stdout`
    - `crypto stream --stdout --symbols BTCUSDT,ETHUSDT --streams trade`
    - `crypto stream --stdout --json --limit 100 > events.jsonl`
    - `CRYPTO_MODE=demo crypto stream --stdout` (from the simulated market: see `crypto simulate`)
    """
    from shared.settings import settings

    if not stdout:
        if streams or json or limit:
            raise typer.BadParameter("--streams, --json and --limit go with --stdout; the service reads symbols.yaml.")
        from streaming.service import serve

        raise typer.Exit(
            serve(settings().as_account("streaming").model_copy(update={"active_symbols": symbols} if symbols else {}))
        )

    from streaming.console import chosen, print_events

    try:
        wanted = chosen(settings(), symbols, streams)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    print_events(settings(), wanted, json=json, limit=limit)
