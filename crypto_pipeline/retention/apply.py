"""Retention, applied: what goes is recorded first, and then removed: whoever is killed leaves nothing missing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg2

from crypto_pipeline.bronze.expired import TABLE
from crypto_pipeline.catalog import tables
from crypto_pipeline.conflicts import ANOTHER_WRITER, conflicts_retried
from crypto_pipeline.expired import RAW, Expired, expired
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.retention import held, proof
from crypto_pipeline.retention.decision import Decision, Size, Unit, decided
from crypto_pipeline.verify.workbench import Stored
from shared.retention import Rules
from shared.settings import Settings

_ALONE = 0x657870697265  # "expire"
"""The advisory lock of the one retention that is applied."""
_COLUMNS = "what string, exchange string, symbol string, day string, files bigint, bytes bigint, expired_at timestamp"


class RetentionError(Exception):
    """It cannot be applied now; the message says why, and nothing was done."""


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """While this lasts no other retention is applied: whoever is killed lets go of it. Raises `RetentionError`."""
    try:
        connection = psycopg2.connect(settings.dagster_url, connect_timeout=3, application_name="crypto-retention")
    except psycopg2.Error:
        raise RetentionError(
            f"PostgreSQL, which sees to it that retention is applied once at a time, does not let us in at "
            f"{settings.postgres_host}:{settings.postgres_port}. Start it with ./deploy.sh"
        ) from None
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select pg_try_advisory_lock(%s)", (_ALONE,))
            is_alone = cursor.fetchone()
        if not is_alone or not is_alone[0]:
            raise RetentionError("Another retention is under way: wait until it is done. This one has changed nothing.")
        yield
    finally:
        connection.close()


@dataclass(frozen=True)
class Retention:
    """The lake of one deployment, and by which rules what is old goes from it."""

    settings: Settings
    lake: Lakehouse
    rules: Rules

    def decision(self, now: datetime) -> Decision:
        """What goes, and what stays and why. Raises `LakeError`."""
        record = expired(self.settings)
        there = held.held(self.settings, self.rules)
        return decided(
            there, self.rules, now, lambda old: proof.unproven(Stored(self.settings), self.lake, record, old)
        )

    def apply(self, decision: Decision, now: datetime, progress: Callable[[str], None]) -> None:
        """Record what goes, then remove it. Killed and begun again, it goes on. Raises `LakeError`."""
        self.record(decision, now)
        self.remove(decision, progress)

    def record(self, decision: Decision, now: datetime) -> None:
        """From now on it has expired. What was recorded before a kill stays as it was."""
        record = expired(self.settings)
        new = {unit: size for unit, size in decision.goes.items() if not _is_recorded(record, unit)}
        if new:
            rows = [_row(unit, size, now) for unit, size in new.items()]
            self.lake.write(TABLE, self.lake.spark.createDataFrame(rows, _COLUMNS), {}, is_unique=True)

    def remove(self, decision: Decision, progress: Callable[[str], None]) -> None:
        """Remove what is recorded. Files of tables are removed when the job `maintenance` cleans them."""
        raw = [unit for unit in decision.goes if unit.what == RAW]
        if raw:
            held.remove(self.settings.as_account("lake"), raw)
            progress(f"raw: {len(raw):,} days of symbols removed")
        for name in sorted({unit.what for unit in decision.goes} - {RAW}):
            days = [unit.day for unit in decision.goes if unit.what == name]
            if gone := held.partitions(self.settings, name, days):
                again = conflicts_retried(lambda _state: progress(ANOTHER_WRITER))
                again(self.lake.drop, tables()[name], gone)
            progress(f"{name}: {len(days):,} days dropped")


def _is_recorded(record: Expired, unit: Unit) -> bool:
    return unit.day in record.days.get(unit[:3], set())


def _row(unit: Unit, size: Size, now: datetime) -> tuple[str, str, str, str, int, int, datetime]:
    return (unit.what, unit.exchange, unit.symbol, str(unit.day), size.files, size.bytes, now.astimezone(UTC))
