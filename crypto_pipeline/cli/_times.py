"""Times that a user writes."""

from datetime import UTC, date, datetime, timedelta

import typer

from crypto_pipeline import utc


def micros(option: str, text: str) -> int:
    """Microseconds since 1970 in UTC, also of a time in another zone. Raises `BadParameter`."""
    try:
        return utc.micros(utc.moment(text))
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r} is no time: write 2026-11-21T10:00, in UTC.") from None


def utc_day(option: str, text: str, now: datetime) -> date:
    """A UTC day; without text the one before `now`. Raises `BadParameter`."""
    if not text:
        return now.astimezone(UTC).date() - timedelta(days=1)
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r} is no day: write 2026-11-21.") from None
    if day > now.astimezone(UTC).date():
        raise typer.BadParameter(f"{option} {day} is yet to come.")
    return day
