"""Dagster: code server, webserver and daemon. Their files lie in `config/`; what differs goes by the environment."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deployment.command import Command
from deployment.paths import PROJECT
from deployment.steps import InstallError

if TYPE_CHECKING:
    from shared.settings import Settings


def code(settings: "Settings") -> Command:
    """The code server, in which the runs start too; "Reload" in the UI makes it read the code again."""
    where = ("-h", settings.bind_address, "-p", str(settings.dagster_code_port))
    arguments = ("code-server", "start", "-m", "crypto_pipeline.definitions", *where, *_log_format(settings))
    env = _env(settings)
    # Each run reads it anew, and must not know a column before the Connect server has given it to the table.
    indicators = _home(settings) / "indicators.yaml"
    shutil.copyfile(settings.indicators_file, indicators)
    return Command((_program("dagster"), *arguments), env | {"INDICATORS_FILE": str(indicators)}, _home(settings))


def migrate(settings: "Settings") -> None:
    """Bring the serving database to the schema of the code that fills it. Raises `InstallError`."""
    from sqlalchemy.exc import SQLAlchemyError

    from serving import migrate  # no other service needs what that imports

    try:
        migrate.migrate(settings)
    except SQLAlchemyError as error:
        raise InstallError(
            f"The serving database cannot be migrated: {str(error).splitlines()[0]}. It is tried again; where it stays "
            "so, ./deploy.sh makes its roles and their passwords anew."
        ) from None


def webserver(settings: "Settings") -> Command:
    """The UI and its GraphQL."""
    where = ("-h", settings.bind_address, "-p", str(settings.dagster_port))
    argv = (_program("dagster-webserver"), *where, "-w", _workspace(), *_log_format(settings))
    return Command(argv, _env(settings), _home(settings))


def daemon(settings: "Settings") -> Command:
    """Sensors, schedules, the run queue and the watch over runs."""
    argv = (_program("dagster-daemon"), "run", "-w", _workspace(), *_log_format(settings))
    return Command(argv, _env(settings), _home(settings))


def _log_format(settings: "Settings") -> tuple[str, ...]:
    return ("--log-format", "json") if settings.log_format == "json" else ()


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _workspace() -> str:
    return str(PROJECT / "config" / "workspace.yaml")


def _home(settings: "Settings") -> Path:
    """Dagster takes up the `.env` of the folder it runs in, over its environment: it runs where there is none."""
    return settings.state / "dagster"


def _env(settings: "Settings") -> dict[str, str]:
    home = _home(settings)
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROJECT / "config" / "dagster.yaml", home / "dagster.yaml")
    return {
        "DAGSTER_HOME": str(home),
        "DAGSTER_CODE_HOST": settings.host("dagster-code"),
        "DAGSTER_CODE_PORT": str(settings.dagster_code_port),
        "POSTGRES_HOST": settings.postgres_host,
        "POSTGRES_PORT": str(settings.postgres_port),
        "DAGSTER_ROLE": settings.dagster_role,
        "DAGSTER_PASSWORD": settings.dagster_password.get_secret_value(),
        "POSTGRES_DATABASE": settings.postgres_database,
        # The code server starts another process for the code, and does not tell it.
        "DAGSTER_CLI_API_GRPC_LOG_FORMAT": "json" if settings.log_format == "json" else "colored",
    }
