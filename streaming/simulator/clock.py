"""The exchange's time. Tests give another, which runs faster."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives microseconds since 1970 in UTC."""


def utc_now() -> int:
    """The time of this machine."""
    return time.time_ns() // 1000


class ExchangeClock:
    """A clock that a fault may set wrong. It never goes back: set to an earlier time it waits until that has come."""

    def __init__(self, right: Clock) -> None:
        self.right = right
        self.offset = 0
        """Microseconds by which it is ahead."""
        self._last = 0

    def __call__(self) -> int:
        self._last = max(self.right() + self.offset, self._last)
        return self._last
