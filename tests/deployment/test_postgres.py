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
ROLES = ("owner", "writer", "reader", "alerts")


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
    names = [f"{name}_password" for name in ("dagster", *(f"serving_{role}" for role in ROLES))]
    changed = settings.model_copy(update={name: SecretStr(f"a new {name}") for name in names})
    with serving(settings), psycopg.connect(settings.serving_owner_url, autocommit=True) as owner:
        owner.execute("CREATE TABLE kept AS SELECT 7 AS seven")
    with serving(changed):
        let_in(changed)
        for login in logins(settings):
            with pytest.raises(psycopg.OperationalError, match="password authentication failed") as refused:
                psycopg.connect(login)
            assert "the-" not in str(refused.value)
        with psycopg.connect(changed.serving_owner_url) as owner:
            assert owner.execute("SELECT seven FROM kept").fetchall() == [(7,)]


def logins(settings: Settings) -> list[str]:
    """The address of each role of a service, with the database that it may come into."""
    serving = (settings.serving_owner_url, settings.serving_writer_url, settings.serving_reader_url)
    return [settings.dagster_url, *serving, settings.alerts_url]


def let_in(settings: Settings) -> None:
    for login in logins(settings):
        psycopg.connect(login).close()


def test_each_role_comes_into_its_own_database_alone_and_is_no_superuser(settings: Settings) -> None:
    databases = ("postgres", "template1", settings.postgres_database, settings.serving_database)
    with serving(settings):
        for login in logins(settings):
            for database in set(databases) - {login.rpartition("/")[2]}:
                with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                    psycopg.connect(login, dbname=database)
            with psycopg.connect(login, autocommit=True) as connection:
                for deed in ("CREATE ROLE another", "CREATE DATABASE another", "SELECT pg_read_file('PG_VERSION')"):
                    with pytest.raises(psycopg.DatabaseError, match=r"permission denied|read-only transaction"):
                        connection.execute(deed)


def test_a_cluster_from_before_gets_the_rules_of_who_comes_in_from_where(settings: Settings) -> None:
    with serving(settings):
        pass
    rules = postgres.data_dir(settings.state) / "pg_hba.conf"
    made = rules.read_text()
    rules.write_text("host all all 0.0.0.0/0 scram-sha-256\n")
    with serving(settings):
        assert rules.read_text() == made


def test_in_a_container_the_superuser_comes_from_it_and_from_the_machine_alone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = tmp_path / "route"
    routes.write_text(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    monkeypatch.setattr(postgres, "ROUTES", routes)
    with serving(settings.model_copy(update={"containers": True})):
        rules = (postgres.data_dir(settings.state) / "pg_hba.conf").read_text()
    assert rules.splitlines() == [
        'host all "crypto" samehost scram-sha-256',
        'host all "crypto" 172.18.0.1/32 scram-sha-256',
        'host all "crypto" samenet reject',
        "host all all all scram-sha-256",
    ]


def test_a_cluster_from_before_gets_the_roles_and_the_database_of_the_served_tables(settings: Settings) -> None:
    before = settings.model_copy(update={"serving_reader_password": SecretStr("")})
    asked = before.superuser_url(before.postgres_database)
    with serving(before), psycopg.connect(asked, autocommit=True) as connection:
        connection.execute("DROP DATABASE lake")
        for role in ("lake_owner", "lake_writer", "lake_reader"):
            connection.execute(f"DROP ROLE {role}".encode())
    with serving(settings):
        let_in(settings)


def test_what_the_superuser_made_before_dagster_and_the_alerts_had_logins_is_theirs(settings: Settings) -> None:
    made = {
        settings.postgres_database: (
            "CREATE TABLE runs (id serial PRIMARY KEY)",
            'CREATE TABLE public."a table" AS SELECT 7 AS seven',
            "ALTER DATABASE dagster OWNER TO crypto",
        ),
        settings.serving_database: (
            "ALTER SCHEMA alerts OWNER TO crypto",
            "ALTER ROLE crypto_alerts NOLOGIN",
            "CREATE TABLE alerts.alerts (id bigint GENERATED ALWAYS AS IDENTITY, seen boolean)",
            "CREATE FUNCTION alerts.seen(one bigint) RETURNS void LANGUAGE sql BEGIN ATOMIC "
            "UPDATE alerts.alerts SET seen = true WHERE id = one; END",
            "GRANT EXECUTE ON FUNCTION alerts.seen TO lake_reader",
        ),
    }
    with serving(settings):
        for database, statements in made.items():
            with psycopg.connect(settings.superuser_url(database), autocommit=True) as connection:
                for statement in statements:
                    connection.execute(statement.encode())
    with serving(settings):
        dagster, *_, alerts = logins(settings)
        with psycopg.connect(dagster) as connection:
            connection.execute('INSERT INTO runs DEFAULT VALUES; ALTER TABLE "a table" ADD COLUMN more int')
        with psycopg.connect(alerts) as connection:
            connection.execute("INSERT INTO alerts.alerts (seen) VALUES (false); ALTER TABLE alerts.alerts ADD b int")
            connection.execute("ALTER FUNCTION alerts.seen SECURITY DEFINER; CREATE TABLE alerts.more (a int)")


def test_no_password_is_on_the_command_line(settings: Settings) -> None:
    line = " ".join(postgres.command(settings).argv)
    assert "the-" not in line


def test_data_lies_in_the_state_folder_where_the_servers_user_can_get_there(settings: Settings) -> None:
    assert postgres.data_dir(settings.state) == settings.state / "postgres"
