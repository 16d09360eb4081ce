"""The one writer to the terminal: lines that stay, one status line that moves (on a terminal only), and a log file."""

import contextlib
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

STATUS_MARK = "\x01"
"""Begins a line of stage two that is a status, not a line."""
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Console:
    """Used with `with`; safe to call from several threads."""

    def __init__(self, log: TextIO, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._log = log
        self._lock = threading.Lock()
        self._status = ""
        self._ended = threading.Event()
        self._live = self._out.isatty()
        self._painter = threading.Thread(target=self._paint, daemon=True)

    @classmethod
    def logging_to(cls, path: Path) -> Self:
        """A console that also writes its lines to `path`, begun anew."""
        path.parent.mkdir(parents=True, exist_ok=True)
        return cls(path.open("w", encoding="utf-8", buffering=1))

    def __enter__(self) -> Self:
        if self._live:
            self._painter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._live:
            self._painter.join()
            self._out.write("\r\033[K")
            self._out.flush()
        self._log.close()

    def line(self, text: str = "") -> None:
        """Print a line that stays, and log it."""
        with self._lock, contextlib.suppress(BrokenPipeError):  # whoever read us is gone: the log goes on
            self._out.write(("\r\033[K" if self._live else "") + text + "\n")
            self._out.flush()
        self.log(text)

    def log(self, text: str) -> None:
        """Write a line to the log alone."""
        with self._lock:
            self._log.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def status(self, text: str) -> None:
        """What is going on now: shown on a terminal until the next call, nowhere else."""
        self._status = text

    def _paint(self) -> None:
        turn = 0
        while not self._ended.wait(0.12):
            turn += 1
            with self._lock:
                if self._status:
                    self._out.write(f"\r\033[K{SPINNER[turn % len(SPINNER)]} {self._status[:110]}")
                    self._out.flush()
