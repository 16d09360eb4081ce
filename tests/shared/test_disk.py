"""How full the disk is, and when imports wait."""

import subprocess
from pathlib import Path

import pytest
import yaml

from shared.disk import WARNING_PERCENT, Disk, disk_of, existing, imports_wait, lake_disk
from shared.settings import PROJECT, Settings


def test_a_disk_is_as_full_as_df_says(tmp_path: Path) -> None:
    used, free = (int(word) for word in df(tmp_path).split())
    found = disk_of(tmp_path)
    assert found.used == pytest.approx(used, rel=0.01)
    assert found.free == pytest.approx(free, rel=0.01)
    assert Disk(1000, 720, 180).percent == 80  # the system keeps 100 for itself


def df(folder: Path) -> str:
    command = ["df", "--block-size=1", "--output=used,avail", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1]


def test_the_nearest_folder_stands_for_one_that_is_not_there(tmp_path: Path) -> None:
    assert existing(tmp_path / "a" / "b") == tmp_path


def test_imports_wait_from_the_threshold_on_and_are_told_the_cure() -> None:
    disk = lake_disk(Settings())
    assert disk
    wanted = {disk.percent - 0.5: True, disk.percent + 0.5: False}
    waits = {at: imports_wait(Settings().model_copy(update={"imports_pause_percent": at})) for at in wanted}
    assert {at: bool(why) for at, why in waits.items()} == wanted
    why = "".join(waits.values())
    assert "`crypto du`" in why
    assert "IMPORTS_PAUSE_PERCENT" in why
    assert "go on by themselves" in why


def test_where_the_lake_lies_in_another_store_no_import_waits_for_our_disk() -> None:
    elsewhere = Settings(s3_endpoint="https://s3.example.org").model_copy(update={"imports_pause_percent": 0})
    assert lake_disk(elsewhere) is None
    assert imports_wait(elsewhere) == ""


def test_prometheus_warns_where_the_commands_do() -> None:
    groups = yaml.safe_load((PROJECT / "config" / "prometheus" / "rules.yml").read_text())["groups"]
    [rule] = [rule for group in groups for rule in group["rules"] if rule["alert"] == "DiskFills"]
    assert rule["expr"] == f"disk_used_share >= {WARNING_PERCENT / 100}"
