"""A campaign can be repeated, and leaves nothing out."""

from itertools import chain

import pytest

from streaming.simulator.faults import kinds
from streaming.simulator.schedule import entries, plan
from tests.chaos.plan import Plan
from tests.chaos.victims import VICTIMS
from tests.system import SYMBOLS


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_and_minutes_give_the_same_plan(seed: int) -> None:
    first, again, other = (Plan.drawn(number, 3, SYMBOLS, VICTIMS) for number in (seed, seed, seed + 100))
    assert first == again != other


def test_every_fault_of_the_simulator_is_in_the_plan_and_can_be_asked_for() -> None:
    drawn = Plan.drawn(1, 3, SYMBOLS, VICTIMS)
    faults = [*drawn.refused, *drawn.slow, *chain.from_iterable(drawn.alone)]
    assert {fault["kind"] for fault in faults} == set(kinds())
    entries([*faults, drawn.mixture])


@pytest.mark.parametrize("minutes", [0.5, 3, 10])
def test_each_part_is_killed_more_than_once_in_the_minutes_of_the_mixture(minutes: float) -> None:
    kills = Plan.drawn(4, minutes, SYMBOLS, VICTIMS).kills
    assert all(sum(kill.victim == victim for kill in kills) >= 2 for victim in VICTIMS)
    assert [kill.at for kill in kills] == sorted(kill.at for kill in kills)
    assert 0 <= kills[0].at < kills[-1].at < minutes * 60


def test_the_mixture_of_a_seed_is_always_the_same_and_has_every_fault_that_can_be_mended() -> None:
    drawn = Plan.drawn(2, 3, SYMBOLS, VICTIMS)
    first, again = (list(plan(entries(drawn.mixture), 0)) for _ in range(2))
    assert first == again
    assert {planned.fault.kind for planned in first} >= {"cut", "silence", "skip", "no_kline", "late_kline", "reorder"}
