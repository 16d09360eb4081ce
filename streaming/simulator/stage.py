"""What faults act on: the parts of a running simulator, and the note of what was done."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from streaming.simulator.clock import ExchangeClock
from streaming.simulator.hub import Client, Hub
from streaming.simulator.market import Market
from streaming.simulator.sent import SentRecord

Which = Literal["all", "one"]
Tamper = Literal["absent", "checksum", "corrupt"]
_LONGEST_NAP = 0.05


class FaultError(ValueError):
    """A fault that cannot be as it is asked for; the message says why."""


@dataclass
class Note:
    """What one fault did so far, for `/truth/faults`. Times are the exchange's, in microseconds."""

    number: int
    kind: str
    asked: dict[str, Any]
    repair: str
    begun: int
    ended: int | None = None
    """None while it lasts."""
    streams: list[str] = field(default_factory=list)
    """The streams that it touched."""
    connections: int = 0
    """How many it touched."""
    skipped: SentRecord = field(default_factory=lambda: SentRecord(None))
    """Trade ids, and minutes since 1970 of closed candles, that did not leave by it."""
    details: dict[str, Any] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.number, "kind": self.kind, "symbol": self.asked.get("symbol", ""), "repair": self.repair,
            "streams": self.streams, "from": self.begun, "to": self.ended, "connections": self.connections,
            "skipped": self.skipped.content(), "asked": self.asked, "details": self.details,
        }  # fmt: skip


class RestFaults:
    """Which REST calls are refused, and in which time unit the others answer."""

    def __init__(self) -> None:
        self._refusals: list[tuple[frozenset[str], int, int, dict[str, int]]] = []
        self._in_milliseconds = 0

    @property
    def is_in_milliseconds(self) -> bool:
        """Whether all answers are, whatever was asked for."""
        return self._in_milliseconds > 0

    @contextlib.contextmanager
    def in_milliseconds(self) -> Iterator[None]:
        self._in_milliseconds += 1
        try:
            yield
        finally:
            self._in_milliseconds -= 1

    @contextlib.contextmanager
    def refusing(
        self, endpoints: frozenset[str], status: int, retry_after: int, counts: dict[str, int]
    ) -> Iterator[None]:
        """While it lasts, the calls (`historicalTrades`; all where none is named) answer with a status; counts them."""
        entry = (endpoints, status, retry_after, counts)
        self._refusals.append(entry)
        try:
            yield
        finally:
            self._refusals.remove(entry)

    def refusal(self, path: str) -> tuple[int, int] | None:
        """Status and `Retry-After` (0: none) of a call that is refused now."""
        name = path.removeprefix("/api/v3/")
        for endpoints, status, retry_after, counts in self._refusals:
            if not endpoints or name in endpoints:
                counts[name] = counts.get(name, 0) + 1
                return status, retry_after
        return None


class ArchiveFaults:
    """What is wrong with the public files of which symbols (`""`: of all)."""

    def __init__(self) -> None:
        self._tampers: list[tuple[str, Tamper]] = []
        self._early: list[str] = []

    @contextlib.contextmanager
    def tampered(self, symbol: str, how: Tamper) -> Iterator[None]:
        """While it lasts, the files of a symbol are absent or wrong."""
        self._tampers.append((symbol, how))
        try:
            yield
        finally:
            self._tampers.remove((symbol, how))

    @contextlib.contextmanager
    def early(self, symbol: str) -> Iterator[None]:
        """While it lasts, the files of an unfinished day hold what there is so far."""
        self._early.append(symbol)
        try:
            yield
        finally:
            self._early.remove(symbol)

    def of(self, symbol: str) -> Tamper | None:
        return next((how for name, how in self._tampers if name in ("", symbol)), None)

    def is_early(self, symbol: str) -> bool:
        return any(name in ("", symbol) for name in self._early)


@dataclass
class Stage:
    """The parts of a running simulator that a fault may touch."""

    hub: Hub
    clock: ExchangeClock
    sent: SentRecord
    market: Market | None
    """None in a replay."""
    save: Callable[[], None]
    """Keeps a change of the market."""
    rest: RestFaults = field(default_factory=RestFaults)
    archive: ArchiveFaults = field(default_factory=ArchiveFaults)
    random: Random = field(default_factory=Random)
    """Of the fault at hand."""

    @property
    def made_market(self) -> Market:
        """The market. Raises `FaultError` in a replay."""
        if self.market is None:
            raise FaultError("a replay has no market that could be changed")
        return self.market

    @property
    def minute(self) -> int:
        """The minute since the market's opening."""
        return (self.clock() - self.made_market.opening) // 60_000_000

    def victims(self, symbol: str, which: Which) -> list[Client]:
        """The connections that listen to a symbol (`""`: all), or one of them."""
        concerns = concerning(symbol)
        found = [client for client in self.hub.clients if not symbol or any(map(concerns, client.streams))]
        return found if which == "all" or not found else [self.random.choice(found)]

    async def sleep(self, seconds: float) -> None:
        """Waits by the exchange's clock; 0 waits until the fault is ended from outside."""
        if not seconds:
            await asyncio.Event().wait()
        await self.until(self.clock.right() + int(seconds * 1e6))

    async def until(self, time: int) -> None:
        """Waits for a moment of the clock that no fault sets wrong."""
        while (left := time - self.clock.right()) > 0:
            await asyncio.sleep(min(left / 1e6, _LONGEST_NAP))


def concerning(symbol: str, *kinds: str) -> Callable[[str], bool]:
    """Whether a stream is of a symbol (`""`: any) and of one of the kinds (none: any)."""
    name = symbol.lower()

    def concerns(stream: str) -> bool:
        found, _, kind = stream.partition("@")
        return (not name or found == name) and (not kinds or kind in kinds)

    return concerns
