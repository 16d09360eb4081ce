"""The files of the page."""

import hashlib
import re

import pytest

from dashboard.app import STATIC

VENDOR = STATIC / "vendor"
PINS = re.findall(r"\| `([\w.-]+)` \|.*`([0-9a-f]{64})` \|", (VENDOR / "README.md").read_text())


@pytest.mark.parametrize(("name", "digest"), PINS)
def test_a_library_of_others_is_the_file_that_was_chosen(name: str, digest: str) -> None:
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest


def test_every_library_is_listed() -> None:
    assert {path.name for path in VENDOR.glob("*.mjs")} == {name for name, _ in PINS}


def test_nothing_of_our_own_is_loaded_from_another_host() -> None:
    for path in (*STATIC.glob("js/**/*.js"), *STATIC.glob("css/*.css"), STATIC / "index.html"):
        for address in re.findall(r"""(?:src=|import\(|from |url\()["'](https?:[^"']+)""", path.read_text()):
            pytest.fail(f"{path.name} loads {address}")
