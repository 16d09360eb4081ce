"""All the connections of one exchange: as many as the channels need, each followed by another before it goes."""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from queue import SimpleQueue

from streaming import connection as connections
from streaming.connection import Connection, Received
from streaming.exchange import Exchange

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
LIMIT_SECONDS = 300
"""The time in which `Exchange.connections_per_5_minutes` counts."""
LONGEST_WAIT_SECONDS = 30
SILENT_AGAIN_SECONDS = 60
"""A connection younger than this is not replaced because a series is silent: others may have been silent too."""


class _Line:
    """A place for a load of channels: the connection that carries it, and the one that is to follow it."""

    def __init__(self, channels: tuple[str, ...]) -> None:
        self.channels = channels
        self.rank = 0
        self.current: Connection | None = None
        self.next: Connection | None = None
        self.silent_because = ""
        self.failures = 0
        self.not_before = 0.0

    def want(self, channels: tuple[str, ...]) -> None:
        if channels != self.channels:
            self.channels = channels
            for connection in (self.current, self.next):
                if connection:
                    connection.channels = channels

    def fail(self, connection: Connection) -> None:
        """Wait before the next; longer after each that never came to carry its load."""
        self.failures = 0 if connection.settled is not None else self.failures + 1
        self.not_before = time.monotonic() + backoff_seconds(self.failures)


class Fleet(threading.Thread):
    """Opens, replaces and closes connections. It is the only one to do so.

    Channels lie as `shared_out` says. A connection that ended is opened again after a wait; one that nears its end, is
    told to go, or carries a silent series is closed only after another carries all that it did.
    """

    def __init__(
        self,
        exchange: Exchange,
        queue: SimpleQueue[Received],
        on_state: Callable[[str, bool], None],
        hint: str,
    ) -> None:
        super().__init__(name=f"{exchange.name}-fleet", daemon=True)
        self.exchange = exchange
        self._queue = queue
        self._on_state = on_state
        self._hint = hint
        self._lines: list[_Line] = []
        self._leaving: list[Connection] = []
        self._openings: deque[float] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False

    def follow(self, channels: Sequence[str], first: Collection[str]) -> None:
        """Carry these channels, the most important first, and no others. `first`: those of high priority."""
        with self._lock:
            loads = shared_out(
                channels, [line.channels for line in self._lines], self.exchange.channels_per_connection, first
            )
            for line, load in zip(self._lines, loads, strict=False):
                line.want(load)
            self._lines += [_Line(load) for load in loads[len(self._lines) :]]
            ranks = {channel: rank for rank, channel in enumerate(channels)}
            for line in self._lines:
                line.rank = min((ranks[channel] for channel in line.channels), default=len(ranks))
            self._lines.sort(key=lambda line: line.rank)
        self._wake.set()

    def replace(self, channels: Collection[str], reason: str) -> None:
        """Let others take over from the connections that carry one of these channels."""
        with self._lock:
            for line in self._lines:
                if not line.silent_because and not set(channels).isdisjoint(line.channels):
                    line.silent_because = reason
        self._wake.set()

    def close(self) -> None:
        """Ask every connection to end; `wait_closed` waits for it."""
        self._closing = True
        self._wake.set()

    def wait_closed(self, seconds: float) -> None:
        """Until the thread and its connections have ended, or time is up."""
        deadline = time.monotonic() + seconds
        self.join(seconds)
        for connection in self._leaving:
            connection.join(max(0.0, deadline - time.monotonic()))

    def run(self) -> None:
        while not self._closing:
            try:
                self._tend_all()
            except Exception:  # without this thread nothing would ever be opened again
                log.exception("%s: the connections cannot be looked after; trying again", self.exchange.name)
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
        with self._lock:
            for line in self._lines:
                self._dismiss(line, "streaming stops")

    def _tend_all(self) -> None:
        with self._lock:
            for line in self._lines:
                self._tend(line)
            self._lines = [line for line in self._lines if line.channels]
            self._leaving = [connection for connection in self._leaving if connection.is_alive()]

    def _tend(self, line: _Line) -> None:
        now = time.monotonic()
        if not line.channels:
            self._dismiss(line, "its channels are no longer wanted")
            return
        if line.current and line.current.ended.is_set():
            self._leaving.append(line.current)
            if not line.next:
                line.fail(line.current)
            line.current, line.next, line.silent_because = line.next, None, ""
        if line.next and (line.next.ended.is_set() or line.next.replace_because):
            line.next.stop("it did not take over in time")
            self._leaving.append(line.next)
            line.fail(line.next)
            line.next = None
        if not line.current:
            line.current = self._open(line, now)
        elif line.next and line.next.settled is not None:
            if now - line.next.settled >= self.exchange.overlap_seconds:
                self._hand_over(line, line.current, line.next)
        elif not line.next and self._reason(line, line.current, now):
            line.next = self._open(line, now)

    def _reason(self, line: _Line, current: Connection, now: float) -> str:
        """Why the current connection should be replaced; empty where it should not."""
        if line.silent_because and current.opened is not None and now - current.opened >= SILENT_AGAIN_SECONDS:
            return line.silent_because
        return current.replace_because

    def _hand_over(self, line: _Line, old: Connection, new: Connection) -> None:
        reason = self._reason(line, old, time.monotonic())
        log.info("%s: %s took over from %s: %s", self.exchange.name, new.id, old.id, reason)
        old.stop(f"replaced: {reason}")
        self._leaving.append(old)
        line.current, line.next, line.silent_because, line.failures = new, None, "", 0

    def _open(self, line: _Line, now: float) -> Connection | None:
        """A new connection, where one may be opened now."""
        while self._openings and now - self._openings[0] > LIMIT_SECONDS:
            self._openings.popleft()
        if (
            now < line.not_before
            or len(self._openings) >= self.exchange.connections_per_5_minutes
            or self._queue.qsize() > connections.FRAMES_WAITING // 2
            or self._gives_way(line)
        ):
            return None
        self._openings.append(now)
        connection = Connection(self.exchange, line.channels, self._queue, self._on_state, self._hint, self._wake)
        connection.start()
        return connection

    def _gives_way(self, line: _Line) -> bool:
        """Whether a more important connection is just being opened."""
        return any(
            other.rank < line.rank and other.current is not None and other.current.is_opening for other in self._lines
        )

    def _dismiss(self, line: _Line, reason: str) -> None:
        for connection in (line.current, line.next):
            if connection:
                connection.stop(reason)
                self._leaving.append(connection)
        line.current = line.next = None


