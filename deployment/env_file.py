"""`.env`: its secrets are made at the first run and never changed; its mode is that of the last `deploy.sh`."""

import os
import secrets
from pathlib import Path

from deployment.paths import env_file_lines, home, setting

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
    "SERVING_OWNER_PASSWORD": 24,
    "SERVING_WRITER_PASSWORD": 24,
    "SERVING_READER_PASSWORD": 24,
    "CLICKHOUSE_WRITER_PASSWORD": 24,
    "CLICKHOUSE_READER_PASSWORD": 24,
    "GRAFANA_ADMIN_PASSWORD": 24,
}
"""The secrets that a deployment needs, and how many random bytes each gets."""
HEAD = "# Settings of this deployment; shared/settings.py names them all. Keep it to yourself: it holds secrets.\n"


def ensure(mode: str) -> list[str]:
    """Make `.env` whole for this mode: mode 600, missing secrets generated. Gives the names of those."""
    path = home() / ".env"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = env_file_lines()
    # One that the environment gives is not written: it is whoever gives it who keeps it.
    missing = [name for name in SECRETS if not lines.get(name) and not setting(name, "")]
    text = path.read_text(encoding="utf-8") if path.exists() else HEAD
    if text and not text.endswith("\n"):
        text += "\n"
    text += "".join(f"{name}={secrets.token_hex(SECRETS[name])}\n" for name in missing)
    _write(path, with_mode(text, mode))
    return missing


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
