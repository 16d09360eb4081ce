"""Which files of a table a newer version replaced."""

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.hudi_files import FileName, moment, parsed, replaced

FILE = "00000000-66af-4732-9735-554e6f943fce-0"
MONTH = "month=2026-11"


def base(instant: int) -> str:
    return f"{MONTH}/{FILE}_0-202-263_{instant}.parquet"


def logged(instant: int) -> str:
    return f"{MONTH}/.{FILE}_{instant}.log.1_0-86-140"


def done(asked: int, finished: int, action: str = "deltacommit") -> list[str]:
    return [
        f".hoodie/timeline/{asked}.{action}.requested",
        f".hoodie/timeline/{asked}.{action}.inflight",
        f".hoodie/timeline/{asked}_{finished}.{action}",
    ]


def test_a_name_says_the_file_and_the_write() -> None:
    assert parsed(base(20)) == FileName(MONTH, FILE, "20", True)
    assert parsed(logged(20)) == FileName(MONTH, FILE, "20", False)


@pytest.mark.parametrize(
    "path", [".hoodie/hoodie.properties", *done(20, 21), f"{MONTH}/.hoodie_partition_metadata", "staging/a.parquet"]
)
def test_what_holds_no_rows_of_the_table_is_no_such_file(path: str) -> None:
    assert parsed(path) is None


def test_a_base_file_replaces_the_one_before_and_the_logs_on_that() -> None:
    paths = [base(10), logged(20), base(30), logged(40), *done(30, 35, "commit"), *done(40, 45)]
    assert set(replaced(paths)) == {base(10), logged(20)}


def test_a_write_that_ended_while_files_were_merged_lies_on_the_new_base_file() -> None:
    paths = [base(10), logged(20), base(30), *done(20, 31), *done(30, 35, "commit")]
    assert set(replaced(paths)) == {base(10)}


def test_what_is_still_being_merged_replaces_nothing() -> None:
    paths = [base(10), logged(20), base(30), *done(20, 25), *done(30, 35, "commit")[:2]]
    assert set(replaced(paths)) == set()


def test_another_file_replaces_nothing() -> None:
    other = base(30).replace("66af", "77af")
    assert set(replaced([base(10), other, base(30).replace("11/", "12/")])) == set()


@given(st.lists(st.tuples(st.integers(100, 499), st.integers(500, 999)), unique_by=lambda one: one[0]), st.data())
def test_a_copy_has_each_write_that_was_done_by_its_moment_and_nothing_of_another(
    writes: list[tuple[int, int]], data: st.DataObject
) -> None:
    first = data.draw(st.integers(500, 1000))
    second = data.draw(st.integers(first, 1000))

    def listed(at: int, passed_over: Collection[int] = ()) -> list[str]:
        paths = [path for asked, end in writes for path in done(asked, end)[: 3 if end < at else 2]]
        return [path for path in paths if not any(path.endswith(f"_{end}.deltacommit") for end in passed_over)]

    # a listing may pass over what is done while it goes on
    missed = data.draw(st.sets(st.sampled_from([end for _, end in writes if end < first] or [0])))
    seen = moment([*listed(first, missed), ".hoodie/hoodie.properties"], listed(second))
    until = max((end for _, end in writes if end < first and end not in missed), default=0)
    finished = {asked for asked, end in writes if end <= until}
    assert {int(asked) for asked in seen.finished} == finished
    for asked, end in writes:
        assert seen.has(base(asked)) == seen.has(logged(asked)) == (asked in finished)
        assert {seen.has(path) for path in done(asked, end)[: 3 if end < second else 2]} == {asked in finished}


def test_a_copy_has_what_the_timeline_no_longer_tells_of_and_nothing_that_a_writer_keeps_beside() -> None:
    there = [
        *done(5, 6, "clean"),
        *done(20, 25),
        *done(30, 35)[:2],
        ".hoodie/.temp/30/x.marker.CREATE",
        ".hoodie/hoodie.properties",
    ]
    seen = moment(there, there)
    assert [seen.has(base(asked)) for asked in (10, 20, 25, 30)] == [True, True, False, False]
    assert seen.has(".hoodie/hoodie.properties")
    assert seen.has(f"{MONTH}/.hoodie_partition_metadata")
    assert not seen.has(".hoodie/.temp/30/x.marker.CREATE")


def test_the_history_of_the_timeline_is_no_file_with_rows() -> None:
    assert parsed(".hoodie/timeline/history/20261128022900123_20261128024100456_0.parquet") is None
