"""When which fault comes: a list that a person writes, and the moments that follow from it and a seed.

A list (YAML or JSON), or one entry of it; an entry is a fault with its parameters, and when it comes, in seconds:

    - {kind: cut, at: 150, every: 1800, seconds: 20}       # once, and then each half hour
    - {kind: skip, symbol: BTCUSDT, per_minute: 2}         # at random moments, twice a minute on average
    - {kind: refuse, endpoints: [historicalTrades]}        # at once
    - {kind: chaos, minutes: 10}                           # a mixture of all that can be repaired
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streaming.simulator import SimulatorError
from streaming.simulator.faults import Fault, kinds
from streaming.simulator.instruments import listed

PLANTED = ({"kind": "cut", "at": 150, "every": 1800, "seconds": 20},)
"""What the demo plants: in its third minute, and then each half hour, so that a user sees one heal."""
_OF_A_MINUTE = ("late_kline", "no_kline")
_SETTLING = 45.0
_YEAR = 366 * 86_400


class Planned(NamedTuple):
    """A fault at its moment."""

    at: float
    """Seconds from the start of the schedule."""
    fault: Fault
    seed: str
    """Of what the fault draws itself."""


class _Times(BaseModel):
    """When an entry comes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Annotated[float, Field(ge=0, le=_YEAR)] = 0.0
    every: Annotated[float, Field(ge=1, le=_YEAR)] | None = None
    per_minute: Annotated[float, Field(gt=0, le=600)] | None = None


class Chaos(BaseModel):
    """A mixture of every fault that `chaos` has (all that loses nothing that cannot be had again), for some minutes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minutes: Annotated[float, Field(gt=0, le=1440)] = 10.0
    per_minute: Annotated[float, Field(gt=0, le=60)] = 6.0
    seed: int | None = None
    symbols: tuple[str, ...] = listed()[:5]
    kinds: tuple[str, ...] = Field((), description="These alone; empty: all that it has.")


class Entry(NamedTuple):
    """One line of a schedule, understood."""

    what: Fault | Chaos
    times: _Times


def entries(asked: object) -> list[Entry]:
    """What a person asked for. Raises `SimulatorError` with the entry and the reason."""
    if asked in ("chaos", ["chaos"]):
        asked = [{"kind": "chaos"}]
    rows = asked if isinstance(asked, Sequence) and not isinstance(asked, str) else [asked]
    return [_entry(row) for row in rows or [None]]


def read(spec: str) -> list[Entry]:
    """The entries of a file, or of the text itself. Raises `SimulatorError`."""
    try:
        text = Path(spec).read_text(encoding="utf-8") if spec.endswith((".yaml", ".yml", ".json")) else spec
        return entries(yaml.safe_load(text))
    except OSError as error:
        raise SimulatorError(f"{spec}: cannot be read ({error.strerror or error}).") from None
    except yaml.YAMLError as error:
        raise SimulatorError(f"The faults {spec!r} are no YAML ({error}).") from None


def _entry(row: object) -> Entry:
    known = kinds()
    if not isinstance(row, dict) or row.get("kind") not in {*known, "chaos"}:
        names = ", ".join([*known, "chaos"])
        raise SimulatorError(f"{row!r} is no fault: it needs a kind, which is one of {names}.")
    fields: dict[str, Any] = {name: value for name, value in row.items() if name != "kind"}
    model: type[Fault | Chaos] = Chaos if row["kind"] == "chaos" else known[row["kind"]]
    timed = {
        name: fields.pop(name) for name in _Times.model_fields if name in fields and name not in model.model_fields
    }
    try:
        return Entry(model(**fields), _Times(**timed))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise SimulatorError(f"The fault {row!r} is wrong: {where}: {fault['msg']}.") from None


def plan(wanted: Iterable[Entry], seed: int) -> Iterator[Planned]:
    """All moments in order, perhaps without end: the same for the same entries and seed."""
    lines = [_moments(entry, f"{seed}/{number}") for number, entry in enumerate(wanted)]
    return heapq.merge(*lines, key=lambda planned: planned.at)


def _moments(entry: Entry, seed: str) -> Iterator[Planned]:
    if isinstance(entry.what, Chaos):
        for planned in _mixture(entry.what, seed):
            yield planned._replace(at=planned.at + entry.times.at)
        return
    random, at, number = Random(f"{seed}/moments"), entry.times.at, 0  # noqa: S311 (a schedule, no secret)
    per_minute, every = entry.times.per_minute, entry.times.every
    if per_minute:
        at += random.expovariate(per_minute / 60.0)
    while True:
        yield Planned(at, entry.what, f"{seed}/{number}")
        number += 1
        if per_minute:
            at += random.expovariate(per_minute / 60.0)
        elif every:
            at += every
        else:
            return


def _mixture(chaos: Chaos, seed: str) -> Iterator[Planned]:
    """Draws from a deck of the kinds that is shuffled again when it is used up, so that each comes early."""
    random = Random(seed if chaos.seed is None else str(chaos.seed))  # noqa: S311
    has = [kind for kind in kinds().values() if kind.drawn(Random(0), listed()[0])]  # noqa: S311
    chosen = [kind for kind in has if kind.kind in chaos.kinds or not chaos.kinds]
    if not chosen or set(chaos.kinds) - {kind.kind for kind in has}:
        names = ", ".join(kind.kind for kind in has)
        raise SimulatorError(f"chaos has the kinds {names}, and not all of {', '.join(chaos.kinds)}.")
    length = chaos.minutes * 60.0
    count = max(round(chaos.minutes * chaos.per_minute), 1)
    deck: list[type[Fault]] = []
    drawn = []
    for number in range(count):
        if not deck:
            deck = random.sample(chosen, len(chosen))
        fault = deck.pop().drawn(random, random.choice(chaos.symbols))
        assert fault is not None  # noqa: S101 (only such are in the deck)
        settling = _SETTLING + 60.0 * (fault.kind in _OF_A_MINUTE)
        at = round(random.uniform(0.0, max(length - settling, 1.0)), 3)
        drawn.append(Planned(at, fault, f"{seed}/{number}"))
    yield from sorted(drawn, key=lambda planned: planned.at)
