"""The tables that rules ask, as the lake's contracts have them, in a real PostgreSQL."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from alerts.kinds._kind import AskedRule, Finding
from alerts.sources import Asked
from crypto_pipeline.catalog import tables
from shared.tables import Column
from tests.alerts.conftest import Database

TYPES = {"string": "text", "timestamp": "timestamptz", "double": "double precision", "int": "integer"}
ASKED = ("bronze.gaps", "gold.signals", "gold.anomalies", "gold.portfolio_performance", "gold.risk_metrics")
FACT_OHLCV = "silver.fact_ohlcv"
COMPLETENESS = "silver.completeness_hourly"
NOW = 1_795_250_700_000_000
"""2026-11-21 08:45 UTC, in microseconds."""
MINUTE = 60_000_000
HOUR = 60 * MINUTE


def at(time: int) -> datetime:
    return datetime.fromtimestamp(time / 1_000_000, UTC)


class Lake:
    """Tables to which a test adds rows, and what a rule finds in them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.sources = Asked(database.settings, {})

    def add(self, table: str, **values: Any) -> None:
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join(["%s"] * len(values))
        self._database.rows(f"insert into {table} ({names}) values ({marks})", *values.values())

    def find(self, rule: AskedRule, now: int = NOW) -> Mapping[str, Finding]:
        """By subject, and occurrence where there is one."""
        found = list(rule.ask(self.sources, now))
        return {f"{one.subject} {one.occurrence}".strip(): one for one in found}


def _type(column: Column) -> str:
    kind = "numeric" if column.type.startswith("decimal") else TYPES.get(column.type, column.type)
    return "text" if "<" in kind else kind


@pytest.fixture(scope="session")
def made(postgres_settings: Any) -> list[str]:
    database = Database(postgres_settings)
    contracts = tables("bronze", "silver", "gold")
    columns = {name: {each.name: _type(each) for each in contracts[name].columns} for name in ASKED}
    columns[FACT_OHLCV] = {each.name: _type(each) for each in contracts["silver.ohlcv"].columns}
    columns[COMPLETENESS] = {
        "exchange": "text", "symbol": "text", "hour_start": "timestamptz", "minutes_expected": "bigint",
        "minutes_complete": "bigint", "minutes_repaired": "bigint",
    }  # fmt: skip
    for schema in ("bronze", "silver", "gold"):
        database.rows(f"create schema {schema}")
    for name, types in columns.items():
        listed = ", ".join(f'"{column}" {kind}' for column, kind in types.items())
        database.rows(f"create table {name} ({listed})")
    return list(columns)


@pytest.fixture
def lake(database: Database, made: list[str]) -> Iterator[Lake]:
    database.rows(f"truncate {', '.join(made)}")
    found = Lake(database)
    yield found
    found.sources.close()
