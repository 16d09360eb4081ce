"""Times that a user writes, in UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(text: str) -> datetime:
    """What ISO 8601 text says, in UTC where it names no zone. Raises `ValueError`."""
    at = datetime.fromisoformat(text.strip())
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def micros(at: datetime) -> int:
    """Microseconds since 1970 of a time that names its zone."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def moment_of(micros: int) -> datetime:
    """The time that so many microseconds since 1970 are."""
    return _EPOCH + timedelta(microseconds=micros)
