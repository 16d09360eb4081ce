"""`.env`: its secrets are made at the first run and changed only when asked to; its mode is the last `deploy.sh`'s."""

import os
import secrets
from pathlib import Path

from deployment.paths import env_files, found, home, setting

SECRETS = {
    "S3_ACCESS_KEY": 10,
    "S3_SECRET_KEY": 24,
    "S3_STREAMING_ACCESS_KEY": 10,
    "S3_STREAMING_SECRET_KEY": 20,
    "S3_LAKE_ACCESS_KEY": 10,
    "S3_LAKE_SECRET_KEY": 20,
    "S3_READER_ACCESS_KEY": 10,
    "S3_READER_SECRET_KEY": 20,
    "POSTGRES_PASSWORD": 24,
    "DAGSTER_PASSWORD": 24,
    "SERVING_OWNER_PASSWORD": 24,
    "SERVING_WRITER_PASSWORD": 24,
    "SERVING_READER_PASSWORD": 24,
    "SERVING_ALERTS_PASSWORD": 24,
    "CLICKHOUSE_WRITER_PASSWORD": 24,
    "CLICKHOUSE_READER_PASSWORD": 24,
    "GRAFANA_ADMIN_PASSWORD": 24,
    "PUBLIC_PASSWORD": 20,
    "PUBLIC_TOKEN": 24,
    "PUBLIC_KAFKA_PASSWORD": 24,
}
"""The secrets that a deployment needs, and how many random bytes each gets."""
GIVEN = ("BACKUP_S3_SECRET_KEY", "KAFKA_PASSWORD")
"""Secrets that others make, and the user writes down."""
ALL = (*SECRETS, *GIVEN)
HEAD = "# Settings of this deployment; shared/settings.py names them all. Keep it to yourself: it holds secrets.\n"


def ensure(mode: str) -> list[str]:
    """Make `.env` whole for this mode: mode 600, missing secrets generated. Gives the names of those."""
    path = home() / ".env"
    path.parent.mkdir(parents=True, exist_ok=True)
    # One that is given elsewhere is not written: it is whoever gives it who keeps it.
    missing = [name for name in SECRETS if not setting(name, "")]
    text = path.read_text(encoding="utf-8") if path.exists() else HEAD
    if text and not text.endswith("\n"):
        text += "\n"
    text += "".join(f"{_made(name)}\n" for name in missing)
    _write(path, with_mode(text, mode))
    for other in env_files():
        if other.exists():
            other.chmod(0o600)
    return missing


def why_not_renewed(name: str) -> str:
    """Why a secret cannot be given anew here, with the cure; empty where it can."""
    if name not in SECRETS:
        return f"{name} is none of the secrets that ./deploy.sh makes: {', '.join(SECRETS)}."
    where, _ = found(name)
    if where not in ("", str(home() / ".env")):
        return f"{name} is given by {where}: change it there, then run ./deploy.sh."
    for other, names in (("S3_ENDPOINT", "S3_"), ("CLICKHOUSE_URL", "CLICKHOUSE_")):
        if name.startswith(names) and setting(other, ""):
            return (
                f"{name} is of the server at {other}: change it there, write it into {home() / '.env'}, "
                "then run ./deploy.sh."
            )
    return ""


def renew(name: str) -> None:
    """Give a secret of `.env` a new value; all else there stays. Raises `ValueError` for what is none."""
    if reason := why_not_renewed(name):
        raise ValueError(reason)
    path = home() / ".env"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else [HEAD.rstrip()]
    kept = [line for line in lines if line.partition("=")[0].strip() != name]
    _write(path, "\n".join([*kept, _made(name)]) + "\n")


def _made(name: str) -> str:
    return f"{name}={secrets.token_hex(SECRETS[name])}"


def with_mode(text: str, mode: str) -> str:
    """The text of a `.env` whose `CRYPTO_MODE` is `mode`, so that `crypto` and the scripts mean the same deployment."""
    lines = text.splitlines()
    wanted = f"CRYPTO_MODE={mode}"
    at = next((at for at, line in enumerate(lines) if line.partition("=")[0].strip() == "CRYPTO_MODE"), None)
    if at is None:
        lines.append(wanted)
    else:
        lines[at] = wanted
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        path.chmod(0o600)
        return
    made = path.with_name(".env.new")
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    made.rename(path)
