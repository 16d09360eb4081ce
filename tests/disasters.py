"""What befalls a machine: its disk is full, its clock is set."""

import errno
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

BLOCK = 64 * 1024
SOURCE = Path(__file__).with_name("clock.c")


class Disk:
    """A small disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave no byte free; again, where something was deleted meanwhile."""
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
def disk(megabytes: int) -> Iterator[Disk | str]:
    """Such a disk, in memory; where it cannot be had, why not."""
    folder = Path(tempfile.mkdtemp(prefix="crypto-lakehouse-test-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            yield f"a small disk takes the right to mount one: {done.stderr.strip()}"
            return
        try:
            yield Disk(folder)
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Clock:
    """A clock beside the right one, for the processes that get `environment`."""

    def __init__(self, folder: Path) -> None:
        self.library = folder / "clock.so"
        self._ahead = folder / "ahead"
        self.set(0)
        self.environment = {"LD_PRELOAD": str(self.library), "CLOCK_AHEAD": str(self._ahead)}

    def set(self, ahead: float) -> None:
        """Set it so many seconds ahead of the right one, at once."""
        with self._ahead.open("r+b" if self._ahead.exists() else "wb") as file:  # in place, for it is mapped
            file.write(struct.pack("=q", round(ahead * 1e9)))

    def is_of(self, process: psutil.Process) -> bool:
        """Does a process go by this clock?"""
        return any(mapped.path == str(self.library) for mapped in process.memory_maps())


@contextmanager
def clock() -> Iterator[Clock | str]:
    """Such a clock; where it cannot be made, why not."""
    compiler = shutil.which("cc")
    if compiler is None:
        yield "the clock that is set takes a C compiler, which is not installed here: apt-get install gcc libc6-dev"
        return
    with tempfile.TemporaryDirectory(prefix="crypto-lakehouse-test-clock-") as folder:
        made = Clock(Path(folder))
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", made.library, SOURCE], check=True)
        yield made
