"""Chromium, which the tests drive: Debian's package, installed by root."""

from deployment import debian
from deployment.paths import tool
from deployment.steps import Shell, Step


def program() -> str | None:
    """The browser of this machine, or None."""
    return tool("chromium") or tool("chromium-browser") or tool("google-chrome")


def install(shell: Shell) -> None:
    """Install Debian's package."""
    debian.install(shell, "chromium")


STEP = Step(
    name="Chromium",
    done=lambda: program() is not None or not debian.can_install(),  # elsewhere the tests in the browser are skipped
    run=install,
    cure="Try `apt-get install chromium` by hand, then run ./test.sh again.",
)
