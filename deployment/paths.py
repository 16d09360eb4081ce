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


def env_files() -> list[Path]:
    """`.env.<ENVIRONMENT>` and `.env`, as `shared.settings.env_files` has them."""
    return [home() / f".env.{_before('ENVIRONMENT', 'development')}", home() / ".env"]


def env_file_lines(path: Path) -> dict[str, str]:
    """The `NAME=value` lines of such a file; empty where there is none."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")  # the settings refuse what is no text, in a sentence
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs if not name.lstrip().startswith("#")}


def setting(name: str, default: str) -> str:
    """A setting as stage one sees it, from the first that has it."""
    return found(name)[1] or default


def found(name: str) -> tuple[str, str]:
    """Where a setting comes from, and its value; empty where nobody gives it. The order is that of the settings."""
    if _environ.get(name):
        return "the environment", _environ[name]
    for path in env_files():
        if value := env_file_lines(path).get(name):
            return str(path), value
    folder = _before("SECRETS_DIR", "")
    for path in (Path(folder, name), Path(folder, name.lower())) if folder else ():
        if path.is_file():
            return str(path), path.read_text(encoding="utf-8").strip()
    return "", ""


def _before(name: str, default: str) -> str:
    return _environ.get(name) or env_file_lines(home() / ".env").get(name) or default


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