def shared_out(
    channels: Sequence[str], current: Sequence[Sequence[str]], limit: int, first: Collection[str] = ()
) -> list[tuple[str, ...]]:
    """How channels lie on connections of at most `limit`; the loads of `current` keep their places.

    Each channel stays where it is. While one connection is enough, all share it. Beyond, channels in `first` (of high
    priority) are only put with others of `first`, and the mass only with the mass; those that shared a connection
    before go on to, and it takes in only more of `first`. New ones fill what is free, then new connections.
    """
    wanted = set(channels)
    loads = [[channel for channel in load if channel in wanted] for load in current]
    placed = {channel for load in loads for channel in load}
    waiting = [channel for channel in dict.fromkeys(channels) if channel not in placed]
    if len(wanted) <= limit and sum(1 for load in loads if load) <= 1:
        place = next((place for place, load in enumerate(loads) if load), 0)
        if not loads:
            loads.append([])
        loads[place] += waiting
        return [tuple(load) for load in loads if load or current]
    for is_first in (True, False):
        group = [channel for channel in waiting if (channel in first) is is_first]
        for load in loads:
            is_mass = all(channel not in first for channel in load)
            if load and is_mass == is_first:
                continue
            room = limit - len(load)
            load += group[:room]
            group = group[room:]
        loads += [group[start : start + limit] for start in range(0, len(group), limit)]
    return [tuple(load) for load in loads]


def backoff_seconds(failures: int) -> float:
    """How long to wait before connecting again: doubled with each failure from a second up to half a minute, at random
    between half and whole so that many clients do not come back at the same moment."""
    longest = min(LONGEST_WAIT_SECONDS, 2.0 ** min(failures, 10))
    return longest * random.uniform(0.5, 1)  # noqa: S311 (no secret)
