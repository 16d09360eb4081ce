"""What is done before the code server starts."""

import psycopg
import pytest

from deployment import dagster
from deployment.services import TABLE
from deployment.steps import InstallError
from serving.tables import served
from shared.settings import Settings
from tests.servers import PostgresServer


def test_the_code_server_starts_on_a_migrated_database(postgres_server: PostgresServer) -> None:
    [service] = [service for service in TABLE if service.name == "dagster-code"]
    service.prepare(postgres_server.settings)
    with psycopg.connect(postgres_server.settings.serving_reader_url) as reader:
        made = reader.execute("SELECT schemaname || '.' || tablename FROM pg_tables").fetchall()
    assert set(served()) <= {name for (name,) in made}


def test_a_database_that_cannot_be_migrated_is_a_sentence() -> None:
    with pytest.raises(InstallError, match=r"^The serving database cannot be migrated: .*It is tried again"):
        dagster.migrate(Settings(postgres_port=1))
