"""What a drill does to a deployed system: it takes a part of it away, for a while or at once."""

import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

from tests.chaos.victims import kill
from tests.disasters import Clock, Disk
from tests.system import System

Answer = TypeVar("Answer")
LOOK = 0.2
"""Seconds."""
KAFKA_DISK_MEGABYTES = 512
STEPPED = ("streaming", "dagster-code", "dagster-webserver", "dagster-daemon", "alerts", "monitoring", "dashboard")
"""The services whose clock is set: those that are ours. Spark, Kafka and the stores keep theirs."""


def kept_down(system: System, service: str, seconds: float) -> int:
    """Kill a service each time that supervisor starts it, for so long; how often that was."""
    ends = time.monotonic() + seconds
    killed = 0
    while time.monotonic() < ends:
        killed += kill(system, service) is not None
        time.sleep(LOOK)
    return killed


def power_cut(system: System, account: Callable[[], Answer]) -> Answer:
    """Kill every process at once; gives what the simulator, which is no part of the machine, told last of all."""
    keeper = _supervisord(system)
    simulator = psutil.Process(system.supervisor().processes()["simulator"]["pid"])
    keeper.send_signal(signal.SIGSTOP)  # so that it starts nothing, and the simulator, which dies with it, can answer
    for process in system.processes():
        if process not in (keeper, simulator):
            with suppress(psutil.Error):
                process.kill()
    told = account()
    left = [*system.processes(), keeper, simulator]
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=30)
    return told


def _supervisord(system: System) -> psutil.Process:
    return psutil.Process(int((system.supervisor().folder / "supervisord.pid").read_text()))


def lend(disk: Disk, home: Path) -> None:
    """Have a system that is yet to be deployed keep Kafka's data on a small disk."""
    (disk.folder / "data").mkdir()
    kafka = home / "var" / "demo" / "kafka"
    kafka.mkdir(parents=True)
    (kafka / "data").symlink_to(disk.folder / "data")


def give(clock: Clock, system: System) -> None:
    """Start our services again, to go by a clock that can be set."""
    given = "".join(f',{name}="{value}"' for name, value in clock.environment.items())
    written = system.supervisor().folder / "supervisord.conf"
    programs = rf"(\[program:(?:{'|'.join(STEPPED)})\]\n(?:.+\n)*?environment=.*)"
    written.write_text(re.sub(programs, rf"\1{given}", written.read_text()))
    restarted = system.supervisor().update()
    assert sorted(restarted) == sorted(STEPPED), restarted
