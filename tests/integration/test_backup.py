"""`crypto backup` on the deployed system while it works, and what `crypto restore` makes of it elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crypto_pipeline import contracts
from crypto_pipeline.backup.restoring import stores
from crypto_pipeline.reader import read
from shared.settings import Settings
from tests.deployments.test_restore import CANDLES, TRADES
from tests.system import STREAMED_ALONE, SYMBOLS, System, undeployed, wait_for

pytestmark = pytest.mark.long


@contextmanager
def restored(place: Path) -> Iterator[System]:
    """Another deployment, filled from the place; nothing of it runs but its stores."""
    with undeployed(**STREAMED_ALONE) as made:
        done = made.crypto("restore", "--from", str(place))
        assert done.returncode == 0, done.stderr
        assert "Start it: ./deploy.sh --demo" in done.stdout
        with made.its_environment(), stores(made.settings()):
            yield made


def rows(settings: Settings, name: str) -> list[str]:
    """All rows of a table, in an order of their own."""
    return sorted(str(tuple(row.values())) for row in read(contracts.tables()[name], settings).to_pylist())


def counted(settings: Settings, database: str, table: str) -> Any:
    """How many rows a table of PostgreSQL has."""
    with psycopg.connect(settings.superuser_url(database)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backups")


def test_what_is_copied_while_all_goes_on_is_of_one_moment(system: System, place: Path) -> None:
    wait_for("candles of each symbol", lambda: len(system.query(CANDLES)) == len(SYMBOLS))
    done = system.crypto("backup", "--to", str(place))
    assert done.returncode == 0, done.stderr
    assert not done.stderr.strip(), "a warning"
    with restored(place) as other:
        trades = other.query(TRADES)
        assert [row["symbol"] for row in trades] == sorted(SYMBOLS)
        assert [row["rows"] for row in trades] == [row["ids"] for row in trades], "trades are missing, or there twice"
        last = {row["symbol"]: row["last"] for row in trades}
        candles = other.query(CANDLES)
        assert len(candles) == len(SYMBOLS)
        assert all(row["last"] <= last[row["symbol"]] for row in candles), "a candle of trades that bronze lacks"


def test_a_deployment_that_holds_something_is_refused(system: System, place: Path) -> None:
    done = system.crypto("restore", "--from", str(place))
    assert done.returncode == 1
    assert "is restored into an empty deployment" in done.stderr
    assert "./cleanup.sh" in done.stderr


def test_elsewhere_there_is_what_was_here(system: System, place: Path) -> None:
    with system.nothing_launched():
        done = system.crypto("backup", "--to", str(place), "--wait", "0")  # for nothing is taken in now
        assert done.returncode == 0, done.stderr
        here = system.settings()
        with restored(place) as other:
            there = other.settings()
            for name in contracts.tables():
                assert rows(there, name) == rows(here, name), name
            for database, table in (("dagster", "runs"), ("dagster", "event_logs"), ("lake", "silver.fact_ohlcv")):
                assert counted(there, database, table) == counted(here, database, table), table
            assert there.s3_secret_key != here.s3_secret_key, "the passwords are in the backup"
