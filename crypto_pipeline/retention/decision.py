"""What goes, and what stays although it is old enough: pure, of what there is, the rules and the time."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from crypto_pipeline.expired import DAY, midnight
from shared.retention import Rules


class Unit(NamedTuple):
    """What goes as a whole or not at all: a day of a symbol in the raw archive, or of a table."""

    what: str
    """`raw`, or the full name of a table."""
    exchange: str
    symbol: str
    """Both are empty where it is of a table."""
    day: date


class Size(NamedTuple):
    """How much there is of it."""

    files: int
    bytes: int


@dataclass(frozen=True)
class Decision:
    """What goes, and why the rest of what is old enough stays."""

    goes: Mapping[Unit, Size]
    stays: Mapping[Unit, str]

    @property
    def bytes(self) -> int:
        """What is freed."""
        return sum(size.bytes for size in self.goes.values())


def due(held: Iterable[Unit], rules: Rules, now: datetime) -> list[Unit]:
    """What is old enough to go, the oldest first: its day ended at least so long ago as it is kept."""
    return sorted((unit for unit in held if _is_due(unit, rules, now)), key=lambda unit: (unit.day, *unit[:3]))


def _is_due(unit: Unit, rules: Rules, now: datetime) -> bool:
    keep = rules.keep(unit.what, unit.symbol)
    return keep is not None and midnight(unit.day) + DAY + keep <= now


def decided(
    held: Mapping[Unit, Size], rules: Rules, now: datetime, unproven: Callable[[list[Unit]], Mapping[Unit, str]]
) -> Decision:
    """`unproven` says of which of the units it is given, and why, what was made of them is not verified."""
    old = due(held, rules, now)
    stays = {unit: why for unit, why in unproven(old).items() if unit in set(old)}
    return Decision({unit: held[unit] for unit in old if unit not in stays}, stays)
