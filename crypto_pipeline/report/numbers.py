"""Numbers as a reader of a report wants them: with sign, separators, and as many digits as mean something."""

import math
from typing import TypeGuard

UNKNOWN = "–"
MINUS = "\N{MINUS SIGN}"
_THIN = "\N{NARROW NO-BREAK SPACE}"


def percent(fraction: float | None, digits: int = 2, *, signed: bool = True) -> str:
    """`0.0124` is `+1.24 %`. What rounds to nothing has no sign."""
    if not _is_known(fraction):
        return UNKNOWN
    return f"{_fixed(100 * fraction, digits, signed=signed)}{_THIN}%"


def amount(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """`-1234.5` is `−1,234.50`."""
    return _fixed(value, digits, signed=signed) if _is_known(value) else UNKNOWN


def price(value: float | None) -> str:
    """With two digits from a hundred on, and else with five significant ones: `63,000.12`, `2.7970`, `0.00001234`."""
    if not _is_known(value):
        return UNKNOWN
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    return _fixed(value, 2 if size >= 2 else min(4 - size, 12), signed=False)


def quantity(value: float | None) -> str:
    """At most eight digits after the point, without zeros at its end."""
    if not _is_known(value):
        return UNKNOWN
    text = _fixed(value, 8, signed=False)
    return text.rstrip("0").rstrip(".") if "." in text else text


def compact(value: float | None) -> str:
    """Three significant digits and a unit: `1.23 M`."""
    if not _is_known(value):
        return UNKNOWN
    for size, unit in ((1e12, "T"), (1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            scaled = value / size
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{_fixed(scaled, digits, signed=False)}{_THIN}{unit}"
    return _fixed(value, 0 if abs(value) >= 99.5 else 2, signed=False)


def ratio(value: float | None) -> str:
    """`-0.5` is `−0.50`."""
    return amount(value, 2)


def scientific(value: float | None) -> str:
    """Three significant digits and a power of ten: `1.20e−09`."""
    return f"{value:.2e}".replace("-", MINUS) if _is_known(value) else UNKNOWN


def tone(value: float | None) -> str:
    """`up`, `down`, or nothing: how a change is coloured."""
    if not _is_known(value) or value == 0:
        return ""
    return "up" if value > 0 else "down"


def _is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _fixed(value: float, digits: int, *, signed: bool) -> str:
    text = f"{abs(value):,.{digits}f}"
    if not text.strip("0.,"):
        return text
    return f"{MINUS if value < 0 else '+' if signed else ''}{text}"
