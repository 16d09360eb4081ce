"""PostgreSQL: the system's programs (installed on Debian by root, without a cluster of theirs), and how ours runs."""

import hashlib
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from deployment import debian
from deployment.command import Command
from deployment.paths import tool
from deployment.steps import InstallError, Shell, Step

if TYPE_CHECKING:
    from shared.settings import Settings

OLDEST = 15
NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/crypto-lakehouse.conf")
OWNER = "postgres"
"""Who runs the server when we are root, whom PostgreSQL refuses; Debian's package makes this user."""
READER_SECONDS = 60
"""How long a statement of the read-only role may take, unless its session asks for more."""
FROM_A_NETWORK = "127.0.0.2"
"""Whence what comes from a network comes to the server; in Docker from a container."""
ROUTES = Path("/proc/net/route")
_NAME, _TEXT = '"', "'"
"""The quotes of a name and of a text in SQL."""


def binaries() -> Path | None:
    """The folder with `initdb` and `postgres` of the newest version that is new enough, or None."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdecimal()]
    found = [path for path in found if int(path.parent.name) >= OLDEST and (path / "initdb").exists()]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    initdb = tool("initdb")
    if initdb is None or not Path(initdb).with_name("postgres").exists():
        return None
    said = subprocess.run([initdb, "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"(\d+)", said)
    return Path(initdb).parent if number and int(number[1]) >= OLDEST else None


def install(shell: Shell) -> None:
    """Install Debian's package. Its own cluster, which would hold port 5432, is turned off first."""
    NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
    NO_CLUSTER.write_text(
        "# Written by crypto-lakehouse, which runs a cluster of its own.\ncreate_main_cluster = false\n"
    )
    debian.install(shell, "postgresql")


STEP = Step(
    name="PostgreSQL",
    done=lambda: binaries() is not None,
    run=install,
    cure="Try `apt-get install postgresql` by hand, then run ./deploy.sh again.",
)


def data_dir(state: Path) -> Path:
    """Where the cluster lies: in the state folder, unless we are root and the server's user cannot get there."""
    if os.geteuid() != 0 or all(_traversable(folder) for folder in state.resolve().parents):
        return state / "postgres"
    name = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:12]
    return Path("/var/lib/postgresql/crypto-lakehouse") / name


def _traversable(folder: Path) -> bool:
    return not folder.exists() or bool(folder.stat().st_mode & stat.S_IXOTH)


def unprivileged(signal_name: str = "") -> tuple[str, ...]:
    """What to put before a command so that it does not run as root; nothing where we are not root.

    `signal_name` is sent when the parent dies: a change of user forgets what was set before.
    """
    if os.geteuid() != 0:
        return ()
    death = (f"--pdeathsig={signal_name}",) if signal_name else ()
    return ("setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--init-groups", *death, "--")


def command(settings: "Settings") -> Command:
    """Serve the cluster on TCP alone, having made it where it is not there and set the passwords of `.env`."""
    found = binaries()
    if found is None:
        raise InstallError("PostgreSQL is not installed: run ./deploy.sh")
    data = data_dir(settings.state)
    _make(found, data, settings)
    options = {
        "listen_addresses": settings.bind_address,
        "port": settings.postgres_port,
        "unix_socket_directories": "",
        "shared_buffers": "64MB",
        "max_connections": 100,
        # Nobody follows this server, so what is copied into a new table goes to the disk once.
        "wal_level": "minimal",
        "max_wal_senders": 0,
        "password_encryption": "scram-sha-256",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
    argv = [*unprivileged("INT"), str(found / "postgres"), "-D", str(data)]
    for name, value in options.items():
        argv += ["-c", f"{name}={value}"]
    return Command(tuple(argv))


def _make(found: Path, data: Path, settings: "Settings") -> None:
    data.parent.mkdir(parents=True, exist_ok=True)
    if not (data / "PG_VERSION").exists():
        made = data.with_name(f".{data.name}-made")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700)
        if os.geteuid() == 0:
            owner = pwd.getpwnam(OWNER)
            os.chown(made, owner.pw_uid, owner.pw_gid)
        arguments = [
            "--pgdata", str(made), "--username", settings.postgres_user, "--encoding", "UTF8", "--locale", "C.UTF-8",
            "--auth", "reject", "--no-instructions",
        ]  # fmt: skip
        _run([*unprivileged(), str(found / "initdb"), *arguments], "")
        made.rename(data)
    _check_version(found, data)
    (data / "pg_hba.conf").write_text("".join(f"{rule}\n" for rule in _rules(settings)))
    # Single-user mode reads one statement a line from its input, so the passwords show nowhere.
    single = [
        *unprivileged(),
        str(found / "postgres"),
        "--single",
        "-j",
        "-D",
        str(data),
        "-c",
        "log_min_error_statement=panic",
    ]
    asked = "SELECT 'database ' || datname FROM pg_database;\n\nSELECT 'role ' || rolname FROM pg_roles;\n\n"
    there = set(re.findall(r'"((?:database|role) [^"]+)"', _run([*single, "postgres"], asked)))
    _run([*single, "postgres"], _script(_statements(settings, there)))
    _run([*single, settings.postgres_database], _script(_handed_over(settings, "public", settings.dagster_role)))
    alerts = (
        f"CREATE SCHEMA IF NOT EXISTS alerts AUTHORIZATION {settings.serving_alerts};",
        f"ALTER SCHEMA alerts OWNER TO {settings.serving_alerts};",
        f"GRANT USAGE ON SCHEMA alerts TO {settings.serving_reader};",
        *_handed_over(settings, "alerts", settings.serving_alerts),
    )
    _run([*single, settings.serving_database], _script(alerts))


