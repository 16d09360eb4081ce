"""The rules on trades, as the stream feeds them."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.book import Book, Change, Fired, Key
from alerts.kinds._kind import TradeRule
from alerts.kinds.move import Move
from alerts.kinds.price_crosses import PriceCrosses
from alerts.kinds.volume_spike import VolumeSpike
from alerts.watch import Memories, Watch
from shared.events import Trade
from tests.alerts.trades import SECOND, START, trade, trades

ABOVE = PriceCrosses(name="above", kind="price_crosses", symbols=("BTCUSDT",), above="100", cool_down_minutes=1)
RULES: Sequence[TradeRule[Any]] = (
    ABOVE,
    PriceCrosses(name="below", kind="price_crosses", symbols=("BTCUSDT",), below="95", cool_down_minutes=0),
    Move(name="move", kind="move", percent=4, minutes=1, cool_down_minutes=2),
    VolumeSpike(name="spike", kind="volume_spike", times=3, minutes=1, usual_minutes=5, cool_down_minutes=0),
)


class Restarted:
    """The rules with what the database has of them: made anew for each batch, as after a kill."""

    def __init__(self, rules: Sequence[TradeRule[Any]] = RULES) -> None:
        self.rules = rules
        self.memories: dict[Any, Any] = {}
        self.active: dict[Key, int] = {}
        self.last: dict[tuple[str, str], int] = {}

    def take(self, batch: Iterable[Trade]) -> list[Change]:
        book = Book(self.active, [(*key, at) for key, at in self.last.items()])
        watch = Watch(self.rules, self.memories)
        changes = [change for one in batch for change in watch.see(one, book)]
        self.memories |= watch.changed()
        for change in changes:
            if isinstance(change, Fired):
                finding = change.finding
                self.active[Key(change.rule.name, finding.subject)] = finding.at
                self.last[change.rule.name, finding.subject] = finding.at
            else:
                del self.active[change.key]
        return changes


def seen(rules: Sequence[TradeRule[Any]], events: Iterable[Trade], memories: Memories | None = None) -> list[Change]:
    book, watch = Book(), Watch(rules, memories or {})
    return [change for event in events for change in watch.see(event, book)]


def names(changes: Iterable[Change]) -> list[str]:
    return [
        f"{change.rule.name} {(change.finding.at - START) // SECOND}"
        if isinstance(change, Fired)
        else f"{change.key.rule} over {(change.at - START) // SECOND}"
        for change in changes
    ]


@st.composite
def markets(draw: st.DrawFn) -> list[Trade]:
    steps = draw(st.lists(st.tuples(st.integers(90, 110), st.integers(0, 40), st.integers(1, 50)), max_size=60))
    at, events = 0.0, []
    for number, (price, wait, quantity) in enumerate(steps, 1):
        at += wait
        symbol = "ETHUSDT" if number % 5 == 0 else "BTCUSDT"
        events.append(trade(number, str(price), at, symbol=symbol, quantity=str(quantity)))
    return events


@given(events=markets(), cuts=st.sets(st.integers(0, 60)), again=st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_trades_in_whatever_batches_fire_the_same_alerts(events: list[Trade], cuts: set[int], again: int) -> None:
    """Also where the last trades of a batch come once more, as after a kill before the place in Kafka was kept."""
    whole = names(seen(RULES, events))
    process = Restarted()
    places = sorted({0, *(cut for cut in cuts if cut < len(events)), len(events)})
    parts = [
        name for begin, end in pairwise(places) for name in names(process.take(events[max(begin - again, 0) : end]))
    ]
    assert parts == whole


def test_a_price_that_crosses_back_and_forth_fires_again_only_after_the_cool_down() -> None:
    events = trades(99, 101, 99, 101, 99, 101, every=10) + trades(101, 99, first=9, every=10)
    assert names(seen([ABOVE], events)) == ["above 20", "above over 30", "above 90", "above over 100"]


def test_a_trade_that_is_older_than_the_last_one_is_no_news() -> None:
    assert names(seen([ABOVE], [*trades(99, 98), trade(1, "101", 1.0)])) == []


def test_what_a_changed_rule_remembered_is_forgotten() -> None:
    process = Restarted([ABOVE])
    process.take(trades(99))
    changed = Restarted([ABOVE.model_copy(update={"above": ABOVE.above and ABOVE.above - 10})])
    changed.memories = dict(process.memories)
    assert names(changed.take(trades(101, first=2))) == []
    assert names(process.take(trades(101, first=2))) == ["above 2"]


def test_another_severity_or_destination_forgets_nothing() -> None:
    process = Restarted([ABOVE])
    process.take(trades(99))
    process.rules = [ABOVE.model_copy(update={"severity": "critical", "destinations": ("x",), "cool_down_minutes": 5})]
    assert names(process.take(trades(101, first=2))) == ["above 2"]


def test_a_rule_sees_its_own_symbols_alone() -> None:
    events = [trade(n, price, n, symbol="ETHUSDT") for n, price in enumerate(("99", "101"), 1)]
    assert seen([ABOVE], events) == []
