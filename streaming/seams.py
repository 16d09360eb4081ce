"""What a damaged part of the spool held, told by what lay before and behind it.

Trades have ids and closed klines minutes, so that a jump over the damage names those that may have been in it. Of what
was quiet before the damage nothing can be told; for that there is the time, and the raw archive.
"""

from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from streaming.series import MINUTE, SECOND
from streaming.spool import Damage, Record

STEPS = {"trade": 1, "kline_1m": MINUTE}


class Lost(NamedTuple):
    """Trades by id, or klines by minute, that may be neither in Kafka nor in the spool."""

    exchange: str
    symbol: str
    base_asset: str
    quote_asset: str
    stream: str
    first: int
    last: int | None
    """Inclusive; none: up to the newest of them all."""
    time: int
    """When the last before them happened."""


class Unread(NamedTuple):
    """Messages of the spool that nobody can read."""

    damage: Damage
    since: int | None
    """When what lay before them was received; none where nothing did."""
    until: int | None

    def __str__(self) -> str:
        """For a person, with the cure."""
        start = _text(self.since) if self.since else "…"
        end = _text(self.until + SECOND) if self.until else "…"
        return (
            f"up to {self.damage.messages} messages of the spool could not be read; its file is kept as "
            f"{self.damage.file}. `crypto replay --from {start} --to {end}` sends again what was received then"
        )


class _Event(msgspec.Struct):
    stream: str = ""
    exchange: str = ""
    symbol: str = ""
    base_asset: str = ""
    quote_asset: str = ""
    source: str = ""
    event_time: int | None = None
    received_at: int | None = None
    trade_id: int | None = None
    open_time: int | None = None
    is_closed: bool = False

    @property
    def place(self) -> int | None:
        """Where it stands in its series; none where it is not counted."""
        if self.stream == "trade":
            return self.trade_id
        return self.open_time if self.stream == "kline_1m" and self.is_closed else None


_Key = tuple[str, str, str, str]
"""Exchange, symbol, stream and source: what REST gives has an order of its own."""
_decoder = msgspec.json.Decoder(_Event)


class Seams:
    """Sees all that leaves the spool, in order, until it is empty."""

    def __init__(self) -> None:
        self._last: dict[_Key, tuple[int, _Event]] = {}
        self._joined: set[_Key] | None = None
        """Whose next one behind the last damage has come; none where there was no damage."""
        self._most = 0
        """How many messages were lost."""
        self._open: list[Unread] = []
        self._received_at: int | None = None

    def torn(self, damage: Damage) -> None:
        """Something lay here that cannot be read."""
        self._joined = set()
        self._most += damage.messages
        if damage.messages:
            self._open.append(Unread(damage, self._received_at, None))

    def passed(self, record: Record) -> list[Lost | Unread]:
        """A message leaves it; what is known of damages by that."""
        try:
            event = _decoder.decode(record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return []
        told: list[Lost | Unread] = []
        if event.received_at:
            self._received_at = event.received_at
            told += (unread._replace(until=event.received_at) for unread in self._open)
            self._open.clear()
        place = event.place
        if place is not None:
            key = (event.exchange, event.symbol, event.stream, event.source)
            before = self._last.get(key)
            if before is None or place > before[0]:
                if before and self._joined is not None and key not in self._joined:
                    told += self._between(before, place)
                self._last[key] = (place, event)
                if self._joined is not None:
                    self._joined.add(key)
        return told

    def _between(self, before: tuple[int, _Event], place: int) -> list[Lost]:
        step = STEPS[before[1].stream]
        missing = (place - before[0]) // step - 1
        # Two pages of REST need not be of one hole.
        if not missing or (before[1].source != "websocket" and missing > self._most):
            return []
        return [_lost(*before, place - step)]

    def emptied(self) -> list[Lost | Unread]:
        """Nothing is left in it: what is known now. Others take over from here."""
        told: list[Lost | Unread] = [*self._open]
        if self._joined is not None:
            told += (
                _lost(*before, None)
                for key, before in self._last.items()
                if key not in self._joined and before[1].source == "websocket"
            )
        return told


def _lost(place: int, event: _Event, last: int | None) -> Lost:
    return Lost(
        event.exchange,
        event.symbol,
        event.base_asset,
        event.quote_asset,
        event.stream,
        place + STEPS[event.stream],
        last,
        event.event_time or 0,
    )


def _text(at: int) -> str:
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