def _rules(settings: "Settings") -> Iterator[str]:
    """Who may come in from where, all by a password; the first that fits counts. The superuser does not come in by what
    is open to a network."""
    superuser = f"host all {_quoted(settings.postgres_user, _NAME)}"
    if not settings.containers:
        yield f"{superuser} {FROM_A_NETWORK}/32 reject"
        yield "host all all 127.0.0.0/8 scram-sha-256"
        yield "host all all ::1/128 scram-sha-256"
        return
    yield f"{superuser} samehost scram-sha-256"
    if machine := _gateway(ROUTES.read_text(encoding="ascii")):
        yield f"{superuser} {machine}/32 scram-sha-256"
    yield f"{superuser} samenet reject"  # the other containers, of which one is open to a network
    yield "host all all all scram-sha-256"


def _gateway(routes: str) -> str:
    """Where the machine's own programs come from, as a container sees them; empty where no route leads out.

    `routes` is the kernel's table, with addresses in hexadecimal, the last byte first.
    """
    lines = (line.split() for line in routes.splitlines()[1:])
    out = next((line[2] for line in lines if line[1] == "00000000"), "")
    return str(IPv4Address(bytes.fromhex(out)[::-1])) if out else ""


def _script(statements: Iterable[str]) -> str:
    """Statements as single-user mode reads them: each ends with an empty line."""
    return "".join(f"{statement}\n\n" for statement in statements)


def _statements(settings: "Settings", there: set[str]) -> Iterator[str]:
    """What makes the databases and roles as they are to be, with the passwords of `.env`.

    `there` are those there are: `database dagster`, `role crypto`. Each may be repeated.
    Besides the superuser each role comes into one database: Dagster's into its own, the others into that of serving.
    """
    roles = {
        settings.postgres_user: settings.postgres_password,
        settings.dagster_role: settings.dagster_password,
        settings.serving_owner: settings.serving_owner_password,
        settings.serving_writer: settings.serving_writer_password,
        settings.serving_reader: settings.serving_reader_password,
        settings.serving_alerts: settings.serving_alerts_password,
    }
    for name, password in roles.items():
        if f"role {name}" not in there:
            yield f"CREATE ROLE {_quoted(name, _NAME)};"
        yield f"ALTER ROLE {_quoted(name, _NAME)} LOGIN PASSWORD {_quoted(password.get_secret_value(), _TEXT)};"
    databases = (settings.postgres_database, settings.serving_database)
    for name in databases:
        if f"database {name}" not in there:
            yield f"CREATE DATABASE {_quoted(name, _NAME)};"
    for name in ("postgres", "template1", *databases):
        yield f"REVOKE ALL ON DATABASE {_quoted(name, _NAME)} FROM PUBLIC;"
    yield f"ALTER DATABASE {_quoted(settings.postgres_database, _NAME)} OWNER TO {settings.dagster_role};"
    yield f"ALTER DATABASE {settings.serving_database} OWNER TO {settings.serving_owner};"
    yield f"GRANT CONNECT, TEMPORARY ON DATABASE {settings.serving_database} TO {settings.serving_writer};"
    for name in (settings.serving_reader, settings.serving_alerts):
        yield f"GRANT CONNECT ON DATABASE {settings.serving_database} TO {name};"
    yield f"ALTER ROLE {settings.serving_reader} SET default_transaction_read_only = on;"
    yield f"ALTER ROLE {settings.serving_reader} SET statement_timeout = '{READER_SECONDS}s';"


def _handed_over(settings: "Settings", schema: str, role: str) -> Iterator[str]:
    """What gives a role all that the superuser has in a schema: it made that before the role had a login."""
    ours = f"= '{schema}'::regnamespace AND {{}} = {_quoted(settings.postgres_user, _TEXT)}::regrole"
    tables = f"SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND relnamespace {ours}"  # noqa: S608 (of ours)
    functions = f"SELECT oid::regprocedure FROM pg_proc WHERE pronamespace {ours}"  # noqa: S608 (of ours)
    for kind, found in (("TABLE", tables.format("relowner")), ("FUNCTION", functions.format("proowner"))):
        yield (
            f"DO $$ DECLARE one text; BEGIN FOR one IN {found} LOOP "
            f"EXECUTE 'ALTER {kind} ' || one || ' OWNER TO {role}'; END LOOP; END $$;"
        )


def _check_version(found: Path, data: Path) -> None:
    made_by = (data / "PG_VERSION").read_text().strip()
    program = subprocess.run([found / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"(\d+)", program)
    if number and number[1] != made_by:
        raise InstallError(
            f"The database in {data} was made by PostgreSQL {made_by}, and {found} is version {number[1]}: "
            f"install {made_by} again, or let ./cleanup.sh remove the deployment's data."
        )


def _run(argv: list[str], statements: str) -> str:
    done = subprocess.run(argv, input=statements, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        program = next(word for word in argv if word.endswith(("/initdb", "/postgres")))
        raise InstallError(f"`{program}` failed: {done.stderr.strip()[-800:]}")
    return done.stdout


def _quoted(text: str, quote: str) -> str:
    return quote + text.replace(quote, quote * 2) + quote
