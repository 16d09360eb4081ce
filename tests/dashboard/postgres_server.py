"""A real PostgreSQL with the serving tables, empty."""

import signal
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from deployment import postgres, probes
from shared.settings import Settings
from tests.servers import Server, free_ports


class PostgresServer(Server):
    """A cluster of its own."""

    def __init__(self, folder: Path) -> None:
        if postgres.binaries() is None:
            pytest.skip("PostgreSQL is not installed: ./deploy.sh installs it as root on Debian")
        [port] = free_ports(1)
        self.settings = Settings(
            postgres_port=port,
            postgres_password=SecretStr("owner's"),
            serving_database="dagster",
            serving_reader="reader",
            serving_reader_password=SecretStr("reader's"),
        )
        super().__init__(folder, lambda: postgres.command(self.settings), lambda: probes.postgres(self.settings))

    def owner(self) -> psycopg.Connection:
        """As who writes."""
        return psycopg.connect(
            host=self.settings.postgres_host,
            port=self.settings.postgres_port,
            user=self.settings.postgres_user,
            password=self.settings.postgres_password.get_secret_value(),
            dbname=self.settings.serving_database,
            autocommit=True,
        )

    def stop(self) -> None:
        if self._process is not None:
            self._end(signal.SIGINT)
