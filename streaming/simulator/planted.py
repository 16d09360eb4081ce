"""What is planted in the made market with known parameters, so that analytics can be tested for finding it.

- Symbols move together by the market's common factor: `correlation` says how much.
- `LEAD_LAG`: of the leader's own movement the follower repeats a share, some minutes later.
- `RECURRING`: anomalies, each kind on one symbol, one in every so many minutes at a minute drawn from the seed, in the
  past as in the future.

`/truth/planted` tells all of it. A market that was opened before there was any of this has none: its past stands.
"""

import math
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.simulator import noise
from streaming.simulator.instruments import Instrument, instrument
from streaming.simulator.noise import Ints

MINUTE = 60_000_000
"""Microseconds."""
COMMON_VOLATILITY = 0.018
"""The common factor's daily movement, as a share of the price, at a beta of 1."""

Kind = Literal["volume_burst", "price_jump", "frozen_price", "wide_spread"]


class LeadLag(NamedTuple):
    """The follower's price moves by `weight` times what the leader's own did, `minutes` before."""

    leader: str
    follower: str
    minutes: int
    weight: float


class Recurring(NamedTuple):
    """One anomaly in every `every` minutes since the market's opening, which lasts whole minutes."""

    kind: Kind
    symbol: str
    every: int
    minutes: int
    size: float


class Anomaly(NamedTuple):
    """One anomaly, in the times `[start, end)` (microseconds).

    `size` by kind: `volume_burst`, by which each quantity is multiplied; `price_jump`, by how much the price steps up
    or down at the start, as a share of it (it then goes back evenly until the end); `wide_spread`, what is added to the
    spread, as a share of the price; `frozen_price`, at which all trades have the one price of the start: 0.
    """

    kind: Kind
    symbol: str
    start: int
    end: int
    size: float

    def holds(self, times: Ints) -> NDArray[np.bool_]:
        """Whether each time lies in it."""
        held: NDArray[np.bool_] = (times >= self.start) & (times < self.end)
        return held


LEAD_LAG = LeadLag("ETHUSDT", "BNBUSDT", minutes=3, weight=0.8)
RECURRING = (
    Recurring("volume_burst", "BTCUSDT", every=360, minutes=3, size=15.0),
    Recurring("price_jump", "SOLUSDT", every=4_320, minutes=120, size=0.01),
    Recurring("frozen_price", "XRPUSDT", every=720, minutes=15, size=0.0),
    Recurring("wide_spread", "SOLUSDT", every=120, minutes=3, size=0.001),
)


def anomalies(seed: int, opening: int, symbol: str, start: int, end: int) -> list[Anomaly]:
    """A symbol's anomalies that meet the times `[start, end)` (microseconds), in the order of `RECURRING`."""
    found = []
    for rule in RECURRING:
        if rule.symbol == symbol and end > opening:
            period = rule.every * MINUTE
            numbers = range((max(start, opening) - opening) // period, (end - 1 - opening) // period + 1)
            drawn = [_drawn(seed, opening, rule, number) for number in numbers]
            found += [one for one in drawn if one.start < end and start < one.end]
    return found


@lru_cache(maxsize=8192)
def _drawn(seed: int, opening: int, rule: Recurring, number: int) -> Anomaly:
    """The anomaly of the `number`-th period."""
    stream = noise.key(seed, rule.symbol, rule.kind)
    place, direction = noise.uniform(stream, np.array([2 * number, 2 * number + 1])).tolist()
    minute = number * rule.every + int(place * (rule.every - rule.minutes + 1))
    start = opening + minute * MINUTE
    is_down = rule.kind == "price_jump" and direction < 0.5
    return Anomaly(rule.kind, rule.symbol, start, start + rule.minutes * MINUTE, -rule.size if is_down else rule.size)


def correlation(symbol_a: str, symbol_b: str, seconds: int, lag: int = 0) -> float:
    """What the correlation of two symbols' log returns over so many seconds is made to be, without the anomalies.

    `lag`: of a's returns with those of b so many seconds later. The movements are those of a Brownian motion: the
    returns of one factor are correlated by the share of the time that they have in common.
    Raises `KeyError` for what is no pair.
    """
    factors_a, factors_b = _factors(symbol_a), _factors(symbol_b)
    covariance = sum(
        size_a * size_b * max(0.0, 1.0 - abs(lag + since_a - since_b) / seconds)
        for factor, (size_a, since_a) in factors_a.items()
        for other, (size_b, since_b) in factors_b.items()
        if factor == other
    )
    variances = [sum(size * size for size, _ in factors.values()) for factors in (factors_a, factors_b)]
    return covariance / math.sqrt(math.prod(variances))


def _factors(symbol: str) -> dict[str, tuple[float, int]]:
    """The daily movement by each factor, and how many seconds after it."""
    pair = _known(symbol)
    factors = {"market": (COMMON_VOLATILITY * pair.beta, 0), symbol: (pair.volatility, 0)}
    if symbol == LEAD_LAG.follower:
        moved = LEAD_LAG.weight * _known(LEAD_LAG.leader).volatility
        factors[LEAD_LAG.leader] = (moved, LEAD_LAG.minutes * 60)
    return factors


def _known(symbol: str) -> Instrument:
    pair = instrument(symbol)
    if pair is None:
        raise KeyError(symbol)
    return pair
