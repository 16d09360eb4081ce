"""The live events of a set of symbols, from all their exchanges: connections on one side, events on the other."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue

from shared.events import ConnectionReport, DeadLetter, DepthSnapshot, LiveEvent
from shared.settings import Settings
from shared.symbol_manager import Symbol
from streaming.connection import Frame, Received
from streaming.coverage import Carried, Coverage, Dropped, Followed, Key, Notice, Outage, Over, Restored
from streaming.exchange import Exchange, UnparsableMessage, check_exchanges, exchanges
from streaming.fleet import Fleet
from streaming.watchdog import Watchdog

log = logging.getLogger(__name__)

HIGH_PRIORITY = 10
"""Symbols up to this priority do not share a connection with the mass, where one connection is not enough."""
LETTER_CHARACTERS = 100_000
"""What a dead letter keeps of a frame: however it is written, it is below the 1 MB that Kafka takes."""
ERROR_CHARACTERS = 1000
BOOK_RESET_SECONDS = 10
"""A book whose update ids are lower than the last for so long was begun anew by the exchange."""
CLOSE_SECONDS = 5


class Feed:
    """Follows symbols. What comes is taken out by one thread, which makes events of frames and calls `tick`."""

    def __init__(
        self, settings: Settings, on_state: Callable[[str, bool], None] = lambda _name, _connected: None
    ) -> None:
        self._settings = settings
        self._on_state = on_state
        self._queue: SimpleQueue[Received] = SimpleQueue()
        self._exchanges: dict[str, Exchange] = {}
        self._fleets: dict[str, Fleet] = {}
        self._coverage = Coverage()
        self._watchdog = Watchdog()
        self._symbols: dict[Key, Symbol] = {}
        self._ready: deque[Outage | Restored] = deque()
        self._last_update: dict[tuple[str, str], tuple[int, int]] = {}
        self._last_received = self._looked_until = 0

    def follow(self, symbols: Sequence[Symbol]) -> None:
        """Stream these symbols and no others; what is streamed already goes on undisturbed.

        Raises `SymbolsFileError` for an exchange that there is not, and then changes nothing.
        """
        check_exchanges(symbols)
        names = {name for symbol in symbols for name in symbol.exchanges}
        for name in sorted(names | self._fleets.keys()):
            if name not in self._exchanges:
                self._exchanges[name] = exchanges()[name](*addresses(self._settings, name))
            exchange = self._exchanges[name]
            mine = [symbol for symbol in symbols if name in symbol.exchanges]
            exchange.learn(mine)
            channels = [exchange.channel(symbol, stream) for symbol in mine for stream in symbol.streams]
            first = {
                exchange.channel(symbol, stream)
                for symbol in mine
                if symbol.priority <= HIGH_PRIORITY
                for stream in symbol.streams
            }
            self._queue.put(Followed(name, tuple(channels)))
            if name not in self._fleets:
                self._fleets[name] = Fleet(exchange, self._queue, self._on_state, hint(self._settings))
                self._fleets[name].start()
            self._fleets[name].follow(channels, first)

    def take(self, timeout: float) -> Frame | Outage | Restored | ConnectionReport | None:
        """The next frame, or what is to be known of its connections, in order; none within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            if self._ready:
                return self._ready.popleft()
            try:
                received = self._queue.get(timeout=max(0.0, timeout))
            except Empty:
                return None
            if isinstance(received, Frame):
                return received
            if isinstance(received, ConnectionReport):
                return received
            self._note(received)
            timeout = deadline - time.monotonic()

    def _note(self, notice: Notice) -> None:
        match notice:
            case Followed(exchange, channels):
                for key in self._coverage.follow(exchange, self._keys(exchange, channels)):
                    self._watchdog.leave(key)
            case Carried(exchange, connection_id, channels, at):
                keys = self._keys(exchange, channels)
                self._restore(exchange, self._coverage.carry(connection_id, keys), at)
                for key in keys:
                    if self._coverage.is_carried(key):
                        self._watchdog.cover(key, at)
            case Dropped(exchange, connection_id, channels, at):
                lost = self._coverage.drop(connection_id, self._keys(exchange, channels))
                self._lose(exchange, lost, at, "it was unsubscribed, and is wanted again")
            case Over(exchange, connection_id, at, reason):
                self._lose(exchange, self._coverage.end(connection_id), at, reason)

    def _keys(self, exchange: str, channels: Iterable[str]) -> list[Key]:
        keys = []
        for channel in channels:
            stream, symbol = self._exchanges[exchange].channels[channel]
            key = Key(exchange, symbol.symbol, stream)
            self._symbols[key] = symbol
            keys.append(key)
        return keys

    def _lose(self, exchange: str, keys: Sequence[Key], at: int, reason: str) -> None:
        for key in keys:
            self._watchdog.leave(key)
        if keys:
            self._ready.append(Outage(exchange, self._series(keys), at, reason, "disconnect"))

    def _restore(self, exchange: str, keys: Sequence[Key], at: int) -> None:
        if keys:
            self._ready.append(Restored(exchange, self._series(keys), at))

    def _series(self, keys: Iterable[Key]) -> tuple[tuple[Symbol, str], ...]:
        return tuple((self._symbols[key], key.stream) for key in keys)

    def tick(self, now: int) -> None:
        """Look for series that fell silent, or come again; to be called about once a second, with the time in
        microseconds. What is found comes out of `take`."""
        if self._queue.empty():
            self._looked_until = now
        else:  # silence is what the exchange did not send, not what we have not looked at yet
            now = min(now, max(self._last_received, self._looked_until))
        heard = self._watchdog.heard
        for key, since in list(self._coverage.silent.items()):
            if since > now:  # our clock went back
                self._coverage.silent[key] = now
            elif heard.get(key, 0) > since:
                self._restore(key.exchange, self._coverage.hear(key), heard[key])
        for key, since in self._watchdog.tick(now):
            symbol = self._symbols[key]
            reason = f"{key.symbol} {key.stream}: nothing came for {(now - since) / 1_000_000:.0f} s"
            if self._coverage.fall_silent(key, since):
                log.warning("%s: %s; opening another connection for it", key.exchange, reason)
                self._ready.append(Outage(key.exchange, ((symbol, key.stream),), since, reason, "silence"))
            channel = self._exchanges[key.exchange].channel(symbol, key.stream)
            self._fleets[key.exchange].replace([channel], reason)

    def parsed(self, frame: Frame) -> list[LiveEvent] | DeadLetter:
        """What a frame says."""
        exchange, received_at = frame.exchange, frame.received_at
        self._last_received = received_at
        try:
            events = exchange.parse(frame.body, received_at, frame.connection_id)
        except UnparsableMessage as error:
            return dead_letter(frame, str(error))
        for event in events:
            self._watchdog.heard[event.exchange, event.symbol, event.stream] = received_at
        return events

    def news(self, events: list[LiveEvent], received_at: int) -> list[LiveEvent]:
        """Of the events of a frame, a depth snapshot only where it is newer than the last of its symbol."""
        return [event for event in events if not isinstance(event, DepthSnapshot) or self._is_newer(event, received_at)]

    def events(self, frame: Frame) -> list[LiveEvent] | DeadLetter:
        """What a frame says that is new."""
        parsed = self.parsed(frame)
        return parsed if isinstance(parsed, DeadLetter) else self.news(parsed, frame.received_at)

    def _is_newer(self, event: DepthSnapshot, received_at: int) -> bool:
        """Older ones come late from the other of two connections. If none but older ones come for a while, the
        exchange has begun to count anew, and goes on from there; a book that stands still repeats its last id."""
        key = (event.exchange, event.symbol)
        last, at = self._last_update.get(key, (-1, 0))
        if event.update_id < last and received_at - at < BOOK_RESET_SECONDS * 1_000_000:
            return False
        self._last_update[key] = (event.update_id, received_at)
        return event.update_id != last

    def close(self) -> None:
        """Close the sockets. What was received before can still be taken."""
        for name, fleet in self._fleets.items():
            self._queue.put(Followed(name, ()))
            fleet.close()
        deadline = time.monotonic() + CLOSE_SECONDS
        for fleet in self._fleets.values():
            fleet.wait_closed(max(0.0, deadline - time.monotonic()))


def dead_letter(frame: Frame, error: str) -> DeadLetter:
    """The frame with the reason, as `letter` writes them."""
    return letter(frame.exchange.name, frame.connection_id, frame.received_at, error, frame.body)


def letter(exchange: str, connection_id: str, received_at: int, error: str, body: bytes) -> DeadLetter:
    """What is refused, whole, with the reason; bytes that are no UTF-8 are written `\\xNN`.

    Of one that Kafka would not take it is the beginning: only the raw archive has it whole.
    """
    if len(error) > ERROR_CHARACTERS:
        error = f"{error[:ERROR_CHARACTERS]}…"
    if len(body) > LETTER_CHARACTERS:
        error = f"{error} (of {len(body)} bytes these are the first; the raw archive has all)"
    frame = body[:LETTER_CHARACTERS].decode(errors="backslashreplace")[:LETTER_CHARACTERS]
    return DeadLetter(exchange=exchange, connection_id=connection_id, received_at=received_at, error=error, frame=frame)


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
