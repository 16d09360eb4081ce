import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def test_the_image_has_what_a_deployment_wants_and_no_test_tool() -> None:
    lock = """\
# made by uv
a==1 \\
    --hash=sha256:1
    # via crypto-lakehouse (pyproject.toml)
b==1 ; python_full_version < '3.12' \\
    --hash=sha256:2
    # via
    #   a
    #   pytest
b==2 ; python_full_version >= '3.12' \\
    --hash=sha256:3
    # via a
pytest==9 \\
    --hash=sha256:4
    # via crypto-lakehouse (pyproject.toml:dev)
pluggy==1 \\
    --hash=sha256:5
    # via pytest
uv==1 \\
    --hash=sha256:6
    # via crypto-lakehouse (pyproject.toml:dev)
"""
    kept = environment.of_a_deployment(lock)
    assert [line for line in kept.splitlines() if "==" in line] == [
        "a==1 \\",
        "b==1 ; python_full_version < '3.12' \\",
        "b==2 ; python_full_version >= '3.12' \\",
        "uv==1 \\",
    ]


def test_what_our_programs_import_is_in_the_lock_of_a_deployment() -> None:
    kept = environment.of_a_deployment(environment.LOCK.read_text())
    names = set(re.findall(r"^([a-z0-9][a-z0-9-]*)==", kept, re.M))
    wanted, seen = {environment.PROJECT_NAME}, set[str]()
    while wanted:
        name = wanted.pop()
        seen.add(name)
        for line in metadata.requires(name) or ():
            need = Requirement(line)
            if not need.marker or need.marker.evaluate({"extra": ""}):
                wanted |= {canonicalize_name(need.name)} - seen
    assert seen - {environment.PROJECT_NAME} <= names
