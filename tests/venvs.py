"""Environments of other tools, whose packages do not go with those of the lock: each is made once, in the cache."""

import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from deployment.paths import cache, child_environment

_UNREACHABLE = ("error sending request", "Failed to fetch", "dns error", "Could not connect")
"""What uv says where the package index does not answer."""


def python_with(requirements: Path) -> Path:
    """The Python of an environment with the packages that a file names, each with its version, and no others.

    Skips where they cannot be had from the package index.
    """
    digest = sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    made = cache() / "test-environments" / f"{requirements.stem}-{digest}"
    python = made / "bin" / "python"
    if not (made / "whole").exists():
        shutil.rmtree(made, ignore_errors=True)
        uv = str(Path(sys.executable).with_name("uv"))
        environment = child_environment(UV_CACHE_DIR=str(cache() / "uv"), UV_NATIVE_TLS="1")
        install = [uv, "pip", "install", "--quiet", "--no-deps", "--python", str(python), "-r", str(requirements)]
        for command in ([uv, "venv", "--quiet", "--python", sys.executable, str(made)], install):
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode and any(words in done.stderr for words in _UNREACHABLE):
                pytest.skip(f"the packages of {requirements.name} cannot be had: {done.stderr.strip().splitlines()[0]}")
            assert done.returncode == 0, done.stderr
        (made / "whole").touch()
    return python
