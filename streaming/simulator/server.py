"""Puts the parts together behind one port."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import web

from streaming.simulator import SimulatorError, rest, truth, websocket
from streaming.simulator.archive import Archive
from streaming.simulator.checkpoint import open_market, save_market
from streaming.simulator.clock import Clock, ExchangeClock, utc_now
from streaming.simulator.controller import Controller
from streaming.simulator.hub import Hub
from streaming.simulator.live import Live
from streaming.simulator.market import Market
from streaming.simulator.replay import Recording, replay
from streaming.simulator.schedule import Entry
from streaming.simulator.sent import SentRecord
from streaming.simulator.stage import Stage

_SAVE_EVERY = 1.0


@dataclass(frozen=True)
class Options:
    """What to simulate and where."""

    port: int
    """0 takes a free one."""
    seed: int = 7
    rate: float = 2.0
    """Trades a second of the busiest symbol."""
    history_hours: int = 26
    """How long before its first start the market opened."""
    folder: Path | None = None
    """Keeps the market's opening and the record of what was sent; without it nothing outlives the process."""
    recordings: Sequence[Path] = ()
    """Files to replay instead of making a market; they leave the folder alone."""
    speed: float = 1.0
    """Of the replay: 1 as recorded, 0 as fast as the clients read."""
    host: str = "127.0.0.1"
    faults: Sequence[Entry] = ()
    """What goes wrong, from the start on."""


@contextlib.asynccontextmanager
async def running(options: Options, clock: Clock = utc_now) -> AsyncIterator[str]:
    """Serves while the context lasts; gives the `host:port`. Raises `SimulatorError` where it cannot."""
    kept = contextlib.ExitStack()
    right, clock = clock, ExchangeClock(clock)
    folder = None if options.recordings else options.folder
    market = None
    if not options.recordings:
        market = open_market(options.folder, options.seed, options.rate, options.history_hours, right())
    sent = SentRecord(folder)
    hub = Hub(sent)
    stage = Stage(hub, clock, sent, market, save=partial(_save, folder, market))
    controller = Controller(stage, options.seed)
    app = web.Application(middlewares=[rest.as_binance])
    app[rest.WEIGHTS_KEY] = rest.Weights()
    app[rest.FAULTS_KEY] = stage.rest
    app.add_routes([*websocket.routes(hub), *controller.routes()])
    if market is None:
        recording = Recording.load(options.recordings)
        app.add_routes([*recording.routes(clock), *truth.routes(recording, sent)])
        send = partial(replay, recording, hub, options.speed)
    else:
        app.add_routes([*rest.market_routes(market, clock), *truth.routes(truth.MarketTruth(market, clock), sent)])
        files = options.folder / "archive" if options.folder else Path(kept.enter_context(TemporaryDirectory()))
        app.add_routes(Archive(market, clock, stage.archive, files).routes())
        send = partial(Live(market, hub, clock).run)
    controller.follow(options.faults)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    tasks: list[asyncio.Task[None]] = []
    try:
        listener = listen(options.host, options.port, "set SIMULATOR_PORT to another")
        await web.SockSite(runner, listener).start()
        host, port = listener.getsockname()[:2]
        tasks = [asyncio.create_task(send()), asyncio.create_task(_keep_saved(sent))]
        with _failing_with(tasks):
            yield f"{host}:{port}"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await controller.end()
        await runner.cleanup()
        sent.save()
        kept.close()


def _save(folder: Path | None, market: Market | None) -> None:
    if folder and market:
        save_market(folder, market)


@contextlib.contextmanager
def _failing_with(tasks: list[asyncio.Task[None]]) -> Iterator[None]:
    """Ends what is inside when a task fails, with its error: who no longer sends must not look alive."""
    owner = asyncio.current_task()
    failures: list[BaseException] = []

    def note(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error and owner:
            failures.append(error)
            owner.cancel()

    for task in tasks:
        task.add_done_callback(note)
    try:
        yield
    except asyncio.CancelledError:
        if failures:
            raise failures[0] from None
        raise


def serve(options: Options, announce: Callable[[str], None] = print) -> None:
    """Serves until SIGTERM or SIGINT; announces that it listens. Raises `SimulatorError` where it cannot."""
    asyncio.run(_serve(options, announce))


async def _serve(options: Options, announce: Callable[[str], None]) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with running(options) as address:
        what = "replay of " + ", ".join(path.name for path in options.recordings) if options.recordings else "market"
        announce(f"Simulated exchange ({what}) listens on ws://{address}/stream and http://{address}/api/v3")
        await ended.wait()


def listen(host: str, port: int, cure: str) -> socket.socket:
    """A socket that listens. Raises `SimulatorError` with the cure where it cannot."""
    try:
        return socket.create_server((host, port), backlog=128)
    except OSError as error:
        raise SimulatorError(
            f"Port {port} on {host} cannot be taken ({os.strerror(error.errno or 0)}): "
            f"end the program that has it, or {cure}."
        ) from None


async def _keep_saved(sent: SentRecord) -> None:
    while True:
        await asyncio.sleep(_SAVE_EVERY)
        sent.save()
