from dataclasses import replace
from pathlib import Path

import pytest

from deployment.preflight import GIB, Machine, faults

GOOD = Machine(
    memory_bytes=8 * GIB,
    free_bytes=lambda _path: 100 * GIB,
    tool=lambda name: f"/usr/bin/{name}",
    version=lambda name: {"java": (17, 0, 15), "go": (1, 26, 8)}[name],
    is_root=True,
    is_debian=True,
)


@pytest.fixture(autouse=True)
def nothing_installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setattr("deployment.minio.program", lambda: None)
    monkeypatch.setattr("deployment.postgres.binaries", lambda: None)


def test_a_good_machine_has_no_faults() -> None:
    assert faults("8g", True, GOOD) == []


def test_a_machine_sold_with_8_gb_is_large_enough() -> None:
    assert faults("8g", True, replace(GOOD, memory_bytes=int(7.5 * GIB))) == []


def test_too_little_memory_names_the_smaller_profile_where_it_would_do() -> None:
    (fault,) = faults("8g", True, replace(GOOD, memory_bytes=6 * GIB))
    assert fault == "This machine has 6.0 GB of memory, and 8 are needed: set MEMORY_PROFILE=6g."
    assert faults("6g", True, replace(GOOD, memory_bytes=6 * GIB)) == []


def test_an_unknown_profile_is_refused() -> None:
    (fault,) = faults("4g", True, GOOD)
    assert fault == "MEMORY_PROFILE is '4g': it must be one of 6g, 8g."


def test_a_full_disk_is_named_with_what_is_needed() -> None:
    said = " ".join(faults("8g", True, replace(GOOD, free_bytes=lambda _path: GIB)))
    assert "has 1.0 GB free" in said
    assert "CRYPTO_HOME" in said


def test_all_that_is_missing_is_reported_together_each_with_its_cure() -> None:
    said = faults("8g", True, replace(GOOD, tool=lambda _name: None, is_root=False))
    assert [sentence.split()[0] for sentence in said] == ["Java", "Maven", "Go", "PostgreSQL's"]
    assert all("install" in sentence.lower() for sentence in said)


def test_docker_needs_none_of_the_tools() -> None:
    assert faults("8g", False, replace(GOOD, tool=lambda _name: None, is_root=False)) == []


@pytest.mark.parametrize(
    ("version", "words"),
    [({"java": (11, 0, 2), "go": (1, 26)}, "version 11.0.2"), ({"java": (17,), "go": (1, 19, 8)}, "version 1.19.8")],
)
def test_a_tool_that_is_too_old_is_named_with_its_version(version: dict[str, tuple[int, ...]], words: str) -> None:
    (fault,) = faults("8g", True, replace(GOOD, version=lambda name: version[name]))
    assert words in fault


def test_root_on_debian_has_postgresql_installed_for_it() -> None:
    assert faults("8g", True, replace(GOOD, is_root=True)) == []
    (fault,) = faults("8g", True, replace(GOOD, is_root=False))
    assert "apt-get install postgresql" in fault
