"""`crypto backfill`: a range of the past from the exchange."""

from datetime import datetime
from typing import Annotated, Literal

import typer


def backfill(
    symbol: Annotated[str, typer.Option(help="One or more, comma-separated; they need not be in symbols.yaml.")],
    start: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day, UTC.")],
    end: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day, UTC, inclusive.")],
    kind: Annotated[Literal["klines", "trades"], typer.Option(help="One-minute klines, or single trades.")] = "klines",
    exchange: Annotated[str, typer.Option(help="The market.")] = "binance",
    base: Annotated[str, typer.Option(help="Base asset, where one symbol does not tell.")] = "",
    quote: Annotated[str, typer.Option(help="Quote asset, where one symbol does not tell.")] = "",
    bronze_only: Annotated[bool, typer.Option("--bronze-only", help="Leave silver to the pipeline.")] = False,
) -> None:
    """Fetch a range of days: from the exchange's public archive, and by REST what that does not have.

    Days that are there whole are skipped, so the same command goes on where it was interrupted. Nothing that is stored
    is ever changed. A running pipeline may stay.

    Examples:

    - `crypto backfill --symbol BTCUSDT,ETHUSDT --from 2026-01-01 --to 2026-10-31`
    - `crypto backfill --symbol BTCUSDT --from 2026-11-18 --to 2026-11-19 --kind trades`
    """
    import tempfile
    from datetime import timedelta
    from pathlib import Path

    from crypto_pipeline.cli import _history
    from crypto_pipeline.cli._lake import connected
    from crypto_pipeline.history import backfill as past
    from crypto_pipeline.history.fetch import FetchError, Piece, Source
    from crypto_pipeline.history.importing import build_on
    from crypto_pipeline.history.staging import Staging
    from shared.settings import settings
    from streaming.exchange import exchanges
    from streaming.feed import addresses
    from streaming.rest import RestClient

    if exchange not in exchanges():
        raise typer.BadParameter(f"There is no exchange {exchange}; there is {', '.join(sorted(exchanges()))}.")
    if end < start:
        raise typer.BadParameter("--to is before --from.")
    pairs = [_history.symbol_of(name, base, quote) for name in symbol.split(",") if name.strip()]
    where = exchanges()[exchange](*addresses(settings(), exchange))
    with (
        _history.explained(),
        tempfile.TemporaryDirectory() as folder,
        RestClient(where, shared=settings().bans) as rest,
        connected(settings(), "backfill") as lake,
    ):
        staging = Staging(settings())
        staging.sweep()
        pieces = [
            piece
            for pair in pairs
            for piece in past.missing(
                lake, Piece(kind, pair, start.date(), (end + timedelta(days=1)).date()), where.name
            )
        ]
        if not pieces:
            typer.echo("Every day of this is there: nothing is fetched.", err=True)
        with _history.Bar("reading", sum((piece.end - piece.start).days for piece in pieces)) as bar:
            source = Source(
                where,
                rest,
                Path(folder),
                warn=bar.print,
                did=lambda days: bar.advance(len(days)),
            )
            faults: list[str] = []

            def failed(piece: Piece, error: Exception) -> None:
                faults.append(f"{piece.symbol} from {piece.start} on: {error}")
                bar.print(faults[-1])

            done = past.backfill(lake, staging, source, pieces, bar.print, failed)
            if not bronze_only:
                build_on(lake, kind, done, bar.says)
        _history.summary(done, kind)
        if faults:
            raise FetchError(f"{len(faults)} of {len(pieces)} pieces could not be had: the same command goes on.")
