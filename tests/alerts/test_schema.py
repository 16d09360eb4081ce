import psycopg2
import pytest

from alerts import schema
from alerts.store import login
from tests.alerts.conftest import Database


def test_the_tables_are_made_once(database: Database) -> None:
    database.rows("insert into alerts.digests values ('2026-11-26')")
    schema.upgrade(database.settings)
    assert database.rows("select version_num from alerts.alembic_version") == [{"version_num": "v2"}]
    assert len(database.rows("select 1 from alerts.digests")) == 1


def test_the_role_of_alerts_writes_nothing_else(database: Database) -> None:
    for deed in ("create table public.elsewhere (a int)", "create schema elsewhere", "select * from silver.fact_ohlcv"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            database.rows(deed)
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        login(database.settings.model_copy(update={"serving_database": "dagster"}))


def test_every_table_says_what_a_row_is(database: Database) -> None:
    undescribed = database.rows(
        "select relname from pg_class where relnamespace = 'alerts'::regnamespace and relkind = 'r' "
        "and relname <> 'alembic_version' and obj_description(oid) is null"
    )
    assert undescribed == []
