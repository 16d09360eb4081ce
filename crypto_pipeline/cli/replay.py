"""`crypto replay`: an archived range once more through today's parsers."""

from typing import Annotated

import typer


def replay(
    start: Annotated[str, typer.Option("--from", help="UTC: 2026-11-21T10:00 or '2026-11-21 10:00'.")],
    end: Annotated[str, typer.Option("--to", help="UTC; not included.")],
    symbol: Annotated[str, typer.Option(help="Just this symbol, such as BTCUSDT.")] = "",
    exchange: Annotated[str, typer.Option(help="Just this exchange.")] = "",
) -> None:
    """Send what was received in a range of time through today's parsers again, from the raw archive into Kafka.

    For when a parser was corrected: the events go by the same topics, keep their first source and times, and replace
    what is in bronze. Where the parsers did not change, the tables do not change either. It may be stopped: the same
    command goes on where it was.

    Examples:

    - `crypto replay --from 2026-11-21T10:00 --to 2026-11-21T12:00`
    - `crypto replay --from '2026-11-20 00:00' --to '2026-11-21 00:00' --symbol BTCUSDT`
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from crypto_pipeline.cli import _times
    from shared.settings import settings
    from shared.symbol_manager import named_symbols
    from streaming.replay import Range, ReplayError
    from streaming.replay import replay as send_again

    wanted = Range(_times.micros("--from", start), _times.micros("--to", end), exchange or None, symbol.upper() or None)
    if wanted.start >= wanted.end:
        raise typer.BadParameter("--to must be later than --from.")
    chosen = settings()
    columns = (TextColumn("replaying"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("replaying", total=None)
            done = send_again(
                chosen,
                wanted,
                named_symbols(chosen.symbols_file),
                lambda sent, total: progress.update(task, completed=sent, total=total),
            )
    except ReplayError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command goes on where it was.", err=True)
        raise typer.Exit(130) from None
    streams = ", ".join(f"{count:,} {stream}" for stream, count in sorted(done.events.items())) or "none"
    typer.echo(f"{wanted}: {done.frames:,} frames in {done.seconds:.0f} s; events sent again: {streams}.")
    if done.earlier:
        typer.echo(f"{done.earlier} hours of a symbol had been sent by an earlier run that was stopped.")
    if done.refused:
        typer.echo(f"{done.refused:,} frames are not understood by today's parsers either, and were not sent.")
