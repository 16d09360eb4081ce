"""Which series come over which connections, and so which come over none.

A *series* is one stream of one symbol of one exchange. Connections tell what they begin and cease to carry, in the same
queue as their frames; from that, this says what is lost to us and what is back.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from shared.events import GapCause
from shared.symbol_manager import Symbol


class Key(NamedTuple):
    """A series, by name."""

    exchange: str
    symbol: str
    stream: str


@dataclass(frozen=True)
class Outage:
    """Wanted series that no connection carries any more, or that fell silent on the one that does."""

    exchange: str
    series: tuple[tuple[Symbol, str], ...]
    at: int
    """When they were last known to come, in microseconds."""
    reason: str
    cause: GapCause


@dataclass(frozen=True)
class Restored:
    """Series of an earlier `Outage` that come again."""

    exchange: str
    series: tuple[tuple[Symbol, str], ...]
    at: int


@dataclass(frozen=True)
class Followed:
    """From now on these channels of an exchange are wanted, and no others."""

    exchange: str
    channels: tuple[str, ...]


@dataclass(frozen=True)
class Carried:
    """A connection is subscribed to these channels, and delivers."""

    exchange: str
    connection_id: str
    channels: tuple[str, ...]
    at: int


@dataclass(frozen=True)
class Dropped:
    """A connection was told to leave these channels."""

    exchange: str
    connection_id: str
    channels: tuple[str, ...]
    at: int


@dataclass(frozen=True)
class Over:
    """A connection has ended; `at` is when its last frame came."""

    exchange: str
    connection_id: str
    at: int
    reason: str


Notice = Followed | Carried | Dropped | Over


class Coverage:
    """What is wanted, what is carried by whom, and what is out."""

    def __init__(self) -> None:
        self._wanted: dict[str, frozenset[Key]] = {}
        self._carried: dict[str, set[Key]] = {}
        self._out: set[Key] = set()
        self.silent: dict[Key, int] = {}
        """Those that are out although a connection carries them, and when they were heard last."""

    def follow(self, exchange: str, keys: Iterable[Key]) -> Collection[Key]:
        """Want these of an exchange; those that are no longer wanted, and so cannot be out."""
        wanted = frozenset(keys)
        gone = self._wanted.get(exchange, frozenset()) - wanted
        self._wanted[exchange] = wanted
        self._leave(gone)
        return gone

    def carry(self, connection_id: str, keys: Iterable[Key]) -> list[Key]:
        """A connection carries these now; those of them that were out and are back."""
        carried = set(keys)
        self._carried.setdefault(connection_id, set()).update(carried)
        return self._back(carried)

    def drop(self, connection_id: str, keys: Iterable[Key]) -> list[Key]:
        """A connection no longer carries these; those of them that are out from now on."""
        lost = self._carried.get(connection_id, set()).intersection(keys)
        self._carried.get(connection_id, set()).difference_update(lost)
        return self._lose(lost)

    def end(self, connection_id: str) -> list[Key]:
        """A connection is over; what is out from now on."""
        return self._lose(self._carried.pop(connection_id, set()))

    def fall_silent(self, key: Key, since: int) -> bool:
        """A series that is carried does not come; whether that is news."""
        is_news = key not in self._out and self.is_carried(key)
        if is_news:
            self._out.add(key)
            self.silent[key] = since
        return is_news

    def hear(self, key: Key) -> list[Key]:
        """A silent series came again by itself; empty where it was not out."""
        return self._back({key})

    def is_carried(self, key: Key) -> bool:
        """Whether it is wanted and at least one connection carries it."""
        return key in self._wanted.get(key.exchange, frozenset()) and any(
            key in carried for carried in self._carried.values()
        )

    def _lose(self, keys: set[Key]) -> list[Key]:
        lost = {key for key in keys if key in self._wanted.get(key.exchange, frozenset())}
        lost.difference_update(*self._carried.values())
        news = lost - self._out
        self._out |= lost
        for key in lost:
            self.silent.pop(key, None)
        return sorted(news)

    def _back(self, keys: set[Key]) -> list[Key]:
        back = keys & self._out
        self._leave(back)
        return sorted(back)

    def _leave(self, keys: Collection[Key]) -> None:
        self._out.difference_update(keys)
        for key in keys:
            self.silent.pop(key, None)
