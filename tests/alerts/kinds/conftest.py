"""The tables that rules ask, as the lake's contracts have them, in a real PostgreSQL."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg2
import pytest

from alerts.kinds._kind import AskedRule, Finding
from alerts.sources import Asked
from serving.tables import served
from shared.settings import Settings

COMPLETENESS = "silver.completeness_hourly"
FACT_OHLCV = "silver.fact_ohlcv"
DAY = datetime(2026, 1, 1, tzinfo=UTC)
ANY = {"string": "", "timestamp": DAY, "date": DAY.date(), "bigint": 0, "int": 0, "double": 0.0}
NOW = 1_795_250_700_000_000
"""2026-11-21 08:45 UTC, in microseconds."""
MINUTE = 60_000_000
HOUR = 60 * MINUTE


def at(time: int) -> datetime:
    return datetime.fromtimestamp(time / 1_000_000, UTC)


class Lake:
    """Tables to which a test adds rows, and what a rule finds in them."""

    def __init__(self, settings: Settings, owner: Any) -> None:
        self._owner = owner
        self.sources = Asked(settings, {})

    def add(self, table: str, **values: Any) -> None:
        """A row; what it does not say of its key is nothing in particular."""
        contract = served()[table]
        said = {column.name: ANY[column.type] for column in contract.columns if column.name in contract.key} | values
        names = ", ".join(f'"{name}"' for name in said)
        with self._owner.cursor() as cursor:
            if contract.month_of:
                cursor.execute("select serving.make_month(%s)", (said[contract.month_of],))
            cursor.execute(f"insert into {table} ({names}) values ({', '.join(['%s'] * len(said))})", [*said.values()])

    def find(self, rule: AskedRule, now: int = NOW) -> Mapping[str, Finding]:
        """By subject, and occurrence where there is one."""
        found = list(rule.ask(self.sources, now))
        return {f"{one.subject} {one.occurrence}".strip(): one for one in found}


@pytest.fixture
def lake(postgres_settings: Settings) -> Iterator[Lake]:
    """The serving database, empty."""
    owner = psycopg2.connect(postgres_settings.serving_owner_url)
    owner.autocommit = True
    with owner.cursor() as cursor:
        cursor.execute(f"truncate {', '.join(served())}")
    found = Lake(postgres_settings, owner)
    yield found
    found.sources.close()
    owner.close()
