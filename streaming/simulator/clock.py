"""The exchange's time. Tests give another, which runs faster."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives microseconds since 1970 in UTC."""


def utc_now() -> int:
    """The time of this machine."""
    return time.time_ns() // 1000
