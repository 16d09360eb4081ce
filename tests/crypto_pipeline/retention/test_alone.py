"""Retention is applied once at a time, by a real PostgreSQL."""

import psycopg2
import pytest

from crypto_pipeline.retention.apply import RetentionError, alone
from shared.settings import Settings
from tests.servers import PostgresServer, free_ports


@pytest.fixture(scope="module")
def settings(postgres_server: PostgresServer) -> Settings:
    return postgres_server.settings


def test_of_two_at_once_the_second_says_so_and_after_the_first_it_may(settings: Settings) -> None:
    with alone(settings), pytest.raises(RetentionError, match="Another retention is under way"), alone(settings):
        pytest.fail("both were let in")
    with alone(settings):
        pass


def test_whoever_is_killed_lets_go(settings: Settings) -> None:
    with alone(settings):
        with psycopg2.connect(settings.superuser_url(settings.postgres_database)) as other, other.cursor() as cursor:
            cursor.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
                "where application_name = 'crypto-retention'"
            )
        with alone(settings):
            pass


def test_where_no_database_answers_it_is_said() -> None:
    [port] = free_ports(1)
    with pytest.raises(RetentionError, match=r"PostgreSQL.*\./deploy\.sh"), alone(Settings(postgres_port=port)):
        pytest.fail("it was let in")
