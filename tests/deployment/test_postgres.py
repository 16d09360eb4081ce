"""A real cluster in a throw-away folder, where PostgreSQL is installed."""

import contextlib
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from deployment import postgres, probes
from deployment.probes import UnhealthyError
from shared.settings import Settings

pytestmark = pytest.mark.skipif(postgres.binaries() is None, reason="PostgreSQL is not installed here")
DEADLINE = 60


@pytest.fixture
def settings(demo: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A home that the server's user can get to, which pytest's own folders are not."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("CRYPTO_HOME", folder)
        yield demo.model_copy(update={"postgres_port": port})


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[None]:
    process = subprocess.Popen(postgres.command(settings).argv, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                probes.postgres(settings)
                break
            except UnhealthyError:
                assert time.monotonic() < deadline
                assert process.poll() is None
        yield
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 0


def test_the_server_lets_in_who_has_the_password_of_env_also_after_it_changed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(settings):
        pass
    monkeypatch.setenv("POSTGRES_PASSWORD", 'it\'s "another"')
    changed = Settings.load().model_copy(update={"postgres_port": settings.postgres_port})
    with serving(changed), pytest.raises(UnhealthyError, match="password"):
        probes.postgres(settings)


def test_with_new_passwords_the_old_ones_let_nobody_in_and_the_rows_stay(settings: Settings) -> None:
    names = ("serving_owner_password", "serving_writer_password", "serving_reader_password")
    changed = settings.model_copy(update={name: SecretStr(f"a new {name}") for name in names})
    with serving(settings), psycopg.connect(settings.serving_owner_url, autocommit=True) as owner:
        owner.execute("CREATE TABLE kept AS SELECT 7 AS seven")
    with serving(changed):
        let_in(changed)
        for url in (settings.serving_owner_url, settings.serving_writer_url, settings.serving_reader_url):
            with pytest.raises(psycopg.OperationalError, match="password authentication failed") as refused:
                psycopg.connect(url)
            assert "the-" not in str(refused.value)
        with psycopg.connect(changed.serving_owner_url) as owner:
            assert owner.execute("SELECT seven FROM kept").fetchall() == [(7,)]


def let_in(settings: Settings) -> None:
    for url in (settings.serving_owner_url, settings.serving_writer_url, settings.serving_reader_url):
        psycopg.connect(url).close()


def test_a_cluster_from_before_gets_the_roles_and_the_database_of_the_served_tables(settings: Settings) -> None:
    before = settings.model_copy(update={"serving_reader_password": SecretStr("")})
    with serving(before):
        superuser = {"user": before.postgres_user, "password": before.postgres_password.get_secret_value()}
        where = {"host": before.postgres_host, "port": before.postgres_port, "dbname": before.postgres_database}
        with psycopg.connect(**superuser, **where, autocommit=True) as connection:
            connection.execute("DROP DATABASE lake")
            for role in ("lake_owner", "lake_writer", "lake_reader"):
                connection.execute(f"DROP ROLE {role}".encode())
    with serving(settings):
        let_in(settings)


def test_no_password_is_on_the_command_line(settings: Settings) -> None:
    line = " ".join(postgres.command(settings).argv)
    assert not any(secret in line for secret in ("the-password", "the-owner's", "the-writer's", "the-reader's"))


def test_data_lies_in_the_state_folder_where_the_servers_user_can_get_there(settings: Settings) -> None:
    assert postgres.data_dir(settings.state) == settings.state / "postgres"
