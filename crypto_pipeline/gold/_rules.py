"""The rules of `config/signals.yaml`, and where their conditions hold on series of candles."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from crypto_pipeline.indicators import found as indicators
from crypto_pipeline.indicators._file import Chosen, Interval, Plan
from shared import yaml_file
from shared.symbol_manager import Asset
from shared.yaml_file import Parsed, YamlFileError

Flags: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]

EQUAL = 1e-9
"""Two values that lie no further apart, as a part of the greater, are equal: an indicator is not known more exactly."""
ALWAYS_LONG = "always_long"
"""What rules are compared with; no rule may bear its name."""
_LEVELS = ("above", "below")
_CROSSINGS = ("crosses_above", "crosses_below")
_OPERATORS = (*_LEVELS, *_CROSSINGS, "all", "any")
_CLOSE = "close"


class SignalsFileError(YamlFileError):
    """A `signals.yaml`, or a rule of it, that is refused; the message gives file, line and reason."""


class Known(NamedTuple):
    """What a rule may name: the columns of `silver.indicators`, and of these the ones in the quote asset."""

    columns: Collection[str]
    prices: Collection[str]

    @classmethod
    def of(cls, plan: Plan) -> "Known":
        """Those of an `indicators.yaml`."""
        prices = [name for each in plan.studies if indicators()[each.indicator].is_price for name in each.columns]
        return cls((_CLOSE, *plan.columns), frozenset((_CLOSE, *prices)))


def _operand(value: object, info: ValidationInfo[Any]) -> object:
    known: Known = info.context
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("give the name of an indicator's column, such as ema_12, close, or a number")  # noqa: TRY004 (pydantic's)
    if not isinstance(value, str):
        if not np.isfinite(value):
            raise ValueError("give a number that is finite")
        return float(value)
    if value not in known.columns:
        raise ValueError(
            f"config/indicators.yaml has no {value}: add its indicator there, or name one of {', '.join(known.columns)}"
        )
    return value


Operand = Annotated[Any, BeforeValidator(_operand)]
"""A column (str) or a number (float)."""
Pair: TypeAlias = tuple[Operand, Operand]


class Candles(NamedTuple):
    """Series of closed candles, one behind the other, oldest first in each."""

    values: Mapping[str, Floats]
    """The columns of `silver.indicators`; NaN during the warm-up."""
    has_before: Flags
    """The candle before stands right before, and so near that the two may be compared."""
    prices: Collection[str]
    """The columns that are in the quote asset."""


class Held(NamedTuple):
    """Where a condition is known to be true, and known to be false; elsewhere it is not known."""

    true: Flags
    false: Flags
    strength: Floats
    """By how much it is true; read it only where it is."""


class Condition(BaseModel):
    """One operator with what it is of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    above: Pair | None = None
    below: Pair | None = None
    crosses_above: Pair | None = None
    crosses_below: Pair | None = None
    every: tuple["Condition", ...] | None = Field(None, alias="all", min_length=2)
    some: tuple["Condition", ...] | None = Field(None, alias="any", min_length=2)

    @model_validator(mode="before")
    @classmethod
    def _is_one(cls, value: object) -> object:
        if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in _OPERATORS:
            raise ValueError(f"a condition is one of {', '.join(_OPERATORS)}, such as {{below: [rsi_14, 30]}}")
        if next(iter(value.values())) is None:
            raise ValueError(f"{next(iter(value))} is of nothing: give it a list")
        return value

    @model_validator(mode="after")
    def _says_something(self) -> "Condition":
        if self._pair and all(not isinstance(operand, str) for operand in self._pair):
            raise ValueError("two numbers never change: name an indicator")
        if self._pair and self._pair[0] == self._pair[1]:
            raise ValueError(f"{self._pair[0]} is compared with itself: name another")
        return self

    @property
    def _operator(self) -> str:
        return next(name for name in (*_LEVELS, *_CROSSINGS, "every", "some") if getattr(self, name) is not None)

    @property
    def _pair(self) -> Pair | None:
        return None if self._operator in ("every", "some") else getattr(self, self._operator)

    @property
    def _parts(self) -> tuple["Condition", ...]:
        return self.every or self.some or ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, once each, in its order."""
        own = [operand for operand in self._pair or () if isinstance(operand, str)]
        return tuple(dict.fromkeys([*own, *(name for part in self._parts for name in part.columns)]))

    def __str__(self) -> str:
        name = {"every": "all", "some": "any"}.get(self._operator, self._operator)
        of = [f"{operand:g}" if isinstance(operand, float) else operand for operand in self._pair or ()]
        return f"{name}({', '.join([*of, *map(str, self._parts)])})"

    def held(self, candles: Candles) -> Held:
        """Where it is true and where false (Kleene's logic: what rests on a value that is not known may be neither).

        The margin of a pair is (A - B) / max(|A|, |B|, close where one of them is a price). A is above B where it is
        more than `EQUAL`, below where less than -`EQUAL`. A crosses above B where it is above and was known not to be
        on the candle before: so after "above, equal" the next "above" is a crossing, as in TradingView's
        `ta.crossover`. The strength of a pair is its margin's size, that of `all` the least of its parts', that of
        `any` the greatest of those that are true.
        """
        if self._parts:
            parts = [part.held(candles) for part in self._parts]
            true, false = [part.true for part in parts], [part.false for part in parts]
            if self.every:
                strength = np.minimum.reduce([part.strength for part in parts])
                return Held(np.logical_and.reduce(true), np.logical_or.reduce(false), strength)
            strength = np.maximum.reduce([np.where(part.true, part.strength, 0.0) for part in parts])
            return Held(np.logical_or.reduce(true), np.logical_and.reduce(false), strength)
        margin = self._margin(candles)
        beyond = margin if self._operator in ("above", "crosses_above") else -margin
        is_known = ~np.isnan(margin)
        is_there, is_not = is_known & (beyond > EQUAL), is_known & ~(beyond > EQUAL)
        if self._operator in _LEVELS:
            return Held(is_there, is_not, np.abs(margin))
        was_not, was_there = before(is_not, candles.has_before), before(is_there, candles.has_before)
        return Held(is_there & was_not, is_not | was_there, np.abs(margin))

    def _margin(self, candles: Candles) -> Floats:
        pair = self._pair or ()
        count = len(candles.has_before)
        left, right = (candles.values[o] if isinstance(o, str) else np.full(count, float(o)) for o in pair)
        scale = np.maximum(np.abs(left), np.abs(right))
        if any(operand in candles.prices for operand in pair):
            scale = np.maximum(scale, candles.values[_CLOSE])
        return np.divide(left - right, scale, out=np.where(np.isnan(scale), np.nan, 0.0), where=scale > 0)


def before(flags: Flags, has_before: Flags) -> Flags:
    """What was so on the candle before; false where that may not be compared."""
    return np.concatenate([[False], flags[:-1]])[: len(flags)] & has_before


class Rule(BaseModel):
    """A condition with a name, what it says to do, and the candles that it looks at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    side: Literal["buy", "sell"]
    when: Condition
    intervals: tuple[Interval, ...] = Field(default=(), min_length=1)
    symbols: tuple[Asset, ...] = Field(default=(), min_length=1)

    @property
    def definition(self) -> str:
        """What it says: `buy when crosses_above(ema_12, ema_26)`."""
        return f"{self.side} when {self.when}"

    def looks_at(self, symbol: str, interval: str) -> bool:
        """Whether it is of these candles."""
        return (not self.symbols or symbol in self.symbols) and (not self.intervals or interval in self.intervals)


class Costs(BaseModel):
    """What a trade costs, in basis points of its price."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fee_bps: float = Field(ge=0, le=1000)
    spread_bps: float = Field(ge=0, le=1000)
    """The whole spread, where that of the minute is not known."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    costs: Costs
    rules: tuple[Any, ...] = Field(min_length=1)


class Rules(NamedTuple):
    """What a `signals.yaml` says."""

    costs: Costs
    rules: tuple[Rule, ...]
    refused: tuple[str, ...]
    """Why each of the others is refused: file, line and cure."""


def load(path: Path, plan: Plan) -> Rules:
    """The file's rules. Each that is wrong is refused by itself, and the others go on.

    Raises `SignalsFileError` with file, line and reason where the file as a whole cannot be read.
    """
    file, parsed = yaml_file.load(path, _File, SignalsFileError, "`costs` and `rules`")
    known = Known.of(plan)
    rules: dict[str, Rule] = {}
    refused = []
    for place, value in enumerate(file.rules):
        try:
            rule = Rule.model_validate(value, context=known)
            fault = _fault(rule, rules, plan)
            if fault:
                key, reason = fault
                refused.append(f"{parsed.at(('rules', place, key))}: rules.{place}.{key}: {reason}.")
            else:
                rules[rule.name] = rule
        except ValidationError as error:
            refused.append(_refusal(parsed, place, error))
    return Rules(file.costs, tuple(rules.values()), tuple(refused))


def _refusal(parsed: Parsed, place: int, error: ValidationError) -> str:
    fault = error.errors()[0]
    loc = ("rules", place, *fault["loc"])
    where = ".".join(str(part) for part in loc)
    return f"{parsed.at(loc)}: {where}: {fault['msg'].removeprefix('Value error, ')}."


def _fault(rule: Rule, others: Mapping[str, Rule], plan: Plan) -> tuple[str, str] | None:
    """What is wrong with a rule beside the others: under which key, and why."""
    if rule.name in others:
        return "name", f"{rule.name} stands twice: give it a name of its own"
    if rule.name == ALWAYS_LONG:
        return "name", f"{ALWAYS_LONG} is what rules are compared with: give it another name"
    for key in ("intervals", "symbols"):
        values: Sequence[str] = getattr(rule, key)
        if len(set(values)) < len(values):
            return key, "one stands twice: name each once"
    stands = {
        name for chosen in plan.sets if _meet(rule, chosen) for each in chosen.indicators for name in each.columns
    }
    lacking = [name for name in rule.when.columns if name not in (_CLOSE, *stands)]
    if lacking:
        return "when", f"{lacking[0]} stands on none of these candles in config/indicators.yaml: add it there"
    return None


def _meet(rule: Rule, chosen: Chosen) -> bool:
    """Whether there are candles that both the rule and a set of indicators are of."""
    both = [(rule.intervals, chosen.intervals), (rule.symbols, chosen.symbols)]
    return all(not ours or not theirs or set(ours) & set(theirs) for ours, theirs in both)


def becomes_true(condition: Condition, candles: Candles) -> tuple[Flags, Floats]:
    """The candles on which it is true and on the one before was known to be false; and its strength."""
    held = condition.held(candles)
    return held.true & before(held.false, candles.has_before), held.strength
