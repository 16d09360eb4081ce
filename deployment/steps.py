"""Installing, in parallel: what each step is, how its commands run, and how all of them end on Ctrl-C."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from deployment.console import Console
from deployment.paths import PROJECT, child_environment


class InstallError(Exception):
    """A step that failed; the message says which, why, and the cure."""


@dataclass(frozen=True)
class Step:
    """One thing to install. `done` looks whether it is there; `run` makes it so, whole or not at all."""

    name: str
    done: Callable[[], bool]
    run: Callable[["Shell"], None]
    cure: str
    is_needed: bool = True
    """Where it is not, and it fails, the others go on."""


class Shell:
    """Runs the commands of steps; their output goes to the log, and `end` ends those that are running."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._ended = False

    def run(self, command: Sequence[str], **env: str) -> None:
        """Run to the end. Raises `InstallError` with the last lines of output where it fails."""
        with self._lock:
            if self._ended:
                raise InstallError("interrupted")
            process = subprocess.Popen(
                command,
                env=child_environment(**env),
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # a group of its own: a build's children end with it
            )
            self._running.add(process)
        tail: deque[str] = deque(maxlen=12)
        with process:
            for line in process.stdout or ():
                self._console.log(f"  {Path(command[0]).name}: {line.rstrip()}")
                tail.append(line.rstrip())
        code = process.returncode
        with self._lock:
            self._running.discard(process)
        if code:
            raise InstallError(f"`{Path(command[0]).name}` ended with {code}:\n    " + "\n    ".join(tail))

    def end(self) -> None:
        """End what runs, with its children, and refuse to run more."""
        with self._lock:
            self._ended = True
            running = list(self._running)
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def install(
    steps: Sequence[Step], console: Console, shell: Shell, after: Callable[[Step], None], watch: Callable[[], None]
) -> None:
    """Run the steps that are not done, side by side.

    In this thread, `after` is called when each is there, and `watch` now and then; what that raises ends the steps.
    Raises `InstallError` for the first needed step that fails, once the others have been ended.
    """
    missing = [step for step in steps if not step.done()]
    for step in steps:
        if step not in missing:
            after(step)
    if not missing:
        return
    started = time.monotonic()
    console.line("Installing " + ", ".join(step.name for step in missing) + ".")
    with ThreadPoolExecutor(len(missing)) as pool:
        running: dict[Future[None], Step] = {pool.submit(step.run, shell): step for step in missing}
        try:
            while running:
                elapsed = time.monotonic() - started
                console.status(
                    "installing " + ", ".join(step.name for step in running.values()) + f" ({elapsed:.0f} s)"
                )
                watch()
                ready, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in ready:
                    step = running.pop(future)
                    try:
                        _finish(step, future)
                    except InstallError:
                        if step.is_needed:
                            raise
                        console.line(f"– {step.name} could not be installed, and is left out. {step.cure}")
                        continue
                    console.line(f"✓ {step.name:<22}{time.monotonic() - started:6.0f} s")
                    after(step)
        except BaseException:
            shell.end()
            raise
        finally:
            console.status("")


def _finish(step: Step, future: Future[None]) -> None:
    try:
        future.result()
    except (InstallError, OSError) as error:
        raise InstallError(f"{step.name} could not be installed: {error}\n  {step.cure}") from None
