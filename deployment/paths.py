"""Where things lie, and the environment as children get it. Standard library only: stage one has no `.venv` yet."""

import hashlib
import os
import shutil
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VENV = PROJECT / ".venv"

_environ = os.environ  # noqa: TID251 (shared/settings.py needs pydantic, which stage one is about to install)


def home() -> Path:
    """The folder of `.env` and `var/`, as `shared.settings.home` has it."""
    return Path(_environ.get("CRYPTO_HOME", PROJECT)).resolve()


def state(mode: str) -> Path:
    """Where the deployment of this mode keeps its data and logs."""
    return home() / "var" / mode


def cache() -> Path:
    """Where what was downloaded or built is kept, for all checkouts of this user."""
    base = _environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "crypto-lakehouse"


def env_file_lines() -> dict[str, str]:
    """The `NAME=value` lines of `.env`; empty where there is none."""
    path = home() / ".env"
    if not path.is_file():
        return {}
    pairs = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs if not name.lstrip().startswith("#")}


def setting(name: str, default: str) -> str:
    """A setting as stage one sees it: the environment's, else that of `.env`."""
    return _environ.get(name) or env_file_lines().get(name, default)


def child_environment(**extra: str) -> dict[str, str]:
    """Our environment with `extra` over it, for a child process."""
    return {**_environ, **extra}


def set_environment(values: dict[str, str]) -> None:
    """Put `values` into our own environment, before the settings are read."""
    _environ.update(values)


def tool(name: str) -> str | None:
    """The path of a program, or None; `sbin` counts, which a plain user's PATH may lack."""
    return shutil.which(name, path=f"{_environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")


def fingerprint(*paths: Path) -> str:
    """Twelve hex digits that change when a file of these changes, or of these folders."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(PROJECT)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
