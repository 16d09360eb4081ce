"""What a kind of rule is: its parameters, and how it finds whether it holds.

A rule on trades sees each trade of the stream (`TradeRule`); any other is asked every few seconds (`AskedRule`).
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.events import Trade
from shared.settings import Settings
from shared.symbol_manager import Asset

Severity = Literal["info", "warning", "critical"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]{0,59}$")]
Percent = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
MINUTE = 60_000_000
"""Times are microseconds since 1970 in UTC."""
DAY = 1440 * MINUTE
Offsets = Mapping[str, Mapping[int, int]]
"""By topic and partition, the offset of the next message."""


class Finding(NamedTuple):
    """What a rule found of one thing."""

    subject: str
    """What it is about: `binance BTCUSDT`."""
    holds: bool | None
    """Whether what the rule is about is so; none: not known, and what was told before stays."""
    at: int
    """Since when, where the thing is an event (a signal's candle); else now. The cool-down counts by it."""
    value: float
    text: str
    """A sentence for a person."""
    occurrence: str = ""
    """Which of several of one subject, where each is told by itself."""


class Seen(NamedTuple):
    """When something last came of a market."""

    at: int
    """Where nothing came yet: since when it is awaited."""
    came: bool


class Sources(Protocol):
    """What a rule may ask. Each raises `SourceError` where it does not answer."""

    settings: Settings
    started_at: int
    """When this process began to look."""

    def rows(self, sql: str, **parameters: object) -> list[dict[str, Any]]:
        """The rows of a query to the serving database; `%(name)s` is a parameter."""

    def dagster(self, query: str) -> dict[str, Any]:
        """The data that Dagster answers to a GraphQL query."""

    def kafka_ends(self) -> Offsets:
        """The end of each topic of events."""

    def messages_since(self, topic: str, at: int) -> int:
        """How many messages a topic has that came at this time or later."""

    def firing(self) -> list[dict[str, Any]]:
        """The alerts of Prometheus that Alertmanager neither silences nor inhibits; none where neither is installed."""

    def last_seen(self) -> Mapping[tuple[str, str], Seen]:
        """By exchange and symbol, when Kafka last had something of it; of those that are streamed."""


class SourceError(Exception):
    """What a rule asks did not answer; the message says what, and why."""


class Rule(BaseModel):
    """What all rules have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    kind: str
    severity: Severity = "warning"
    cool_down_minutes: Annotated[float, Field(ge=0, le=10_080, allow_inf_nan=False)] = 15
    """So long after it fired for a subject it does not fire for it again."""
    destinations: tuple[str, ...] = ()
    """Where its alerts are sent; without one they are kept, listed and logged."""

    @property
    def cool_down(self) -> int:
        """In microseconds."""
        return round(self.cool_down_minutes * MINUTE)


class SymbolRule(Rule):
    """A rule on symbols: all that are streamed, or a list."""

    symbols: Literal["all"] | Annotated[tuple[Asset, ...], Field(min_length=1)] = "all"

    def is_for(self, symbol: str) -> bool:
        """Whether the rule looks at this symbol."""
        return self.symbols == "all" or symbol in self.symbols


class AskedRule(Rule):
    """A rule that asks, every few seconds, how things are."""

    def ask(self, sources: Sources, now: int) -> Iterable[Finding]:
        """All that holds now, and what else can be told; an alert whose subject is not named has ended.

        Raises `SourceError`.
        """
        raise NotImplementedError


class TradeState(msgspec.Struct):
    """What a rule on trades remembers of one market; it lies in the database as JSON."""


State = TypeVar("State", bound=TradeState)


class TradeRule(SymbolRule, Generic[State]):
    """A rule that sees each trade of a market, in order.

    What it answers may depend on the trades alone, never on a clock: after a restart it sees some of them again.
    """

    remembers: ClassVar[type[TradeState]]

    def see(self, state: State, trade: Trade) -> bool | None:
        """Whether it holds with this trade, which `state` then has in it; none: not known yet."""
        raise NotImplementedError

    def value(self, state: State, trade: Trade) -> float:
        """The figure that an alert shows, with the trade that `state` has seen last."""
        raise NotImplementedError

    def text(self, state: State, trade: Trade) -> str:
        """The sentence of an alert."""
        raise NotImplementedError


def market(exchange: str, symbol: str) -> str:
    """A market as the subject of an alert."""
    return f"{exchange} {symbol}"


def plain(number: float | Decimal) -> str:
    """A number for people: `100,010.5`, eight digits at most."""
    return f"{Decimal(f'{float(number):.8g}'):,f}"


def minutes(count: float) -> str:
    """`1 minute`, `90 minutes`."""
    return f"{plain(count)} minute{'s' * (count != 1)}"


def listed(values: Sequence[str] | str, value: str) -> bool:
    """Whether `values`, a list or `all`, has it."""
    return values == "all" or value in values
