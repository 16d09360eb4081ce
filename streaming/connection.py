"""One life of a WebSocket to an exchange: connect, subscribe at the pace that is allowed, read until it ends.

Its thread does nothing else with a frame than to note the time and put it into a queue, where it also tells what the
connection carries, and since when. Opening the next one is for `streaming.fleet`.
"""

import errno
import fcntl
import logging
import socket
import struct
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple
from uuid import uuid4

import websocket

from shared.events import ConnectionReport
from streaming.clock_offset import clock_offset
from streaming.coverage import Carried, Dropped, Notice, Over
from streaming.exchange import Ask, Exchange

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10
TICK_SECONDS = 0.2
"""How soon a change of subscriptions is noticed on a quiet connection."""
LOOK_SECONDS = 0.1
"""How often a busy one looks at anything else than frames."""
FIRST_RETRY_SECONDS = 5
LONGEST_RETRY_SECONDS = 300
"""Between two attempts to subscribe to a channel that the exchange refuses."""
FRAMES_WAITING = 8192
"""Frames between the sockets and the parser, a few megabytes; when it is full, nothing more is read."""
LARGE_BYTES = 8 * 1024
LARGE_WAITING = 8
"""After a frame that is larger, nothing more is read while so many wait: no queue is ever full of such."""
MOST_BYTES = 32 * 1024 * 1024
"""No exchange has a message so long. What is read of one lies in memory."""
STOPPED_READING = "we stopped reading: memory and spool are full"


class Frame(NamedTuple):
    """A message as it came."""

    exchange: Exchange
    body: bytes
    received_at: int
    connection_id: str


Received = Frame | Notice | ConnectionReport


class Ended(Exception):  # noqa: N818 (an end, not always an error)
    """A connection that is over; the message says why."""


