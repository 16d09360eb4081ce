"""Times that a user writes."""

from datetime import UTC, datetime, timedelta

import typer

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(option: str, text: str) -> int:
    """Microseconds since 1970 in UTC, also of a time in another zone. Raises `BadParameter`."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r} is no time: write 2026-11-21T10:00, in UTC.") from None
    return ((at.replace(tzinfo=UTC) if at.tzinfo is None else at) - _EPOCH) // timedelta(microseconds=1)
