"""Environments of other tools, whose packages are not those of the lock: each is made once, in the cache."""

import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from deployment.paths import cache, child_environment


def python_with(requirements: str, *options: str) -> Path:
    """The Python of an environment with these packages, named with their versions, a line each.

    Skips where they cannot be had from the package index.
    """
    made = cache() / "test-environments" / sha256(repr((requirements, options, sys.version)).encode()).hexdigest()[:12]
    python = made / "bin" / "python"
    if not (made / "whole").exists():
        ...
    return python
