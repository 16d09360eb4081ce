"""Parts of a deployed system fail, as they do: each time it recovers without a hand. What became of the data is the
verdict's, afterwards.
"""

import time
from functools import partial

import psutil
import pytest

from tests.chaos.facts import sent_so_far
from tests.chaos.settling import now
from tests.chaos.victims import kill
from tests.disasters import Clock, Disk
from tests.disasters import clock as a_clock
from tests.drills.conftest import Drills
from tests.drills.disasters import give, kept_down, power_cut
from tests.integration.test_recovery import run_under_way
from tests.system import SYMBOLS, wait_for

DOWN = {"minio": 120, "postgres": 60}
"""Seconds."""
FULL = 30
"""Seconds for which streaming keeps what Kafka has no room for."""
STEPS = (90, -90)
"""Seconds by which the clock is ahead: it is put on, and put back by three minutes. In the end it is put right."""


@pytest.mark.parametrize("store", DOWN)
def test_a_store_may_be_down_for_minutes(drills: Drills, store: str) -> None:
    began = now()
    times = kept_down(drills.system, store, DOWN[store])
    drills.note(f"{store} down", began)
    drills.recovered(f"{store} was down for {DOWN[store]} s, killed {times} times")


def test_kafkas_disk_may_be_full(drills: Drills) -> None:
    if not isinstance(drills.kafka_disk, Disk):
        pytest.skip(drills.kafka_disk)
    system, began = drills.system, now()
    drills.kafka_disk.fill()
    wait_for("streaming spools to its own disk", lambda: system.metric("spool_messages"), every=0.5)
    noticed = (now() - began) / 1e6
    full_until = time.monotonic() + FULL
    while time.monotonic() < full_until:
        drills.kafka_disk.fill()  # Kafka may make room, of what it had reserved
        time.sleep(1)
    ailing, spooled = drills.ailing(), system.metric("spool_messages")
    drills.kafka_disk.free()
    drills.note("kafka's disk full", began)
    drills.say(
        f"the spool was used after {noticed:.1f} s, and has {spooled:.0f} messages after {FULL} s; then {ailing}"
    )
    drills.recovered("Kafka's disk was full")
    wait_for("the spool is empty again", lambda: not system.metric("spool_messages"), every=1)


def test_a_spark_worker_may_be_lost_while_it_writes(drills: Drills) -> None:
    began = now()
    wait_for("a run that writes", lambda: run_under_way(drills.system), every=0.02)
    lost = [victim for victim in ("spark-executor", "spark-worker") if kill(drills.system, victim)]
    assert lost == ["spark-executor", "spark-worker"]
    drills.note("spark worker lost", began)
    drills.recovered("the Spark worker was lost while it wrote")


def test_the_clock_may_be_set(drills: Drills) -> None:
    with a_clock() as clock:
        if not isinstance(clock, Clock):
            pytest.skip(clock)
        system, began = drills.system, now()
        give(clock, system)
        drills.note("kill of streaming", began, is_outage=True)
        wait_for("our services are healthy", lambda: not drills.ailing(), every=1)
        assert clock.is_of(psutil.Process(system.supervisor().processes()["streaming"]["pid"]))
        for ahead in STEPS:
            began = now()
            clock.set(ahead)
            wait_for("candles go on", partial(drills.closed_after, began), every=2)
            drills.note(f"clock at {ahead:+d} s", began)
            drills.say(f"clock at {ahead:+d} s: candles of the minute after it after {(now() - began) / 1e6:.0f} s")
        clock.set(0)
        drills.recovered("the clock was set right")


def test_the_power_may_be_cut(drills: Drills) -> None:
    system = drills.system
    wait_for("a run that writes", lambda: run_under_way(system), every=0.02)
    began = now()
    drills.sent_before += power_cut(system, partial(sent_so_far, system, SYMBOLS))
    drills.note("kill of streaming", began, is_outage=True)
    assert not system.processes()
    began = now()
    system.deploy()
    drills.say(f"after a power cut ./deploy.sh took {(now() - began) / 1e6:.0f} s")
    drills.recovered("the power was cut")
