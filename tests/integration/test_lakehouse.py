"""What the pipeline relies on in Hudi, seen on the real one."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crypto_pipeline.reader import open_table
from tests.integration.lakehouse_script import HOURLY, MONTHLY
from tests.system import PROJECT, System


@pytest.fixture(scope="module")
def seen(system: System) -> dict[str, Any]:
    """What lakehouse_script.py saw on a table of its own."""
    script = Path(__file__).with_name("lakehouse_script.py")
    command = [str(PROJECT / ".venv" / "bin" / "python"), str(script)]
    with system.nothing_launched():  # it takes half the time
        done = subprocess.run(command, env=system.environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_row_of_lower_ordering_does_not_replace_one_of_higher(seen: dict[str, Any]) -> None:
    expected = [[n, 2] for n in range(10)] + [[n, 1] for n in [*range(10, 15), 20, 21]]
    assert seen["rows"] == expected


def test_rows_of_a_process_lie_in_the_lake_as_they_were_and_are_followed_the_same_by_who_kept_them(
    seen: dict[str, Any],
) -> None:
    at = "2026-11-30T06:00:00.000001+00:00"
    prices = {1: "0.000000000000000001", 2: "2.000000000000000000", **dict.fromkeys((3, 4), "3.000000000000000000")}
    assert seen["known_rows"] == [[number, price, at] for number, price in prices.items()]
    assert seen["known_is_followed_the_same"]
    assert (seen["known_and_followed"], seen["known_files"]) == ([2, 3, 4], 3)
    assert seen["known_with_a_commit_of_another"] == [2, 3, 4, 5]


def test_of_a_key_that_comes_twice_in_one_write_the_row_of_greater_ordering_stays(seen: dict[str, Any]) -> None:
    assert seen["repeated_in_new_files"] == [[1, 3], [2, 5], [3, 1]]
    after = [[1, 4], [2, 5], [3, 1], [4, 3]]
    assert seen["repeated_in_log_files"] == seen["repeated_and_merged"] == after
    followed = [tuple(row) for row in seen["repeated_and_followed"]]
    assert {(1, 4), (4, 3)} <= set(followed)
    assert sorted({number for number, _ in followed}) == [number for number, _ in followed], "followed twice"
    last = [[1, 6], *after[1:], [5, 2]]
    assert seen["repeated_over_base_files"] == seen["repeated_and_merged_again"] == last


def test_following_a_table_gives_just_the_rows_that_came_since(seen: dict[str, Any]) -> None:
    assert set(seen["followed"]) >= {*range(10, 15), 20, 21}
    assert not set(seen["followed"]) & set(range(5)), "rows that no later commit touched"
    assert seen["nothing_new"] == []


def test_a_compaction_loses_neither_rows_that_are_followed_nor_the_note(seen: dict[str, Any]) -> None:
    assert seen["files_compacted"] > 0
    after = set(seen["followed_across_a_compaction"])
    assert {*range(10, 15), 20, 21} <= after <= set(seen["followed"]), "rows that lost to what was there may go"
    assert seen["note_across_a_compaction"] == "third"


def test_log_files_are_merged_when_they_are_many_or_big_and_not_before(seen: dict[str, Any]) -> None:
    assert seen["files_compacted_for_nothing"] == 0
    assert seen["files_compacted_for_their_bytes"] > 0


def test_an_hour_is_merged_when_it_is_over_and_again_after_late_data(seen: dict[str, Any]) -> None:
    # the hour that is over, nothing more, the late row, and the other hour once it is over too
    assert seen["hourly_files"] == [1, 0, 1, 1]
    assert seen["hourly_rows"] == [["12", 3], ["13", 2], ["14", 4]]


def test_an_empty_commit_keeps_its_note(seen: dict[str, Any]) -> None:
    assert seen["note_of_an_unwritten_table"] is None
    assert seen["note_of_an_empty_commit"] == "empty"


def test_a_new_server_knows_a_table_that_is_there_by_its_name(seen: dict[str, Any]) -> None:
    assert seen["rows_by_its_name"] == seen["rows_after_cleaning"]


def test_a_column_added_to_the_contract_is_null_in_the_rows_that_were_there(seen: dict[str, Any]) -> None:
    assert seen["added_column"] == [None]


def test_a_column_that_the_contract_gave_up_breaks_neither_reads_nor_writes(seen: dict[str, Any]) -> None:
    assert seen["given_up_column"] == {"500": 1.0, "501": None, "502": None}
    assert seen["rows_after_giving_up_a_column"] == [500, 501, 502]


def test_a_column_added_to_a_table_that_was_never_written_loses_no_place(seen: dict[str, Any]) -> None:
    assert seen["note_of_an_unwritten_wider_table"] is None


def test_an_import_right_after_a_compaction_hands_the_notes_on(seen: dict[str, Any]) -> None:
    assert seen["note_after_an_import_after_a_compaction"] == "narrower", "what the last write before it noted"


def test_pinned_rows_do_not_change_under_a_later_write(seen: dict[str, Any]) -> None:
    assert seen["pinned_rows_stay"]


def test_what_a_killed_run_held_is_let_go_of(seen: dict[str, Any]) -> None:
    assert seen["held_before_and_after"] == [["loaded", "pinned"], []]


def test_a_table_whose_contract_names_other_buckets_is_refused(seen: dict[str, Any]) -> None:
    assert "gold.probe must be laid anew: it lies in 2 buckets, and 4 are set" in seen["other_buckets"]


def test_a_table_that_a_newer_code_has_written_to_is_refused(seen: dict[str, Any]) -> None:
    assert "gold.newer_probe was written by the version" in seen["newer"]
    assert "update the code" in seen["newer"]


def test_cleaning_loses_no_row(seen: dict[str, Any]) -> None:
    assert seen["rows_after_cleaning"] == len(seen["rows"]) + 3


def test_a_month_that_was_filled_at_once_is_changed_like_any_other(seen: dict[str, Any]) -> None:
    assert (seen["is_empty"], seen["is_empty_after"], seen["another_is_empty"]) == (True, False, True)
    january = [row for row in seen["filled"] if row[0] == "2026-01"]
    assert january == [["2026-01", 1, 50], ["2026-01", 2, 80], ["2026-01", 3, 20]]


def test_of_two_that_fill_a_month_at_once_one_is_refused(seen: dict[str, Any]) -> None:
    assert seen["two_at_once"] == ["refused", "written"]
    assert seen["filled_twice"] == 0


def test_the_files_of_a_symbol_alone_are_read_and_hold_all_its_rows(system: System, seen: dict[str, Any]) -> None:
    snapshot = open_table(MONTHLY, system.settings())
    every = {tuple(row.values()) for row in snapshot.read().to_pylist()}
    symbols = {symbol for symbol, *_ in every}
    assert len(symbols) == 7
    for symbol in symbols:
        read = {tuple(row.values()) for row in snapshot.read(filters=[("symbol", "IN", symbol)]).to_pylist()}
        assert {row for row in read if row[0] == symbol} == {row for row in every if row[0] == symbol}
        assert {row[0] for row in read} < symbols, "those of the other bucket too"


def test_files_that_are_merged_give_the_rows_that_hudi_rs_gives(system: System, seen: dict[str, Any]) -> None:
    snapshot = open_table(HOURLY, system.settings())
    assert 0 in snapshot.log_files(), "none is merged"
    every = {tuple(row.values()) for row in snapshot.read().to_pylist()}
    assert {tuple(row.values()) for row in snapshot.read(filters=[("symbol", "IN", "BTCUSDT")]).to_pylist()} == every
    assert len(every) == 3
