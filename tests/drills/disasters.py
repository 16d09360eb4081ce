"""What a drill does to a deployed system: it takes a part of it away, for a while or at once."""

import errno
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil

from tests.chaos.victims import kill
from tests.system import System

Answer = TypeVar("Answer")
LOOK = 0.2
"""Seconds."""
KAFKA_DISK_MEGABYTES = 512
BLOCK = 64 * 1024
CLOCK = Path(__file__).with_name("clock.c")
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


# --- the disk


class KafkaDisk:
    """A small disk of its own for Kafka's data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._filler = folder / "filler"

    def lend(self, home: Path) -> None:
        """Have a system that is yet to be deployed keep Kafka's data here."""
        kafka = home / "var" / "demo" / "kafka"
        kafka.mkdir(parents=True)
        (kafka / "data").symlink_to(self._folder / "data")

    def fill(self) -> None:
        """Leave no byte free, whatever is deleted meanwhile."""
        with self._filler.open("ab", buffering=0) as filler:
            try:
                while filler.write(b"\0" * BLOCK):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        """There is space again."""
        self._filler.unlink()


@contextmanager
def kafka_disk() -> Iterator[KafkaDisk | str]:
    """Such a disk, in memory; where it cannot be had, why not."""
    folder = Path(tempfile.mkdtemp(prefix="crypto-lakehouse-test-kafka-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={KAFKA_DISK_MEGABYTES}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            yield f"a small disk for Kafka takes the right to mount one: {done.stderr.strip()}"
            return
        try:
            (folder / "data").mkdir()
            yield KafkaDisk(folder)
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- the clock


class Clock:
    """The clock of our services, beside that of the exchange and of this process."""

    def __init__(self, folder: Path) -> None:
        self.library = folder / "clock.so"
        self._ahead = folder / "ahead"
        self.set(0)

    def set(self, ahead: float) -> None:
        """Set it so many seconds ahead of the right one, at once."""
        with self._ahead.open("r+b" if self._ahead.exists() else "wb") as file:  # in place, for it is mapped
            file.write(struct.pack("=q", round(ahead * 1e9)))

    def give(self, system: System) -> None:
        """Start our services again, to go by this clock."""
        given = f',LD_PRELOAD="{self.library}",CLOCK_AHEAD="{self._ahead}"'
        written = system.supervisor().folder / "supervisord.conf"
        programs = rf"(\[program:(?:{'|'.join(STEPPED)})\]\n(?:.+\n)*?environment=.*)"
        written.write_text(re.sub(programs, rf"\1{given}", written.read_text()))
        restarted = system.supervisor().update()
        assert sorted(restarted) == sorted(STEPPED), restarted

    def is_of(self, process: psutil.Process) -> bool:
        """Does a process go by this clock?"""
        return any(mapped.path == str(self.library) for mapped in process.memory_maps())


@contextmanager
def clock() -> Iterator[Clock | str]:
    """A clock that can be set; where it cannot be made, why not."""
    compiler = shutil.which("cc")
    if compiler is None:
        yield "the clock that is set takes a C compiler, which is not installed here: apt-get install gcc libc6-dev"
        return
    with tempfile.TemporaryDirectory(prefix="crypto-lakehouse-test-clock-") as folder:
        made = Clock(Path(folder))
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", made.library, CLOCK], check=True)
        yield made
