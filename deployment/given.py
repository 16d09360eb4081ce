"""The settings that the environment gives to `deploy.sh`, kept in a file for the programs that supervisor starts later.

supervisord's own environment is fixed when it starts, while a later `deploy.sh` may be given others.
"""

import json
from pathlib import Path

from deployment.paths import child_environment
from shared.settings import Settings


def names() -> set[str]:
    """The environment variables that are settings."""
    return {field.alias or name.upper() for name, field in Settings.model_fields.items()}


def settings_in_environment() -> dict[str, str]:
    """The settings in our own environment, but for the mode, which each program is told by supervisor."""
    wanted = names() - {"CRYPTO_MODE"}
    return {name.upper(): value for name, value in sorted(child_environment().items()) if name.upper() in wanted}


def without_settings() -> dict[str, str]:
    """Our own environment without any setting."""
    return {name: value for name, value in child_environment().items() if name.upper() not in names()}


def save(folder: Path) -> None:
    """Keep what the environment gives. It may hold a secret, so the file is ours alone."""
    path = folder / "environment.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(settings_in_environment(), indent=1), encoding="utf-8")


def saved(folder: Path) -> dict[str, str]:
    """What the environment gave at the last `deploy.sh`."""
    path = folder / "environment.json"
    given: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return given
