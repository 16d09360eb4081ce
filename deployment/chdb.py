"""chDB, ClickHouse as a library, which the tests of ClickHouse run on: 181 MB, so no deployment installs it."""

import re

from deployment.environment import PYTHON
from deployment.paths import PROJECT, VENV, cache
from deployment.steps import Shell, Step

LOCK = PROJECT / "tests" / "serving" / "clickhouse" / "requirements.lock"


def is_installed() -> bool:
    """Is the version of the lock in the environment?"""
    pinned = re.findall(r"^chdb-core==([\w.]+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    return any(any(VENV.glob(f"lib/python*/site-packages/chdb_core-{one}.dist-info")) for one in pinned)


def install(shell: Shell) -> None:
    """Install it into the environment, which must be there; what it needs is in that already."""
    env = {"VIRTUAL_ENV": str(VENV), "UV_CACHE_DIR": str(cache() / "uv"), "UV_NATIVE_TLS": "1"}
    shell.run([str(PYTHON.with_name("uv")), "pip", "install", "--no-deps", "--require-hashes", "-r", str(LOCK)], **env)


STEP = Step(
    name="chDB",
    done=is_installed,
    run=install,
    cure="Look whether pip reaches its package index; without it the tests of ClickHouse are skipped.",
    is_needed=False,
)
