"""One WebSocket to an exchange, kept alive: connect, subscribe at the pace that is allowed, read, and connect again.

A thread reads; it does nothing else with a frame than to note the time and hand it on.
"""

import errno
import logging
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import websocket

from streaming.exchange import Exchange

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10
TICK_SECONDS = 0.2
"""How soon a change of subscriptions is noticed on a quiet connection."""
LONGEST_WAIT_SECONDS = 30
STALE_SECONDS = 30
"""After so long without reading, what the socket still holds is too old to be dated now."""
ROTATE_SECONDS_BEFORE = 600


class Frame(NamedTuple):
    """A message as it came."""

    exchange: Exchange
    body: bytes
    received_at: int
    connection_id: str


class Ended(Exception):  # noqa: N818 (an end, not always an error)
    """A connection that is over; the message says why. `at_once` where the next one need not wait."""

    def __init__(self, reason: str, at_once: bool = False) -> None:
        super().__init__(reason)
        self.at_once = at_once


class Connection(threading.Thread):
    """Reads the wanted channels of one exchange until it is stopped; `deliver` gets each frame and may block."""

    def __init__(
        self,
        exchange: Exchange,
        channels: Sequence[str],
        deliver: Callable[[Frame], None],
        on_state: Callable[[str, bool], None],
        hint: str,
    ) -> None:
        super().__init__(name=f"{exchange.name}-connection", daemon=True)
        self.exchange = exchange
        self.channels = tuple(channels)
        """What is wanted; it may be replaced at any time, and the live connection follows."""
        self._deliver = deliver
        self._on_state = on_state
        self._hint = hint
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ask the thread to close its socket and end."""
        self._stopping.set()

    def run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            session = _Session(self.exchange, self._stopping)
            at_once = False
            try:
                address = session.open(self.channels)
                log.info("%s: connected to %s (%d channels)", self.exchange.name, address, len(self.channels))
                self._on_state(self.exchange.name, True)
                session.read(lambda: self.channels, self._deliver)
            except Ended as end:
                at_once = end.at_once
                log.warning("%s: %s; connecting again", self.exchange.name, end)
            except (websocket.WebSocketException, OSError) as error:
                log.warning("%s: %s. %s", self.exchange.name, explained(error, self.exchange.base_ws_url), self._hint)
            except Exception:  # a connection that ended silently would be the worst of all
                log.exception("%s: the connection failed unexpectedly", self.exchange.name)
            finally:
                session.close()
            if session.opened:
                self._on_state(self.exchange.name, False)
            failures = 0 if session.received else failures + 1
            if not at_once:
                self._stopping.wait(backoff_seconds(failures))


def backoff_seconds(failures: int) -> float:
    """How long to wait before connecting again: doubled with each failure from a second up to half a minute, at random
    between half and whole so that many clients do not come back at the same moment."""
    longest = min(LONGEST_WAIT_SECONDS, 2.0 ** min(failures, 10))
    return longest * random.uniform(0.5, 1)  # noqa: S311 (no secret)


def explained(error: Exception, url: str) -> str:
    """Why the exchange at `url` cannot be read, in one clause."""
    host = url.split("://")[-1].split("/")[0]
    if isinstance(error, websocket.WebSocketBadStatusException):
        if error.status_code in (403, 451):
            return f"{host} refuses this place (HTTP {error.status_code}): it does not serve every country or network"
        return f"{host} answered HTTP {error.status_code} instead of opening a WebSocket"
    if isinstance(error, websocket.WebSocketAddressException | socket.gaierror):
        return f"the name {host.split(':')[0]} cannot be resolved: no network, or no DNS"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {host}"
    if isinstance(error, websocket.WebSocketTimeoutException | TimeoutError):
        return f"{host} does not answer"
    if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return f"{host} cannot be reached: no network"
    return f"the connection to {host} broke ({str(error) or type(error).__name__})"


class _Session:
    """One life of a connection. All of its methods are called by one thread."""

    def __init__(self, exchange: Exchange, stopping: threading.Event) -> None:
        self.exchange = exchange
        self.id = f"{exchange.name}-{uuid4().hex[:12]}"
        self.opened = self.received = False
        self._stopping = stopping
        self._socket: Any = websocket.WebSocket(
            skip_utf8_validation=True, sockopt=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        )
        self._outbox: deque[str] = deque()
        self._subscribed: set[str] = set()
        self._wanted: Sequence[str] = ()

    def open(self, channels: Sequence[str]) -> str:
        address = self.exchange.address(channels)
        self._socket.settimeout(CONNECT_SECONDS)
        self._socket.connect(address)
        self._socket.settimeout(TICK_SECONDS)
        self._socket.sock = _ReadAhead(self._socket.sock)
        self.opened = True
        self._wanted = channels
        self._subscribed = set(channels)
        self._outbox.extend(self.exchange.greeting(channels))
        return address.split("?")[0]

    def read(self, wanted: Callable[[], Sequence[str]], deliver: Callable[[Frame], None]) -> None:
        """Read until stopped. Raises `Ended`, or what the socket raises."""
        exchange, connection, connection_id = self.exchange, self._socket, self.id
        heard = opened = last_sent = last_alive = time.monotonic()
        text, close = websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_CLOSE
        while not self._stopping.is_set():
            try:
                opcode, frame = connection.recv_data_frame(True)  # it answers pings itself
            except websocket.WebSocketTimeoutException:
                opcode = None
            now = time.monotonic()
            if opcode is not None:
                heard = now
            if opcode == text:
                self.received = True
                deliver(Frame(exchange, frame.data, time.time_ns() // 1000, connection_id))
                if exchange.says_goodbye(frame.data):
                    raise Ended("the exchange shuts this server down", at_once=True)
                if (held := time.monotonic() - now) > STALE_SECONDS:
                    raise Ended(f"nothing was read for {held:.0f} s, because Kafka does not take it in", at_once=True)
            elif opcode == close:
                reason = frame.data[2:].decode(errors="replace") or "no reason"  # after the code, of two bytes
                raise Ended(f"the exchange closed the connection ({reason})")
            elif now - heard > exchange.silence_seconds:
                raise Ended(f"nothing was heard for {exchange.silence_seconds} s")
            if now - opened > exchange.max_age_seconds - ROTATE_SECONDS_BEFORE:
                raise Ended("the connection is nearly as old as the exchange allows", at_once=True)
            if wanted() is not self._wanted:
                self._change_to(wanted())
            if self._outbox and now - last_sent >= exchange.seconds_between_messages:
                connection.send(self._outbox.popleft())
                last_sent = now
            elif exchange.keep_alive_seconds and now - last_alive >= exchange.keep_alive_seconds:
                connection.send(exchange.keep_alive())
                last_alive = now

    def _change_to(self, channels: Sequence[str]) -> None:
        self._wanted = channels
        gone = sorted(self._subscribed.difference(channels))
        added = [channel for channel in channels if channel not in self._subscribed]
        if gone:
            self._outbox.extend(self.exchange.unsubscribe(gone))
        if added:
            self._outbox.extend(self.exchange.subscribe(added))
        self._subscribed = set(channels)

    def close(self) -> None:
        self._socket.close(timeout=1)
        self._socket.shutdown()  # `close` leaves the socket open where the exchange closed first


class _ReadAhead:
    """A socket that reads in big pieces: websocket-client asks for two bytes, two more, then the rest of each frame."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self._held = memoryview(b"")

    def recv(self, size: int) -> bytes:
        if not self._held:
            self._held = memoryview(self._inner.recv(65536))
        piece, self._held = self._held[:size], self._held[size:]
        return bytes(piece)

    def gettimeout(self) -> float | None:
        return self._inner.gettimeout()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)
