"""Live events while the rest still installs, so that nobody waits before an empty screen."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from deployment.paths import child_environment
from deployment.probes import UnhealthyError, simulator
from shared.settings import Settings

EVERY = 0.7
"""Seconds between two lines."""
SILENCE = 20
"""Seconds without an event after which a live exchange counts as out of reach."""
UNREACHABLE = (
    "No event from the exchange yet: it cannot be reached from here, or is slow. Streaming keeps trying; "
    "`./deploy.sh --demo` works with no network."
)


class Preview:
    """Runs `crypto stream --stdout`. `fresh`: in live mode it also finds out whether the exchange can be reached."""

    def __init__(self, settings: Settings, say: Callable[[str], None], fresh: bool) -> None:
        self._settings = settings
        self._say = say
        self._fresh = fresh
        self._process: subprocess.Popen[str] | None = None
        self._shown = False
        self._first = threading.Event()
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._fresh and self._settings.mode == "live":
            self._run()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def show(self) -> None:
        """From now on print events; in demo mode the simulator must be there first."""
        if not self._fresh:
            return
        if self._process is None:
            try:
                if self._settings.mode == "demo":
                    simulator(self._settings)
            except UnhealthyError:
                return
            self._run()
        if not self._shown:
            self._shown = True
            self._say("Meanwhile, live events:")

    def hide(self) -> None:
        """Print no more of them."""
        self._shown = False

    def conclude(self) -> None:
        """At the end: where nothing came from a live exchange, say so."""
        if (
            self._fresh
            and self._settings.mode == "live"
            and not self._first.wait(max(0.0, SILENCE - time.monotonic() + self._began))
        ):
            self._say(UNREACHABLE)

    def _run(self) -> None:
        crypto = str(Path(sys.executable).with_name("crypto"))
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            [crypto, "stream", "--stdout"],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        last = 0.0
        for line in process.stdout or ():
            self._first.set()
            if self._shown and time.monotonic() - last > EVERY:
                last = time.monotonic()
                self._say(f"  {line.rstrip()[:150]}")
