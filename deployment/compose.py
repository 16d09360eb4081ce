"""Stage two of `deploy.sh` with Docker: the same services by `docker compose`."""

import sys
from pathlib import Path

from deployment import docker, env_file
from deployment.messages import farewell
from deployment.paths import PROJECT, set_environment, setting, state
from deployment.start import DeployError, check_whole, configured
from deployment.stop import stop
from shared.settings import Settings, SettingsError
from shared.yaml_file import YamlFileError

CONFIG = PROJECT / "config"
CONFIG_INSIDE = Path("/app/config")
"""Where `docker-compose.yml` mounts it."""

OF_THE_MACHINE = ("CRYPTO_MODE", "ENVIRONMENT", "SECRETS_DIR")
"""Settings that the containers are told otherwise, or that say where others come from."""


def main() -> None:
    """Make `.env` whole, build, start, and wait until all is healthy."""
    mode = sys.argv[1]
    set_environment({"CRYPTO_MODE": mode})
    try:
        settings = configured(mode)
        check_whole(state(mode))
        leave_given(settings, state(mode))
    except (SettingsError, YamlFileError, DeployError) as error:
        sys.exit(f"✗ {error}")
    for local in ("demo", "live"):
        stop(state(local), print)
    given = {name: setting(name, "") for name in env_file.SECRETS}
    given["KAFKA_PASSWORD"] = settings.kafka_password.get_secret_value()
    chosen = profiles(settings)
    # First for one service: an engine without BuildKit would build the image for all of them side by side.
    steps = (((), ("build", "kafka")), (chosen, ("up", "--detach", "--build", "--wait", "--remove-orphans")))
    if docker.remove_unchosen(mode, chosen) or any(docker.run(mode, some, *words, **given) for some, words in steps):
        print(*docker.ailing(), sep="\n")
        sys.exit(
            "✗ Docker did not bring everything up: `docker compose ps` and `docker compose logs` show why. "
            "./deploy.sh --local does without it."
        )
    print(farewell(settings, in_docker=True))


def leave_given(settings: Settings, folder: Path) -> None:
    """Leave the settings that anybody gives, but for the secrets, in the file that `docker-compose.yml` reads last.

    As they were understood here: compose has rules of its own for quotes and `$` in `.env`. Raises `SettingsError` for
    a setting that names a file which the containers do not see.
    """
    names = {name: Settings.model_fields[name].alias or name.upper() for name in settings.model_fields_set}
    given = {names[name]: _written(getattr(settings, name)) for name in sorted(names)} | files_as_seen_inside(settings)
    lines = [f"{name}={value}\n" for name, value in given.items() if name not in {*env_file.ALL, *OF_THE_MACHINE}]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "docker.env"
    path.touch(mode=0o600)
    path.write_text("".join(lines), encoding="utf-8")


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def files_as_seen_inside(settings: Settings) -> dict[str, str]:
    """The settings that name a file other than by default, with the place where the containers have it.

    Raises `SettingsError` for one outside `config/`, which is all that they see.
    """
    inside = {}
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if not isinstance(value, Path) or value == field.default:
            continue
        if not value.resolve().is_relative_to(CONFIG):
            raise SettingsError(
                f"{name.upper()} names {value}: containers see files in {CONFIG} alone, so put it there."
            )
        inside[name.upper()] = str(CONFIG_INSIDE / value.resolve().relative_to(CONFIG))
    return inside


def profiles(settings: Settings) -> list[str]:
    """The profiles of what these settings turn on."""
    ours, trades = docker.CLICKHOUSE
    chosen = [docker.MONITORING] if settings.grafana else []
    if settings.has_clickhouse:
        chosen += [trades] if settings.clickhouse_url else [ours, trades]
    if settings.public_host:
        chosen.append(docker.PUBLIC)
    return chosen


if __name__ == "__main__":
    main()
