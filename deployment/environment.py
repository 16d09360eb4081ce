"""The virtual environment `.venv`, from `requirements.lock` and nothing else.

After a change of `pyproject.toml` the lock is made anew by the command in its second line (with `--upgrade` for newer
versions).
"""

import shutil
import sys
from pathlib import Path

from deployment.paths import PROJECT, VENV, cache, fingerprint
from deployment.steps import InstallError, Shell, Step

LOCK = PROJECT / "requirements.lock"
PYTHON = VENV / "bin" / "python"


def stamp() -> Path:
    """The file that exists when `.venv` is what the lock and `pyproject.toml` say."""
    return VENV / f".made-from-{fingerprint(LOCK, PROJECT / 'pyproject.toml')}"


def locked(package: str, lock: str) -> str:
    """The lines of a lock that pin one package, with its hashes. Raises `InstallError` where it has none."""
    lines = lock.splitlines()
    start = next((at for at, line in enumerate(lines) if line.startswith(f"{package}==")), None)
    if start is None:
        raise InstallError(f"requirements.lock does not pin {package}")
    end = next((at for at in range(start, len(lines)) if not lines[at].endswith("\\")), len(lines))
    return "\n".join(lines[start : end + 1]) + "\n"


def make(shell: Shell) -> None:
    """Make `.venv` or bring it up to date; an interrupted one is gone on with."""
    for old in VENV.glob(".made-from-*"):
        old.unlink()
    if not (VENV / "bin" / "pip").exists() and not (VENV / "bin" / "uv").exists():
        shutil.rmtree(VENV, ignore_errors=True)
        shell.run([sys.executable, "-m", "venv", str(VENV)])
    uv = VENV / "bin" / "uv"
    if not uv.exists():
        pin = VENV / "uv.lock"
        pin.write_text(locked("uv", LOCK.read_text(encoding="utf-8")), encoding="utf-8")
        shell.run([str(PYTHON), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(pin)])
    env = {
        "VIRTUAL_ENV": str(VENV),
        "UV_CACHE_DIR": str(cache() / "uv"),
        # The system's certificates: a company's own authority is among them.
        "UV_NATIVE_TLS": "1",
        # Else every process that may not write bytecode compiles Dagster and pandas again: seconds at each start.
        "UV_COMPILE_BYTECODE": "1",
    }
    shell.run([str(uv), "pip", "sync", "--require-hashes", str(LOCK)], **env)
    shell.run([str(uv), "pip", "install", "--no-deps", "--no-build-isolation", "--editable", str(PROJECT)], **env)
    stamp().touch()


STEP = Step(
    name="Python environment",
    done=lambda: stamp().exists(),
    run=make,
    cure="Look whether pip reaches its package index, then run ./deploy.sh again: it goes on from here.",
)
