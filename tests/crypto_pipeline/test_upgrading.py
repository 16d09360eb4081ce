"""`crypto backup` of a lake that is written, and `crypto upgrade` of an older one: real stores, real Spark and Hudi."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from deployment import jars, minio, postgres
from shared.settings import PROJECT
from tests.servers import free_ports


@pytest.fixture(scope="module")
def seen() -> Any:
    """What upgrade_script.py saw, in a home of its own."""
    if not jars.folder("spark").is_dir() or minio.program() is None or postgres.binaries() is None:
        pytest.skip("Spark's jars, MinIO or PostgreSQL are not installed: `python3 -m deployment.install`")
    home = Path(tempfile.mkdtemp(prefix="crypto-lakehouse-test-"))
    home.chmod(0o755)
    ports = dict(zip(("MINIO_PORT", "MINIO_CONSOLE_PORT", "POSTGRES_PORT"), map(str, free_ports(3)), strict=True))
    environment = {**os.environ, **ports, "CRYPTO_HOME": str(home), "CRYPTO_MODE": "demo", "PYTHONPATH": str(PROJECT)}
    script = Path(__file__).with_name("upgrade_script.py")
    try:
        done = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        yield json.loads(done.stdout.splitlines()[-1])
    finally:
        shutil.rmtree(postgres.data_dir(home / "var" / "demo"), ignore_errors=True)
        shutil.rmtree(home)


def test_a_backup_of_a_table_that_is_written_and_merged_has_just_the_rows_of_its_writes(seen: dict[str, Any]) -> None:
    assert seen["restored"]["writes"] >= 3
    assert seen["restored"]["is_just_these"]


def test_every_row_is_there_afterwards_and_a_new_column_is_null(seen: dict[str, Any]) -> None:
    assert seen["rows"] == 80
    assert seen["equal"]
    assert seen["added"] == ["None"]
    assert seen["days"] == ["2026-10-30", "2026-10-31", "2026-11-01", "2026-11-02"]
    assert seen["again"] == 0


def test_only_what_lies_otherwise_is_laid_anew_and_each_with_its_reason(seen: dict[str, Any]) -> None:
    assert seen["changed"] == {
        "gold.probe": [
            "it lies in 1 buckets, and 2 are set",
            "number is int, and bigint is wanted",
            "price is decimal(20,8), and decimal(38,18) is wanted",
            "its partitions are month, and date wanted",
        ],
        "gold.other": ["number is int, and bigint is wanted"],
    }


def test_how_far_a_source_was_read_is_handed_on(seen: dict[str, Any]) -> None:
    assert seen["notes"] == {"place": "80", "buckets": "2", "contracts": "9.2"}


def test_one_that_was_killed_is_put_right_by_the_next_and_nothing_is_deployed_meanwhile(seen: dict[str, Any]) -> None:
    assert seen["killed_in_the_midst"]
    assert "run `crypto upgrade`, which puts it right" in seen["deployed_meanwhile"]


def test_one_that_fails_leaves_all_as_it_was(seen: dict[str, Any]) -> None:
    assert seen["failed"].startswith("The upgrade failed, and all is as it was: the rows of gold.other")
    assert seen["rolled_back"]


def test_a_lake_of_a_newer_code_is_refused(seen: dict[str, Any]) -> None:
    assert "was written by the version 9.1 of the contracts, and this code has" in seen["newer"]
