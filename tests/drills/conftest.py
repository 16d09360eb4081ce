"""One system for the drills, and one verdict after them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from tests.chaos import verdict
from tests.chaos.facts import MINUTE, Disturbance, clock, gathered
from tests.chaos.judge import Judge
from tests.chaos.settling import now, unsettled_after, wait_for_a_clean_minute
from tests.disasters import Disk, disk
from tests.drills.disasters import KAFKA_DISK_MEGABYTES, lend
from tests.integration.test_alerts import Told, receiving
from tests.system import PATIENCE, STREAMED_ALONE, SYMBOLS, System, deployed, mark_long, wait_for

RATE = "40"
"""Trades a second of the busiest symbol, of all five 118; with all else that they bring, some 350 messages a second."""
LEVELS = range(-15, 16)
"""Thousandths of the price by which a level of an alert lies beside it."""
ALERT = {"kind": "price_crosses", "symbols": ["BTCUSDT"], "cool_down_minutes": 0}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder are long."""
    mark_long(items, Path(__file__).parent)


@dataclass
class Drills:
    """The system, and what was done to it."""

    system: System
    say: Callable[[str], None]
    kafka_disk: Disk | str
    """Or why there is none."""
    told: Told
    levels: Mapping[str, float]
    """Of the bitcoin's price, by the name of the rule that tells when it is crossed."""
    alerted_from: int
    """When these rules were followed."""
    done: list[Disturbance] = field(default_factory=list)
    sent_before: list[tuple[str, str, int, int]] = field(default_factory=list)
    """What the simulator had sent when it was killed."""
    until: int = 0
    """The end of what is judged, a whole minute."""
    unsettled: str = ""
    """What was not settled in time; empty where all was."""

    def note(self, kind: str, start: int, *, is_outage: bool = False) -> None:
        """Something was done, from a time until now. With `kill of streaming` the verdict lets messages be lost."""
        self.done.append(Disturbance(kind, start, now(), is_outage=is_outage))

    def recovered(self, what: str) -> None:
        """Without a hand: all services are healthy again, and there is a candle of each symbol that closed since."""
        since, began = now(), monotonic()
        wait_for(f"all services are healthy after {what}", lambda: not self.ailing(), every=1)
        healthy = monotonic() - began
        wait_for(f"candles go on after {what}", lambda: self.closed_after(since), every=2)
        self.say(
            f"{what}: healthy after {healthy:.0f} s, candles of the minute after it after {monotonic() - began:.0f} s"
        )

    def ailing(self) -> list[str]:
        """Why services are not healthy."""
        return [f"{service.name}: {service.reason}" for service in self.system.services() if not service.healthy]

    def closed_after(self, moment: int) -> bool:
        """Has each symbol a closed candle of the minute after a moment?"""
        minute = (moment // MINUTE + 1) * MINUTE
        asked = f"select distinct symbol from silver.ohlcv_1m where is_closed and epoch_us(interval_start) >= {minute}"
        return len(self.system.query(asked)) == len(SYMBOLS)


@pytest.fixture(scope="package")
def drills(request: pytest.FixtureRequest) -> Iterator[Drills]:
    """The system, of which a minute went by in which nothing was done to it."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"drills {clock(now())} {line}", flush=True)

    with disk(KAFKA_DISK_MEGABYTES) as small:
        prepared = partial(lend, small) if isinstance(small, Disk) else lambda _home: None
        with deployed(prepared=prepared, **STREAMED_ALONE, SIMULATOR_RATE=RATE) as system, receiving(system) as told:
            wait_for_a_clean_minute(system, say)
            asked = "select close from silver.ohlcv_1m where symbol = 'BTCUSDT' order by interval_start desc limit 1"
            price = wait_for("a candle", lambda: system.query(asked))[0]["close"]
            levels = {f"level_{part + 20}": round(price * (1 + part / 1000), 2) for part in LEVELS}
            told.follow(*(ALERT | {"name": name, "above": level} for name, level in levels.items()))
            yield Drills(system, say, small, told, levels, now())


@pytest.fixture(scope="package")
def judge(drills: Drills) -> Judge:
    """What the lake and the simulator say, once all is settled."""
    drills.until = (now() // MINUTE + 1) * MINUTE
    drills.unsettled = unsettled_after(drills.system, drills.until, PATIENCE, drills.say)
    facts = gathered(drills.system, SYMBOLS, drills.done, drills.until, drills.sent_before)
    verdict.prepare(facts)
    return Judge(facts, "to repeat it: ./test.sh --long tests/drills")
