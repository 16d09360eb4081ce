"""Dagster's storage in PostgreSQL, over connections that are kept.

Its own opens up to three for each event that it stores, and a run of the pipeline stores some two hundred.
"""

from dagster._core.storage.config import PostgresStorageConfig
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config
from sqlalchemy import Engine


class PooledPostgresStorage(DagsterPostgresStorage):
    """One connection stays open for each kind of storage in a process; more are opened while they are needed."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        for storage in (self.run_storage, self.event_log_storage, self.schedule_storage):
            storage._engine = _engine(postgres_url)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: PostgresStorageConfig
    ) -> "PooledPostgresStorage":
        """As dagster.yaml says it under `config`: the same values as for Dagster's own."""
        return cls(pg_url_from_config(config_value), inst_data)


def _engine(url: str) -> Engine:
    """An engine that finds out before each use whether the server was restarted meanwhile."""
    return create_pg_engine(url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=-1, pool_pre_ping=True)
