"""A migrated serving database, whose tables a test finds empty."""

from collections.abc import Iterator

import psycopg
import pytest

from serving.migrate import migrate
from serving.tables import Served, served
from serving.writer import connected
from shared.settings import Settings
from tests.servers import PostgresServer


@pytest.fixture(scope="session")
def migrated(postgres_server: PostgresServer) -> Settings:
    """The settings of a server whose database is that of this code."""
    migrate(postgres_server.settings)
    return postgres_server.settings


@pytest.fixture
def database(migrated: Settings) -> Iterator[psycopg.Connection]:
    """A connection of the writer; every table is empty."""
    with connected(migrated) as connection:
        for name in (*served(), "serving.marks"):
            connection.execute(f"DELETE FROM {name}".encode())
        yield connection


@pytest.fixture
def candles() -> Served:
    return served()["silver.fact_ohlcv"]
