"""The rules on trades: each sees every trade of its markets once, in order, also across restarts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from alerts.book import Book, Change
from alerts.kinds._kind import Finding, TradeRule, TradeState, market
from shared.events import Trade

_TOLD_BESIDE = {"name", "severity", "cool_down_minutes", "destinations", "symbols"}
"""What of a rule may change without that what it remembers loses its meaning."""


class Memory(NamedTuple):
    """What a rule remembers of a market, as it lies in the database."""

    definition: str
    """Of the rule that remembers it."""
    content: bytes


Memories = Mapping[tuple[str, str], Memory]
"""By rule and market."""


class _Place(msgspec.Struct):
    """The last trade that was seen, and what is remembered with it."""

    state: TradeState
    at: int = 0
    trade_id: int = 0


class _Stored(msgspec.Struct):
    at: int
    trade_id: int
    state: msgspec.Raw


class Watch:
    """What the rules on trades remember."""

    def __init__(self, rules: Sequence[TradeRule[Any]], memories: Memories) -> None:
        self._memories = dict(memories)
        self._definitions = {rule.name: rule.model_dump_json(exclude=_TOLD_BESIDE) for rule in rules}
        self._rules = rules
        self._of_market: dict[tuple[str, str], list[tuple[TradeRule[Any], str, _Place]]] = {}
        self._changed: dict[tuple[str, str], _Place] = {}

    def see(self, trade: Trade, book: Book) -> Iterator[Change]:
        """What changes with a trade. One that is not newer than the last of its market is passed over."""
        for rule, subject, place in self._places(trade):
            if (trade.event_time, trade.trade_id) <= (place.at, place.trade_id):
                continue
            place.at, place.trade_id = trade.event_time, trade.trade_id
            self._changed[rule.name, subject] = place
            holds = rule.see(place.state, trade)
            if book.changes(rule, subject, holds, trade.event_time):
                value, text = rule.value(place.state, trade), rule.text(place.state, trade)
                change = book.take(rule, Finding(subject, holds, trade.event_time, value, text))
                if change:
                    yield change

    def changed(self) -> Memories:
        """What is remembered otherwise since the last call."""
        changed, self._changed = self._changed, {}
        return {key: Memory(self._definitions[key[0]], msgspec.json.encode(place)) for key, place in changed.items()}

    def _places(self, trade: Trade) -> list[tuple[TradeRule[Any], str, _Place]]:
        key = (trade.exchange, trade.symbol)
        found = self._of_market.get(key)
        if found is None:
            subject = market(*key)
            found = [(rule, subject, self._place(rule, subject)) for rule in self._rules if rule.is_for(trade.symbol)]
            self._of_market[key] = found
        return found

    def _place(self, rule: TradeRule[Any], subject: str) -> _Place:
        memory = self._memories.get((rule.name, subject))
        if memory is None or memory.definition != self._definitions[rule.name]:
            return _Place(rule.remembers())
        stored = msgspec.json.decode(memory.content, type=_Stored)
        return _Place(msgspec.json.decode(stored.state, type=rule.remembers), stored.at, stored.trade_id)
