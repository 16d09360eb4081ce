"""Dagster's storage in PostgreSQL, over connections that are kept.

Its own opens up to three for each event that it stores, and a run of the pipeline stores two for each asset
and each check.
"""

from collections.abc import Mapping
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config


class PooledPostgresStorage(DagsterPostgresStorage):
    """One connection stays open for each kind of storage in a process; more are opened while they are needed."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            # Asked before each use, a connection that a restart of the server cut is made anew.
            storage._engine = create_pg_engine(
                postgres_url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=-1, pool_pre_ping=True
            )

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PooledPostgresStorage":
        """As dagster.yaml says it under `config`: the same values as for Dagster's own."""
        return cls(pg_url_from_config(config_value), inst_data)
