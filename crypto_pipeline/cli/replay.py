"""`crypto replay`: a stored range once more, through today's parsers, or to a bot."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from crypto_pipeline.replay.stored import Found, Wanted
    from streaming.replay import Range

_SPEED, _PORT = "1", 8110


def replay(
    start: Annotated[str, typer.Option("--from", help="UTC: 2026-11-21T10:00 or '2026-11-21 10:00'.")],
    end: Annotated[str, typer.Option("--to", help="UTC; not included.")],
    symbol: Annotated[str, typer.Option(help="Just this symbol, such as BTCUSDT; with --serve also A,B.")] = "",
    exchange: Annotated[str, typer.Option(help="Just this exchange.")] = "",
    serve: Annotated[bool, typer.Option("--serve", help="Play it to a bot, as Binance's WebSocket and REST.")] = False,
    speed: Annotated[str, typer.Option(help="With --serve: 1, 10, or max, as fast as it is read.")] = _SPEED,
    port: Annotated[int, typer.Option(min=0, max=65535, help="With --serve: where; 0 takes a free one.")] = _PORT,
    now: Annotated[bool, typer.Option("--now", help="With --serve: do not wait for a subscription.")] = False,
) -> None:
    """Send a stored range again: through today's parsers, or with --serve to a bot.

    Without `--serve`, what was received goes through today's parsers again, from the raw archive into Kafka. For when a
    parser was corrected: the events go by the same topics, keep their first source and times, and replace what is in
    bronze. Where the parsers did not change, the tables do not change either. It may be stopped: the same command goes
    on where it was.

    With `--serve`, a bot is tested by changing one address: the range is played as Binance's own WebSocket and REST, in
    the order in which it was received. The clock starts when the bot has subscribed. docs/recipes/test-a-bot.md says
    more.

    Examples:

    - `crypto replay --from 2026-11-21T10:00 --to 2026-11-21T12:00`
    - `crypto replay --from '2026-11-20 00:00' --to '2026-11-21 00:00' --symbol BTCUSDT`
    - `crypto replay --serve --from 2026-11-21T10:00 --to 2026-11-21T12:00 --symbol BTCUSDT --speed 10`
    """
    from crypto_pipeline.cli import _times
    from streaming.replay import Range

    wanted = Range(_times.micros("--from", start), _times.micros("--to", end), exchange or None, symbol.upper() or None)
    if wanted.start >= wanted.end:
        raise typer.BadParameter("--to must be later than --from.")
    if not serve and (speed != _SPEED or port != _PORT or now):
        raise typer.BadParameter("--speed, --port and --now are of --serve: add that.")
    if serve:
        _serve(wanted, _speed(speed), port, at_once=now)
    else:
        _send_again(wanted)


def _speed(text: str) -> float | None:
    """None is as fast as it is read."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.001 <= speed <= 100_000:
        raise typer.BadParameter(f"--speed {text} is none: write 1 as received, 10 for ten times as fast, or max.")
    return speed


def _send_again(wanted: "Range") -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from shared.settings import settings
    from shared.symbol_manager import named_symbols
    from streaming.replay import ReplayError
    from streaming.replay import replay as send_again

    chosen = settings()
    if gone := _expired(wanted, ("raw",)):
        typer.echo(gone, err=True)
        raise typer.Exit(1)
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


def _expired(wanted: "Range", names: Sequence[str]) -> str:
    """What of the range has expired of the raw archive or of tables, in a sentence; empty where nothing has."""
    from crypto_pipeline import utc
    from crypto_pipeline.expired import RAW, expired, told
    from crypto_pipeline.reader import LakeError
    from shared.settings import settings

    try:
        record = expired(settings())
    except LakeError:  # of which the replay itself speaks
        return ""
    start, end = utc.moment_of(wanted.start), utc.moment_of(wanted.end)
    symbols = [name.strip() for name in (wanted.symbol or "").split(",") if name.strip()]
    for name in names:
        is_raw = name == RAW
        days = record.of_raw(wanted.exchange, symbols) if is_raw else record.of_table(name)
        if said := told("the raw archive" if is_raw else name, days, start, end):
            return said
    return ""


def _serve(range_: "Range", speed: float | None, port: int, *, at_once: bool) -> None:
    import asyncio
    import time

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from crypto_pipeline import utc
    from crypto_pipeline.expired import TABLES
    from crypto_pipeline.lake_part import shown
    from crypto_pipeline.reader import LakeError
    from crypto_pipeline.replay.server import Options, serve
    from crypto_pipeline.replay.stored import EXCHANGE, Stored, Wanted
    from shared.settings import settings
    from streaming.replay import ReplayError
    from streaming.simulator import SimulatorError

    if range_.exchange not in (None, EXCHANGE):
        raise typer.BadParameter(f"--serve speaks Binance's protocol: leave --exchange {range_.exchange} out.")
    symbols = dict.fromkeys(name.strip() for name in (range_.symbol or "").split(",") if name.strip())
    wanted, chosen = Wanted(range_.start, range_.end, tuple(symbols)), settings()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    waits = "Now" if at_once else "Waiting for a subscription"
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("looking", total=None)
            stored = Stored(chosen, wanted)
            found = stored.look(lambda done, total: progress.update(task, completed=done, total=total))

            def says(line: str) -> None:
                progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

            def announce(address: str) -> None:
                for line in _found(wanted, found):
                    says(line)
                if gone := _expired(range_, TABLES):
                    says(gone)
                typer.echo(f"WebSocket  ws://{address}    instead of wss://stream.binance.com:9443")
                typer.echo(f"REST       http://{address}  instead of https://api.binance.com")
                progress.update(task, description=f"{waits}; Ctrl-C ends it", completed=0, total=None)

            def reached(at: int) -> None:
                text = shown(utc.moment_of(at // 1_000_000 * 1_000_000))
                done, span = at - found.first, found.last - found.first
                progress.update(task, description=text, completed=done, total=max(span, 1))

            options = Options(chosen.bind_address, port, speed, at_once)
            began = time.monotonic()
            played = asyncio.run(serve(stored, options, announce, says, reached))
    except (ReplayError, LakeError, SimulatorError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("Stopped.", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"The replay is over: {played:,} messages, {time.monotonic() - began:.0f} s after the start.")


def _found(wanted: "Wanted", found: "Found") -> list[str]:
    """What will be played, line by line."""
    from crypto_pipeline import utc
    from crypto_pipeline.lake_part import shown

    lines = [
        f"{symbol}: " + ", ".join(f"{count:,} {name.partition('@')[2]}" for name, count in sorted(counts.items()))
        for symbol, counts in sorted(found.streams.items())
    ]
    made = found.count - found.archived
    lines.append(f"{found.count:,} messages: {found.archived:,} as received; {made:,} made of bronze's rows.")
    first, last = (shown(utc.moment_of(at)) for at in (found.first, found.last))
    if found.first - wanted.start > 60_000_000 or wanted.end - found.last > 60_000_000:
        lines.append(f"Of {wanted} there is what was received from {first} to {last}, and that is played.")
    if found.nameless:
        lines.append(f"{found.nameless:,} archived frames name no stream, and are not played.")
    if found.holes:
        holes = ", ".join(f"{minutes} of {symbol}" for symbol, minutes in sorted(found.holes.items()))
        lines.append(f"Minutes in which trades are missing (silver.completeness): {holes}.")
    return lines