class Connection(threading.Thread):
    """Opens, reads and ends. The attributes tell others what has become of it."""

    def __init__(
        self,
        exchange: Exchange,
        channels: Sequence[str],
        queue: SimpleQueue[Received],
        on_state: Callable[[str, bool], None],
        hint: str,
        wake: threading.Event,
    ) -> None:
        self.id = f"{exchange.name}-{uuid4().hex[:12]}"
        super().__init__(name=self.id, daemon=True)
        self.exchange = exchange
        self.channels = tuple(channels)
        """What is wanted; it may be replaced at any time, and the connection follows."""
        self.opened: float | None = None
        """When it was opened (`time.monotonic`)."""
        self.settled: float | None = None
        """Since when it carries all that it should, but for what the exchange goes on to refuse."""
        self.replace_because = ""
        """Why another connection should take over, while this one still reads."""
        self.ended = threading.Event()
        self._queue = queue
        self._on_state = on_state
        self._hint = hint
        self._wake = wake
        self._stopping = threading.Event()
        self._stop_reason = ""
        self._socket: Any = websocket.WebSocket(
            skip_utf8_validation=True, sockopt=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        )
        self._outbox: deque[tuple[Ask, bool]] = deque()
        """What is to be sent, and whether it subscribes."""
        self._asked: dict[str, tuple[Ask, float]] = {}
        """Subscriptions without an answer, and when they were sent."""
        self._refused: dict[str, float] = {}
        """Channels that were refused, and when to ask again."""
        self._waits: dict[str, float] = {}
        """How long the next wait is for each."""
        self._unproven: tuple[str, ...] = ()
        """Channels of the address, until something came."""
        self._wanted: Sequence[str] = ()
        self._subscribed: set[str] = set()
        self._last_sent = self._last_alive = 0.0
        self._tail = 0
        self._tail_seen = 0.0
        self._last_frame_at = 0
        self._opened_at = 0
        self._report_lock = threading.Lock()
        self._closed_at: int | None = None
        self._clock_offset: int | None = None

    @property
    def is_opening(self) -> bool:
        """Whether it is not known yet if the exchange takes it."""
        return self.opened is None and not self.ended.is_set()

    def stop(self, reason: str) -> None:
        """Ask the thread to close its socket and end."""
        self._stop_reason = reason
        self._stopping.set()

    def run(self) -> None:
        reason = ""
        try:
            self._open()
            self._read()
            reason = self._stop_reason
        except Ended as end:
            reason = str(end)
            log.warning("%s: %s; another connection follows", self.exchange.name, end)
        except (websocket.WebSocketException, OSError) as error:
            reason = explained(error, self.exchange.base_ws_url)
            log.warning("%s: %s. %s", self.exchange.name, reason, self._hint)
        except Exception as error:  # a connection that ended silently would be the worst of all
            reason = f"it failed unexpectedly ({type(error).__name__})"
            log.exception("%s: the connection failed unexpectedly", self.exchange.name)
        if self.opened is not None:
            self._queue.put(Over(self.exchange.name, self.id, self._last_frame_at or self._opened_at, reason))
            self._report(closed_because=reason)
            self._on_state(self.exchange.name, False)
        self.ended.set()
        self._wake.set()
        self._socket.close(timeout=1)
        self._socket.shutdown()  # `close` leaves the socket open where the exchange closed first

    def _open(self) -> None:
        channels = self.channels
        address = self.exchange.address(channels)
        self._socket.settimeout(CONNECT_SECONDS)
        self._socket.connect(address)
        self._socket.settimeout(TICK_SECONDS)
        self._socket.sock = _ReadAhead(self._socket.sock)
        asks = self.exchange.greeting(channels)
        asked = {channel for ask in asks for channel in ask.channels}
        self._wanted = channels
        self._subscribed = set(channels)
        self._unproven = tuple(channel for channel in channels if channel not in asked)
        self._outbox.extend((ask, True) for ask in asks)
        self._opened_at = time.time_ns() // 1000
        self.opened = self._last_alive = self._tail_seen = time.monotonic()
        log.info("%s: connected to %s (%d channels)", self.exchange.name, address.split("?")[0], len(channels))
        self._on_state(self.exchange.name, True)
        self._report()
        self._wake.set()
        threading.Thread(target=self._measure_clock, name=f"{self.id}-clock", daemon=True).start()

    def _read(self) -> None:
        """Read until stopped. Raises `Ended`, or what the socket raises."""
        exchange, connection, connection_id = self.exchange, self._socket, self.id
        put, waiting = self._queue.put, self._queue.qsize
        text, close = websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_CLOSE
        heard = time.monotonic()
        look_at = 0.0
        while not self._stopping.is_set():
            try:
                opcode, frame = connection.recv_data_frame(True)  # it answers pings itself
            except websocket.WebSocketTimeoutException:
                opcode = None
            now = time.monotonic()
            if opcode is not None:
                heard = now
            if opcode == text:
                body = frame.data
                at = self._last_frame_at = time.time_ns() // 1000
                if self._unproven or self._asked:
                    self._learn_from(body, at)
                put(Frame(exchange, body, at, connection_id))
                if exchange.says_goodbye(body):
                    self._ask_for_another("the exchange shuts this server down")
                most = FRAMES_WAITING if len(body) <= LARGE_BYTES else LARGE_WAITING
                if waiting() >= most:
                    self._wait_for_room(waiting, most)
            elif opcode == close:
                reason = frame.data[2:].decode(errors="replace") or "no reason"  # after the code, of two bytes
                raise Ended(f"the exchange closed the connection ({reason})")
            elif now - heard > exchange.silence_seconds:
                raise Ended(f"nothing was heard for {exchange.silence_seconds} s")
            if now >= look_at:
                self._look(now)
                look_at = now + LOOK_SECONDS

    def _learn_from(self, body: bytes, at: int) -> None:
        """Note what a frame proves: an answer, what was asked; any other, that the address is served."""
        answer = self.exchange.answer(body)
        if answer is None:
            proven, self._unproven = self._unproven, ()
            self._carry(proven, at)
        elif answer.id in self._asked:
            ask, _ = self._asked.pop(answer.id)
            if answer.refusal:
                self._refuse(ask, answer.refusal)
            else:
                self._carry(ask.channels, at)

    def _carry(self, channels: Sequence[str], at: int) -> None:
        channels = tuple(channel for channel in channels if channel in self._subscribed)
        for channel in channels:
            self._waits.pop(channel, None)
        if channels:
            self._queue.put(Carried(self.exchange.name, self.id, channels, at))

    def _refuse(self, ask: Ask, reason: str) -> None:
        """One wrong channel refuses the whole message: ask for the halves, and for a single one again later."""
        log.warning("%s: a subscription of %d channels was refused: %s", self.exchange.name, len(ask.channels), reason)
        middle = len(ask.channels) // 2
        if middle:
            for half in (ask.channels[:middle], ask.channels[middle:]):
                self._outbox.extend((part, True) for part in self.exchange.subscribe(half))
        for channel in ask.channels if not middle else ():
            wait = self._waits.get(channel, FIRST_RETRY_SECONDS)
            self._waits[channel] = min(2 * wait, LONGEST_RETRY_SECONDS)
            self._refused[channel] = time.monotonic() + wait

    def _look(self, now: float) -> None:
        """Everything that need not be done with each frame."""
        exchange = self.exchange
        self._socket.sock.looked()
        opened = now if self.opened is None else self.opened
        self._check_lag(now)
        if self._unproven and now - opened > exchange.answer_seconds:
            proven, self._unproven = self._unproven, ()
            self._carry(proven, time.time_ns() // 1000)
        if now - opened > exchange.max_age_seconds - exchange.rotate_seconds_before:
            self._ask_for_another("it is nearly as old as the exchange allows")
        if self.channels is not self._wanted:
            self._change_to(self.channels)
        if self._refused:
            self._ask_again(now)
        if any(now - asked_at > exchange.answer_seconds for _, asked_at in self._asked.values()):
            self._ask_for_another(f"a subscription was not answered within {exchange.answer_seconds} s")
        is_patient = bool(self._refused) and now - opened < 3 * exchange.answer_seconds
        if self.settled is None and not (self._unproven or self._outbox or self._asked or is_patient):
            self.settled = now
            self._wake.set()
        if self._outbox and now - self._last_sent >= exchange.seconds_between_messages:
            self._send_next(now)
        elif exchange.keep_alive_seconds and now - self._last_alive >= exchange.keep_alive_seconds:
            self._socket.send(exchange.keep_alive())
            self._last_alive = now

    def _send_next(self, now: float) -> None:
        ask, subscribes = self._outbox.popleft()
        if subscribes and ask.id:
            self._asked[ask.id] = (ask, now)
        self._socket.send(ask.text)
        self._last_sent = now
        at = time.time_ns() // 1000
        if not subscribes:
            self._queue.put(Dropped(self.exchange.name, self.id, ask.channels, at))
        elif not ask.id:
            self._carry(ask.channels, at)

    def _ask_for_another(self, reason: str) -> None:
        if not self.replace_because:
            self.replace_because = reason
            self._wake.set()

    def _ask_again(self, now: float) -> None:
        due = [channel for channel, at in self._refused.items() if now >= at]
        for channel in due:
            del self._refused[channel]
            if channel in self._subscribed:
                self._outbox.extend((ask, True) for ask in self.exchange.subscribe([channel]))

    def _change_to(self, channels: Sequence[str]) -> None:
        self._wanted = channels
        gone = sorted(self._subscribed.difference(channels))
        added = [channel for channel in channels if channel not in self._subscribed]
        self._subscribed = set(channels)
        if added:
            self.settled = None
        self._outbox.extend((ask, False) for ask in self.exchange.unsubscribe(gone))
        self._outbox.extend((ask, True) for ask in self.exchange.subscribe(added))
        for channel in gone:
            self._refused.pop(channel, None)

    def _wait_for_room(self, waiting: Callable[[], int], most: int) -> None:
        while waiting() >= most and not self._stopping.is_set():
            time.sleep(0.01)
            self._check_lag(time.monotonic())

    def _check_lag(self, now: float) -> None:
        """A ping waits in the socket behind the frames. While nothing is read, it would be answered too late; before
        the exchange cuts the connection for that, we end it. What is read so late could not be dated now either.

        The lag is that of the last byte that lay in the socket when this last looked.
        """
        read, in_socket = self._socket.sock.bytes_read, self._socket.sock.bytes_waiting()
        if read >= self._tail or not in_socket:
            self._tail = read + in_socket
            self._tail_seen = now
        elif now - self._tail_seen > self.exchange.pong_seconds / 2:
            raise Ended(STOPPED_READING)

    def _measure_clock(self) -> None:
        self._clock_offset = clock_offset(self.exchange)
        if self._clock_offset is not None:
            self._report()

    def _report(self, closed_because: str = "") -> None:
        with self._report_lock:
            now = time.time_ns() // 1000
            if self._closed_at is not None:
                return
            if closed_because:
                self._closed_at = now
            report = ConnectionReport(
                exchange=self.exchange.name,
                connection_id=self.id,
                opened_at=self._opened_at,
                closed_at=self._closed_at,
                reason=closed_because,
                channels=len(self._subscribed),
                clock_offset=self._clock_offset,
                updated_at=now,
            )
            self._queue.put(report)


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


class _ReadAhead:
    """A socket that reads in big pieces: websocket-client asks for two bytes, two more, then the rest of each frame."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self._held = memoryview(b"")
        self._taken_in = self._looked = 0

    def recv(self, size: int) -> bytes:
        if not self._held:
            if self._taken_in - self._looked > MOST_BYTES:
                raise Ended(f"a message is longer than {MOST_BYTES >> 20} MB")
            data = self._inner.recv(65536)
            self._taken_in += len(data)
            self._held = memoryview(data)
        piece, self._held = self._held[:size], self._held[size:]
        return bytes(piece)

    def looked(self) -> None:
        """Called often between messages: what comes before the next such call is hardly more than one."""
        self._looked = self._taken_in

    @property
    def bytes_read(self) -> int:
        return self._taken_in - len(self._held)

    def bytes_waiting(self) -> int:
        """What has come and was not read yet; with TLS a little more than will be read."""
        (in_kernel,) = struct.unpack("i", fcntl.ioctl(self._inner.fileno(), termios.FIONREAD, b"\0\0\0\0"))
        return int(in_kernel) + len(self._held)

    def gettimeout(self) -> float | None:
        return self._inner.gettimeout()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)
