"""PostgreSQL's databases as files, by the `pg_dump` and `pg_restore` of the version that runs."""

import re
import subprocess
from pathlib import Path

import psycopg

from crypto_pipeline.backup.manifest import BackupError
from deployment import postgres
from deployment.paths import child_environment
from shared.settings import Settings


def databases(settings: Settings) -> tuple[str, ...]:
    """Dagster's own, and that of the served tables and the alerts."""
    return settings.postgres_database, settings.serving_database


def version() -> int:
    """The major version of the programs. Raises `BackupError` where there are none."""
    found = re.search(r"(\d+)", _run(["pg_dump", "--version"]))
    return int(found[1]) if found else 0


def dump(settings: Settings, database: str, path: Path) -> None:
    """Write a database into a file, as it is at one moment; who uses it is not held up. Raises `BackupError`."""
    _run(["pg_dump", "--format=custom", f"--file={path}", *_login(settings, database)], settings)


def restore(settings: Settings, database: str, path: Path) -> None:
    """Make a database what the file says, all of it or nothing; may be repeated. Raises `BackupError`."""
    all_of_one = ("--no-owner", "--no-acl", f"--role={settings.dagster_role}")
    whose = all_of_one if database == settings.postgres_database else ()  # else of the serving roles
    whole = ("--clean", "--if-exists", "--single-transaction", "--exit-on-error", *whose)
    _run(["pg_restore", *whole, *_login(settings, database), str(path)], settings)


def is_empty(settings: Settings, database: str) -> bool:
    """No table is in it. Raises `BackupError`."""
    asked = "SELECT NOT EXISTS (SELECT FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema'))"
    try:
        with psycopg.connect(settings.superuser_url(database)) as connection:
            row = connection.execute(asked).fetchone()
    except psycopg.Error as error:
        raise BackupError(f"PostgreSQL's database {database} cannot be asked: {str(error).splitlines()[0]}.") from None
    return bool(row and row[0])


def _login(settings: Settings, database: str) -> list[str]:
    return [
        f"--host={settings.postgres_host}",
        f"--port={settings.postgres_port}",
        f"--username={settings.postgres_user}",
        "--no-password",
        f"--dbname={database}",
    ]


def _run(argv: list[str], settings: Settings | None = None) -> str:
    found = postgres.binaries()
    if found is None or not (found / argv[0]).exists():
        raise BackupError(f"PostgreSQL's `{argv[0]}` is not installed: `python3 -m deployment.install` installs it.")
    # By the environment, where `ps` does not show it.
    password = {"PGPASSWORD": settings.postgres_password.get_secret_value()} if settings else {}
    done = subprocess.run(
        [str(found / argv[0]), *argv[1:]],
        env=child_environment(**password),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise BackupError(f"`{argv[0]}` failed: {said[0][:300]}. `crypto doctor` says whether PostgreSQL runs.")
    return done.stdout
