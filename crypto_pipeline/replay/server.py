"""Serves a stored range behind one port."""

from collections.abc import Callable
from typing import NamedTuple

from aiohttp import WSCloseCode, web

from crypto_pipeline.replay.market import Market
from crypto_pipeline.replay.player import Player
from crypto_pipeline.replay.rest import routes
from crypto_pipeline.replay.stored import Stored
from streaming.simulator import rest, websocket
from streaming.simulator.hub import Hub
from streaming.simulator.sent import SentRecord
from streaming.simulator.server import listen
from streaming.simulator.stage import RestFaults

LINGER_SECONDS = 5.0
"""How long connections stay open after the last message: when one is closed, a client may drop what waits in it."""


class Options(NamedTuple):
    """How to play."""

    host: str
    port: int
    """0 takes a free one."""
    speed: float | None
    """None: as fast as it is read."""
    at_once: bool = False
    """Without waiting for a subscription."""


async def serve(
    stored: Stored,
    options: Options,
    announce: Callable[[str], None],
    says: Callable[[str], None] = lambda _line: None,
    on_progress: Callable[[int], None] = lambda _now: None,
) -> int:
    """Plays what was found once, and gives how many messages; soon after, the connections are closed.

    `announce` gets the `host:port`, `says` each stream that is asked for and not stored, `on_progress` the clock.
    Raises `SimulatorError` where the port cannot be taken, and `LakeError` and `ReplayError` where reading fails.
    """
    stored_streams = {stream for counts in stored.found.streams.values() for stream in counts}

    def asked(stream: str) -> None:
        if stream not in stored_streams:
            own = stored.found.streams.get(stream.partition("@")[0].upper(), ())
            there = ", ".join(sorted(own)) or "nothing of that symbol"
            name = "".join(filter(str.isprintable, stream))
            says(f"{name} is asked for and not stored in this range, so it stays silent. There is: {there}.")

    hub = Hub(SentRecord(None))
    player = Player(hub, stored.found.first, options.speed, asked)
    app = web.Application(middlewares=[rest.as_binance])
    app[rest.WEIGHTS_KEY] = rest.Weights(lambda: player.now() / 1_000_000)
    app[rest.FAULTS_KEY] = RestFaults()
    app.add_routes([*websocket.routes(hub), *routes(Market(stored), player.now)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        listener = listen(options.host, options.port, "choose another with --port")
        await web.SockSite(runner, listener).start()
        host, port = listener.getsockname()[:2]
        announce(f"{host}:{port}")
        if not options.at_once:
            await player.someone_listens(stored_streams)
        await player.play(stored.messages(), on_progress)
        await player.readers_leave(LINGER_SECONDS)
        for client in list(hub.clients):
            client.end(WSCloseCode.OK, "The replay is over")
    finally:
        await runner.cleanup()
    return player.sent
