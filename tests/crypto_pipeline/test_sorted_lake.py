"""Closed months of a table that Hudi wrote are sorted, and nobody who reads or follows it is told of another row."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from deployment import jars
from tests.system import PROJECT


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What sorted_lake.py saw."""
    if not jars.folder("spark").is_dir():
        pytest.skip("Spark's jars are not installed: ./deploy.sh fetches them")
    command = [sys.executable, "-m", "tests.crypto_pipeline.sorted_lake"]
    in_utc = {**os.environ, "TZ": "UTC"}  # Spark gives times in the zone of the process
    done = subprocess.run(command, cwd=PROJECT, env=in_utc, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_month_with_log_files_or_of_which_the_timeline_tells_is_left_alone(seen: dict[str, Any]) -> None:
    assert seen["at_first"] == [["base", "log"], ["base"]]
    assert seen["too_early"] == seen["not_due"] == "Done(sorted=0, removed=0)"


def test_the_log_files_of_a_month_that_is_over_are_merged_however_few(seen: dict[str, Any]) -> None:
    assert seen["merged"] == [["base"], ["base"]]
    assert seen["of_no_time"] == 0, "a table that does not lie by time"


def test_a_base_file_bears_no_filter_of_its_keys_which_no_index_of_ours_reads(seen: dict[str, Any]) -> None:
    assert not [key for key in seen["footer_keys"] if "bloom" in key]
    assert "parquet.avro.schema" in seen["footer_keys"], "they are Hudi's own"


def test_the_commits_are_those_that_hudi_tells_of(seen: dict[str, Any]) -> None:
    assert seen["never_written"] == []
    assert seen["are_hudis"] == [True, True]
    assert seen["actions"] == ["commit", "deltacommit", "replacecommit"]


def test_rows_are_counted_by_each_commit_that_wrote_them(seen: dict[str, Any]) -> None:
    assert seen["rows_written"] == 3 * 200 + 3 * 3


def test_a_table_stays_as_it_was_first_read_and_its_view_goes(seen: dict[str, Any]) -> None:
    assert seen["as_it_was"]
    assert seen["views"] == [1, 0]


def test_months_that_are_over_are_sorted_and_the_current_one_is_not(seen: dict[str, Any]) -> None:
    assert seen["done"] == "Done(sorted=2, removed=0)"
    assert seen["sorted"][:2] == [["base", "sorted"]] * 2
    assert "sorted" not in seen["sorted"][2]


def test_the_rows_are_the_same_by_spark_and_without_it_and_nobody_who_follows_is_told(seen: dict[str, Any]) -> None:
    assert seen["same_to_spark"]
    assert seen["same_without"]
    assert seen["nothing_to_follow"] == []


def test_a_late_row_in_a_sorted_month_replaces_its_own_and_is_followed(seen: dict[str, Any]) -> None:
    assert seen["followed"] == [["BTCUSDT", "9.5"]]
    assert seen["latest"] == [[["BTCUSDT", "9.5"]], []], "of that row's hour, and of another"
    assert seen["late"] == ["base", "log", "sorted"]
    assert seen["late_to_spark"] == seen["late_without"] == [1, 0], "so many rows with the new price, and so many more"


def test_what_late_rows_were_merged_into_is_sorted_again_and_what_was_copied_goes(seen: dict[str, Any]) -> None:
    assert seen["again"] == "Done(sorted=1, removed=1)"
    assert seen["the_copied_go"] == "Done(sorted=0, removed=1)"
    assert seen["at_last"] == [["sorted"], ["sorted"]]
    assert seen["same_again"]


def test_a_history_lies_in_the_order_of_time_so_that_a_day_is_on_few_pages(seen: dict[str, Any]) -> None:
    merged, into_empty = seen["descents"]
    assert merged <= 4, "of four tasks each may begin anew"
    assert into_empty == 0


def test_what_comes_again_after_it_was_written_into_an_empty_month_stands_once(seen: dict[str, Any]) -> None:
    assert seen["came_again"] == [0, 3 * 3], "both ways of writing must make the same key of a time"
