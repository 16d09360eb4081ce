"""The live events of a set of symbols, from all their exchanges: connections on one side, events on the other."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from shared.events import DeadLetter, DepthSnapshot, LiveEvent
from shared.settings import Settings
from shared.symbol_manager import Symbol
from streaming.connection import Connection, Frame
from streaming.exchange import Exchange, UnparsableMessage, check_exchanges, exchanges

log = logging.getLogger(__name__)

FRAMES_WAITING = 8192
"""Frames between the sockets and the parser, a few megabytes; when it is full, nothing more is read."""


class Feed:
    """Follows symbols. Frames are taken out by one thread, which makes events of them."""

    def __init__(
        self, settings: Settings, on_state: Callable[[str, bool], None] = lambda _name, _connected: None
    ) -> None:
        self._settings = settings
        self._on_state = on_state
        self._frames: SimpleQueue[Frame] = SimpleQueue()
        self._exchanges: dict[str, Exchange] = {}
        self._connections: dict[str, list[Connection]] = {}
        self._last_update: dict[tuple[str, str], int] = {}
        self._closing = threading.Event()

    def follow(self, symbols: Sequence[Symbol]) -> None:
        """Stream these symbols and no others; what is streamed already goes on undisturbed.

        Raises `SymbolsFileError` for an exchange that there is not, and then changes nothing.
        """
        check_exchanges(symbols)
        names = {name for symbol in symbols for name in symbol.exchanges}
        for name in sorted(names | self._connections.keys()):
            if name not in self._exchanges:
                self._exchanges[name] = exchanges()[name](*addresses(self._settings, name))
            exchange = self._exchanges[name]
            mine = [symbol for symbol in symbols if name in symbol.exchanges]
            exchange.learn(mine)
            self._connect(exchange, [exchange.channel(symbol, stream) for symbol in mine for stream in symbol.streams])

    def _connect(self, exchange: Exchange, channels: Sequence[str]) -> None:
        connections = self._connections.setdefault(exchange.name, [])
        loads = shared_out(
            channels, [connection.channels for connection in connections], exchange.channels_per_connection
        )
        added = loads[len(connections) :]
        for connection, load in zip(connections, loads, strict=False):
            if load != connection.channels:
                connection.channels = load
            if not load:
                connection.stop()
        connections[:] = [connection for connection in connections if connection.channels]
        for load in added:
            connection = Connection(exchange, load, self._deliver, self._on_state, hint(self._settings))
            connections.append(connection)
            connection.start()

    def _deliver(self, frame: Frame) -> None:
        while self._frames.qsize() >= FRAMES_WAITING and not self._closing.is_set():
            time.sleep(0.01)
        self._frames.put(frame)

    def take(self, timeout: float) -> Frame | None:
        """The next frame, or none within `timeout` seconds."""
        try:
            return self._frames.get(timeout=timeout)
        except Empty:
            return None

    def events(self, frame: Frame) -> list[LiveEvent] | DeadLetter:
        """What a frame says; a depth snapshot only where it is newer than the last of its symbol."""
        exchange = frame.exchange
        try:
            events = exchange.parse(frame.body, frame.received_at, frame.connection_id)
        except UnparsableMessage as error:
            return dead_letter(frame, str(error))
        return [event for event in events if not isinstance(event, DepthSnapshot) or self._is_newer(event)]

    def _is_newer(self, event: DepthSnapshot) -> bool:
        key = (event.exchange, event.symbol)
        if event.update_id <= self._last_update.get(key, -1):
            return False
        self._last_update[key] = event.update_id
        return True

    def close(self) -> None:
        """Close the sockets. What was received before can still be taken."""
        self._closing.set()
        connections = [connection for group in self._connections.values() for connection in group]
        for connection in connections:
            connection.stop()
        for connection in connections:
            connection.join(5)


def shared_out(channels: Sequence[str], current: Sequence[Sequence[str]], limit: int) -> list[tuple[str, ...]]:
    """How channels lie on connections of at most `limit`.

    Each stays where it is; new ones fill what is free, then new connections.
    """
    wanted = set(channels)
    loads = [[channel for channel in load if channel in wanted] for load in current]
    placed = {channel for load in loads for channel in load}
    waiting = [channel for channel in dict.fromkeys(channels) if channel not in placed]
    for load in loads:
        room = limit - len(load)
        load += waiting[:room]
        waiting = waiting[room:]
    loads += [waiting[start : start + limit] for start in range(0, len(waiting), limit)]
    return [tuple(load) for load in loads]


def dead_letter(frame: Frame, error: str) -> DeadLetter:
    """The frame, whole, with the reason; bytes that are no UTF-8 are written `\\xNN`."""
    return DeadLetter(
        exchange=frame.exchange.name,
        connection_id=frame.connection_id,
        received_at=frame.received_at,
        error=error,
        frame=frame.body.decode(errors="backslashreplace"),
    )


def addresses(settings: Settings, exchange: str) -> tuple[str, str, str]:
    """WebSocket, REST and archive address of an exchange where the settings say another than its own; else empty."""
    ws_url, rest_url, archive_url = (
        getattr(settings, f"{exchange}_{kind}_url", "") for kind in ("ws", "rest", "archive")
    )
    if settings.mode == "demo":
        simulator = settings.simulator_url
        return ws_url or settings.simulator_ws_url, rest_url or simulator, archive_url or simulator
    return ws_url, rest_url, archive_url


def hint(settings: Settings) -> str:
    """What to do when an exchange cannot be reached."""
    if settings.mode == "demo":
        return "Retrying; `crypto simulate` starts the simulated exchange"
    return "Retrying; `./deploy.sh --demo` streams a simulated market instead, without a network"
