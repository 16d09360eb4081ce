"""What a campaign does, and when: all of it follows from a seed and a number of minutes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

Fault = Mapping[str, Any]
"""As `POST /faults` of the simulator takes it."""
KILLS_A_MINUTE = 0.5
"""Of each victim; each at least twice."""
FAULTS_A_MINUTE = 6
DELISTED_ALONE, RELISTED_ALONE = "DOGEUSDT", "LTCUSDT"
"""Listed by the simulated exchange, and not streamed."""


@dataclass(frozen=True)
class Kill:
    """A `kill -9`, so many seconds after the mixture began or as soon after as there is one to kill."""

    at: float
    victim: str


@dataclass(frozen=True)
class Plan:
    """The whole of it."""

    seed: int
    minutes: float
    refused: tuple[Fault, ...]
    """First of all: a hole while single trades are refused. It is long before they are asked for again, unless the
    service is started anew."""
    slow: tuple[Fault, ...]
    """They take whole minutes; each has a symbol of its own, so that they can run at once."""
    alone: tuple[tuple[Fault, ...], ...]
    """One after another; at once where nothing is to show."""
    mixture: Fault
    kills: tuple[Kill, ...]

    @classmethod
    def drawn(cls, seed: int, minutes: float, symbols: Sequence[str], victims: Sequence[str]) -> "Plan":
        """The plan of a seed."""
        random = Random(f"{seed}/{minutes:g}")
        names = random.sample(symbols, len(symbols))
        alone = _alone(random, [*names[:3], *names[4:]])
        return cls(
            seed,
            minutes,
            refused=(
                {"kind": "refuse", "endpoints": ("historicalTrades", "trades"), "seconds": 8},
                {"kind": "skip", "symbol": random.choice(symbols), "count": random.randint(10, 200), "seconds": 5},
            ),
            slow=(
                {"kind": "no_kline", "symbol": names[0]},
                {"kind": "late_kline", "symbol": names[1], "by": random.choice((5, 20))},
                {"kind": "venue_gap", "symbol": names[2], "count": random.randint(1, 20)},
                {"kind": "halt", "symbol": names[3], "minutes": 1},  # so that no other fault comes alone to this one
                {"kind": "list"},
                {"kind": "delist", "symbol": DELISTED_ALONE},
                {"kind": "relist", "symbol": RELISTED_ALONE, "minutes": 1},
            ),
            # At the end a silence, when it is known again how long each stream is used to be silent.
            alone=(*random.sample(alone, len(alone)), ({"kind": "silence", "seconds": 25},)),
            mixture={
                "kind": "chaos",
                "minutes": minutes,
                "per_minute": FAULTS_A_MINUTE,
                "seed": seed,
                "symbols": tuple(symbols),
            },
            kills=_kills(random, minutes, victims),
        )

    @property
    def how_to_repeat(self) -> str:
        """For a run that failed."""
        return f"to repeat it: ./test.sh --chaos --seed {self.seed} --minutes {self.minutes:g}"


def _alone(random: Random, symbols: Sequence[str]) -> list[tuple[Fault, ...]]:
    def one(kind: str, **parameters: object) -> tuple[Fault, ...]:
        return ({"kind": kind, **parameters},)

    def symbol() -> str:
        return random.choice(symbols)

    return [
        one("cut", seconds=random.randint(2, 5), mid_frame=False),
        one("cut", symbol=symbol(), seconds=0, mid_frame=True),
        one("rotate"),
        one("server_shutdown", seconds=4),
        one("silence", symbol=symbol(), stream="trade", seconds=4),
        one("repeat", symbol=symbol(), copies=2, later=1, seconds=2),
        one("reorder", symbol=symbol(), window=random.randint(3, 30), seconds=2),
        one("delay", symbol=symbol(), by=2, seconds=2),
        one("skip", symbol=symbol(), count=random.randint(1, 1500), seconds=20),
        one("broken_json", symbol=symbol(), count=random.randint(1, 9), seconds=5),
        one("unknown_event", symbol=symbol()),
        one("non_ascii"),
        one("milliseconds", where="both", seconds=2),
        one("skew", by=random.choice((-1.5, 1.5)), seconds=2),
        one("rest_error", status=random.choice((418, 429, 503)), retry_after=2, seconds=2),
        tuple({"kind": f"archive_{what}", "seconds": 1} for what in ("absent", "checksum", "corrupt", "now")),
    ]


def _kills(random: Random, minutes: float, victims: Sequence[str]) -> tuple[Kill, ...]:
    """Each victim so often, spread evenly, in rounds of another order, so that what was killed can come back."""
    rounds = max(2, round(minutes * KILLS_A_MINUTE))
    order: list[str] = []
    for _ in range(rounds):
        order += random.sample(victims, len(victims))
    pause = minutes * 60 / (len(order) + 1)
    return tuple(Kill(pause * (number + random.random()), victim) for number, victim in enumerate(order))
