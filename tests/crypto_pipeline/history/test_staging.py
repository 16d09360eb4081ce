"""An import waits while the disk has no room for it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto_pipeline.history import staging
from crypto_pipeline.history.staging import Staging
from shared.settings import Settings


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root can make a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_an_import_waits_while_the_disk_is_full_and_goes_on_by_itself(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_HOME", str(small_disk))
    monkeypatch.setattr(staging, "LOOK_SECONDS", 0.01)
    said: list[str] = []
    kept_alive: list[int] = []
    wait = Staging(Settings()).wait_for_room
    wait(said.append, lambda: kept_alive.append(1))
    assert (said, kept_alive) == ([], [])

    large = small_disk / "large"
    large.write_bytes(b"x" * 3_900_000)

    def keep_alive() -> None:
        kept_alive.append(1)
        if len(kept_alive) == 3:
            large.unlink()

    wait(said.append, keep_alive)
    assert len(kept_alive) == 3
    assert ["% full" in line for line in said] == [True, False]
    assert said[1] == "There is room again: the import goes on."
