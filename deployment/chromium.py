"""Chromium, which the tests drive: Debian's package, installed by root."""

import os

from deployment.paths import tool
from deployment.steps import Shell, Step


def program() -> str | None:
    """The browser of this machine, or None."""
    return tool("chromium") or tool("chromium-browser") or tool("google-chrome")


def can_install() -> bool:
    """Elsewhere the tests in the browser are skipped, and say so."""
    return os.geteuid() == 0 and tool("apt-get") is not None


def install(shell: Shell) -> None:
    """Install Debian's package."""
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    shell.run(["apt-get", "update", "-q"], **env)
    shell.run(["apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium"], **env)


STEP = Step(
    name="Chromium",
    done=lambda: program() is not None or not can_install(),
    run=install,
    cure="Try `apt-get install chromium` by hand, then run ./test.sh again.",
)
