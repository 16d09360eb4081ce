"""Which files of a table a newer version replaced."""

import pytest

from crypto_pipeline.hudi_files import FileName, parsed, replaced

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
