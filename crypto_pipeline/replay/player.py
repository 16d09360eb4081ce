"""Sends stored messages to those who listen, by a clock of its own.

At a speed the distances are kept; without one, each message goes as soon as the readers have taken those before it. A
reader that is behind holds the clock: nothing is lost, and little waits in memory.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from operator import attrgetter

from crypto_pipeline.replay.messages import Message, frames
from streaming.simulator.hub import Hub

BATCH = 1_000
"""So many messages are read at once, while those before them are sent."""
AHEAD = 1024 * 1024
"""Bytes that may wait for a reader."""
SETTLE_SECONDS = 0.5
"""The clock starts when nothing new has been subscribed to for so long: a bot may open several connections."""
_GRAIN = 1_000
"""Messages whose times are no further apart, in microseconds, go together."""
_NAP = 0.002


class Player:
    """Plays a range once."""

    def __init__(self, hub: Hub, start: int, speed: float | None, asked: Callable[[str], None]) -> None:
        """`speed` 1 is as received, none is as fast as it is read; `asked` is told of each stream that is wanted."""
        self._hub = hub
        self._speed = speed
        self._asked = asked
        self._told: set[str] = set()
        self._version = -1
        self._first = start
        self._begun: float | None = None
        self._next = start
        """The time of the message that goes next; the clock does not pass it."""
        self.sent = 0
        """Messages that were played, whether or not someone listened."""

    def now(self) -> int:
        """The replay's clock, in microseconds. It may be asked from any thread."""
        if self._speed is None or self._begun is None:
            return self._next
        return min(self._first + self._passed(self._begun), self._next)

    def _passed(self, begun: float) -> int:
        return int((time.monotonic() - begun) * (self._speed or 0) * 1_000_000)

    async def someone_listens(self, streams: Collection[str]) -> None:
        """Returns when one of the streams is listened to, and nothing was subscribed to for a moment."""
        while True:
            self._hub.changed.clear()
            self._look()
            is_wanted = not self._hub.streams.isdisjoint(streams)
            try:
                async with asyncio.timeout(SETTLE_SECONDS if is_wanted else None):
                    await self._hub.changed.wait()
            except TimeoutError:
                return

    async def play(self, messages: Iterator[Message], on_progress: Callable[[int], None]) -> None:
        """Sends all; `on_progress` gets the clock. Raises what the messages raise."""
        batch = await asyncio.to_thread(_taken, messages)
        self._begun = time.monotonic()
        while batch:
            following = asyncio.create_task(asyncio.to_thread(_taken, messages))
            try:
                await self._play(batch, on_progress)
            finally:
                await asyncio.wait([following])
            batch = following.result()
        while self._hub.most_waiting():
            await asyncio.sleep(_NAP)

    async def readers_leave(self, seconds: float) -> None:
        """Returns when no connection is open any more, or so many seconds have passed."""
        ends = time.monotonic() + seconds
        while self._hub.clients and time.monotonic() < ends:
            await asyncio.sleep(_NAP)

    async def _play(self, batch: Sequence[Message], on_progress: Callable[[int], None]) -> None:
        done = 0
        while done < len(batch):
            self._next = batch[done].at
            due = len(batch)
            if self._speed is not None and self._begun is not None:
                reached = self._first + self._passed(self._begun) + _GRAIN
                due = bisect_right(batch, reached, key=attrgetter("at"))
                if due <= done:
                    await asyncio.sleep((self._next - reached) / self._speed / 1_000_000)
                    continue
            self._next = batch[due - 1].at
            self._send(batch[done:due])
            done = due
            on_progress(self._next)
            await self._drained()

    def _send(self, messages: Sequence[Message]) -> None:
        self._look()
        self.sent += len(messages)
        for client in list(self._hub.clients):
            if whole := frames(messages, client.streams, client.form):
                client.send(whole)

    async def _drained(self) -> None:
        """Waits for readers that are behind, and the clock with them."""
        while self._hub.most_waiting() > AHEAD:
            since = time.monotonic()
            await asyncio.sleep(_NAP)
            if self._begun is not None:
                self._begun += time.monotonic() - since

    def _look(self) -> None:
        if self._version != self._hub.version:
            self._version = self._hub.version
            for stream in self._hub.streams - self._told:
                self._told.add(stream)
                self._asked(stream)


def _taken(messages: Iterator[Message]) -> list[Message]:
    return list(islice(messages, BATCH))
