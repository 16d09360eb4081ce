"""What the archive says of a hole."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_pipeline.history.repair import Tape, judged

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def answers(first: int, last: int, ids: list[int], day: tuple[int, int]) -> list[tuple[str, int, int]]:
    gap: dict[str, Any] = {"first_missing": first, "last_missing": last, "status": "open"}
    tape = Tape(*day, pa.table({"trade_id": pa.array(ids, pa.int64())}))
    return [(one["status"], one["first_missing"], one["last_missing"]) for one in judged(gap, [tape], NOW)]


def test_a_hole_whose_ids_are_all_there_is_repaired() -> None:
    assert answers(5, 8, [5, 6, 7, 8], (1, 20)) == [("repaired", 5, 8)]


def test_ids_that_the_archive_lacks_between_others_were_never_issued() -> None:
    assert answers(5, 8, [], (1, 20)) == [("venue_gap", 5, 8)]


def test_a_hole_of_both_kinds_becomes_a_row_for_each_run() -> None:
    found = answers(5, 12, [7, 8, 12], (1, 20))
    assert found == [("venue_gap", 5, 6), ("repaired", 7, 8), ("venue_gap", 9, 11), ("repaired", 12, 12)]


def test_an_id_that_the_archive_has_but_cannot_be_true_is_not_called_never_issued() -> None:
    gap: dict[str, Any] = {"first_missing": 5, "last_missing": 8, "status": "open"}
    tape = Tape(1, 20, pa.table({"trade_id": pa.array([5, 6, 8], pa.int64())}), frozenset({7}))
    assert list(judged(gap, [tape], NOW)) == []


def test_an_archive_that_ends_within_the_hole_settles_nothing() -> None:
    assert answers(5, 8, [5, 6], (1, 6)) == []


def test_ids_before_the_archive_begins_are_not_called_never_issued() -> None:
    assert answers(5, 8, [7, 8], (7, 20)) == []


@settings(deadline=None)
@given(st.integers(2, 30), st.sets(st.integers(0, 30)))
def test_the_rows_cover_the_hole_exactly(last: int, ids: set[int]) -> None:
    found = answers(1, last, sorted(ids), (0, 31))
    covered = [number for _, start, end in found for number in range(start, end + 1)]
    assert covered == list(range(1, last + 1))
    assert {n for status, a, b in found if status == "repaired" for n in range(a, b + 1)} == ids & set(covered)
