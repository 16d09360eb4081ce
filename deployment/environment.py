"""The virtual environment `.venv`, from `requirements.lock` and nothing else.

After a change of `pyproject.toml` the lock is made anew by the command in its second line (with `--upgrade` for newer
versions).
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

from deployment.paths import PROJECT, VENV, cache, fingerprint
from deployment.steps import InstallError, Shell, Step

LOCK = PROJECT / "requirements.lock"
PROJECT_NAME = "crypto-lakehouse"
INSTALLERS = ("hatchling", "uv")
"""What the environment is made with; of the group `dev`, as nothing of ours imports it."""
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


def of_a_deployment(lock: str) -> str:
    """The part of a lock that a deployment needs: without what the group `dev` alone wants, but with what installs."""
    blocks: dict[str, str] = {}  # of one name there may be several, each for another Python
    for block in re.split(r"^(?=[a-z0-9])", lock, flags=re.M)[1:]:
        name = block.partition("==")[0]
        blocks[name] = blocks.get(name, "") + block
    wanted_by = {
        name: set(re.findall(r"^ +# (?:via|  ) ?(\S.*)$", block, flags=re.M)) for name, block in blocks.items()
    }
    kept = {*INSTALLERS, f"{PROJECT_NAME} (pyproject.toml)"}
    while more := {name for name, others in wanted_by.items() if others & kept} - kept:
        kept |= more
    return "".join(block for name, block in blocks.items() if name in kept)


def make(shell: Shell, lock: Path = LOCK) -> None:
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
    shell.run([str(uv), "pip", "sync", "--require-hashes", str(lock)], **env)
    shell.run([str(uv), "pip", "install", "--no-deps", "--no-build-isolation", "--editable", str(PROJECT)], **env)
    stamp().touch()


def make_for_a_deployment(shell: Shell) -> None:
    """Make `.venv` as the image has it, without tests and linters."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / LOCK.name
        lock.write_text(of_a_deployment(LOCK.read_text(encoding="utf-8")), encoding="utf-8")
        make(shell, lock)


STEP = Step(
    name="Python environment",
    done=lambda: stamp().exists(),
    run=make,
    cure="Look whether pip reaches its package index, then run ./deploy.sh again: it goes on from here.",
)

FOR_A_DEPLOYMENT = Step(
    name="Python environment without tests",
    done=STEP.done,
    run=make_for_a_deployment,
    cure=STEP.cure,
)
