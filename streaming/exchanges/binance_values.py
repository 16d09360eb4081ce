"""The numbers in Binance's messages and replies, checked."""

from decimal import Decimal
from typing import Annotated

import msgspec

from shared.events import exact_decimal
from streaming.exchange import HIGHEST_ID, UnparsableMessage

Id = Annotated[int, msgspec.Meta(ge=-1, le=HIGHEST_ID)]
Count = Annotated[int, msgspec.Meta(ge=0, le=HIGHEST_ID)]
Time = Annotated[int, msgspec.Meta(gt=0, lt=10**17)]


def micros(time: int) -> int:
    """Microseconds from milliseconds or microseconds: 10^14 ms is the year 5138, 10^14 µs was 1973."""
    return time * 1000 if time < 10**14 else time


def positive(text: str) -> Decimal:
    """The number, exactly. Raises `UnparsableMessage` where it is not above zero, `UnfitDecimal` where it is none."""
    value = exact_decimal(text)
    if value <= 0:
        raise UnparsableMessage(f"{text!r} is not above zero")
    return value


def not_negative(text: str) -> Decimal:
    """The number, exactly. Raises `UnparsableMessage` where it is below zero, `UnfitDecimal` where it is none."""
    value = exact_decimal(text)
    if value < 0:
        raise UnparsableMessage(f"{text!r} is below zero")
    return value
