"""The processes of a deployment: they carry its mark in their environment, whatever became of their parent."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import psutil

MARK = "CRYPTO_DEPLOYMENT"
"""The variable whose value is the deployment's state folder."""


def ours(state: Path) -> list[psutil.Process]:
    """Every process that this deployment started, and that still runs."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == str(state) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end(processes: Iterable[psutil.Process], patience: float = 15) -> None:
    """Ask the processes to end, wait, and end what did not."""
    asked = list(processes)
    for process in asked:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(asked, timeout=patience)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def memory(process: psutil.Process) -> int:
    """The bytes that a process and its children hold. What they share is counted for each."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss
    return total
