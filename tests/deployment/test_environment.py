import re

import pytest

from deployment import environment
from deployment.environment import LOCK, locked
from deployment.paths import PROJECT
from deployment.steps import InstallError


def test_the_lines_of_one_package_are_found_with_its_hashes() -> None:
    lock = "a==1 \\\n    --hash=sha256:00\n    # via b\nuv==2 \\\n    --hash=sha256:01 \\\n    --hash=sha256:02\nz==3\n"
    assert locked("uv", lock) == "uv==2 \\\n    --hash=sha256:01 \\\n    --hash=sha256:02\n"


def test_a_package_that_is_not_locked_is_an_error() -> None:
    with pytest.raises(InstallError, match="does not pin"):
        locked("no-such-package", LOCK.read_text())


def test_the_lock_pins_uv_and_what_builds_us() -> None:
    text = LOCK.read_text()
    assert "--hash=sha256:" in locked("uv", text)
    assert "--hash=sha256:" in locked("hatchling", text)


def test_every_package_of_the_lock_has_a_hash_and_no_address() -> None:
    text = LOCK.read_text()
    packages = re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)
    assert len(packages) > 50
    assert all("--hash=sha256:" in locked(package, text) for package in packages)
    assert "://" not in text


def test_the_stamp_changes_with_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment.stamp()
    monkeypatch.setattr(environment, "LOCK", PROJECT / "README.md")
    assert environment.stamp() != before
