"""Retention on Hudi's own tables in a real object store: applied, killed, and applied again."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from deployment import jars
from tests.system import PROJECT

FIRST_TWO = ["2026-08-01", "2026-08-02"]
STAYS = {"raw BTCUSDT 2026-08-01": "silver.completeness has no word on it"}
GOES = ["bronze.depth 2026-08-01", "raw _other 2026-08-01", "bronze.depth 2026-08-02"]


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What real_lake.py saw."""
    if not jars.folder("spark").is_dir():
        pytest.skip("Spark's jars are not installed: ./deploy.sh fetches them")
    command = [sys.executable, "-m", "tests.crypto_pipeline.retention.real_lake"]
    in_utc = {**os.environ, "TZ": "UTC"}  # Spark gives times in the zone of the process
    done = subprocess.run(command, cwd=PROJECT, env=in_utc, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_before_its_time_nothing_of_a_table_goes(seen: dict[str, Any]) -> None:
    assert seen["too_early"] == {"goes": ["raw _other 2026-08-01"], "stays": STAYS}


def test_what_silver_has_not_followed_stays_and_it_is_said_why(seen: dict[str, Any]) -> None:
    found = seen["not_followed"]
    assert found["goes"] == [one for one in GOES if one != "bronze.depth 2026-08-02"]
    why = found["stays"]["bronze.depth 2026-08-02"]
    assert "of silver.order_book_1m differ from what it gives, first BTCUSDT at 07:00" in why


def test_what_is_old_and_verified_goes(seen: dict[str, Any]) -> None:
    assert seen["whole"] == {"goes": GOES, "stays": STAYS}
    assert seen["left"] == [["2026-08-03"], False, True]


def test_killed_between_recording_and_removing_it_goes_on_and_nothing_was_missing(seen: dict[str, Any]) -> None:
    assert seen["recorded_and_not_removed"] == [[*FIRST_TWO, "2026-08-03"], True, str(FIRST_TWO)]
    assert seen["after_the_kill"] == seen["whole"]
    assert len(seen["recorded_at"]) == 1, "what was recorded stays as it was"
    assert seen["rows_recorded"] == len(GOES)


def test_twice_is_once(seen: dict[str, Any]) -> None:
    assert seen["nothing_more"] == {"goes": [], "stays": STAYS}


def test_the_place_in_kafka_is_kept_and_silver_is_told_of_nothing(seen: dict[str, Any]) -> None:
    assert seen["note"] == "here"
    assert "2026-08-01" not in seen["followed"]
    assert seen["minutes_after"] == sorted({*seen["first_minutes"], "2026-08-02 07:00"})


def test_the_first_hour_after_it_is_not_made_again_from_half_of_what_it_rests_on(seen: dict[str, Any]) -> None:
    assert seen["first_hour_made_again_differs"] > 0, "a book of the evening before holds into it"
    assert seen["since"] == "2026-08-03 01:00:00+00:00"
    assert seen["from_then_on"] == 0
    assert seen["next_day"]["goes"] == ["bronze.depth 2026-08-03"]


def test_cleaning_removes_the_files(seen: dict[str, Any]) -> None:
    assert seen["files_after_cleaning"] == []
