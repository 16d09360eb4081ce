"""Debian's packages, which root installs."""

import os
import threading

from deployment.paths import tool
from deployment.steps import Shell

_one_at_a_time = threading.Lock()
"""Each `apt-get` refuses to run beside another."""


def can_install() -> bool:
    """Are we root on Debian?"""
    return os.geteuid() == 0 and tool("apt-get") is not None


def install(shell: Shell, *packages: str) -> None:
    """Install packages, without those that they only recommend. Raises `InstallError`."""
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    with _one_at_a_time:
        shell.run(["apt-get", "update", "-q"], **env)
        shell.run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], **env)
