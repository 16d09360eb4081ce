"""No table changes without a new version of the contracts, and none loses a column without a new first number."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline import contract_versions, contracts
from crypto_pipeline.contract_versions import VERSION, fault, is_newer, is_wider

TABLE = {"columns": {"symbol": "string", "number": "int"}, "key": ["symbol"], "partitions": ["date"], "buckets": 1}


def changed(**columns: str) -> dict[str, dict[str, object]]:
    return {"gold.probe": {**TABLE, "columns": {"symbol": "string", "number": "int", **columns}}}


def test_the_tables_are_those_of_their_version() -> None:
    now = contract_versions.structure(contracts.gathered())
    known = contract_versions.versions().get(VERSION)
    assert known == now, (
        f"The tables are not those of the version {VERSION} any more: raise VERSION in "
        "crypto_pipeline/contract_versions.py, run `crypto docs`, and commit what it writes"
    )


def test_each_version_may_follow_the_one_before() -> None:
    known = list(contract_versions.versions().items())
    assert [fault(old, before, new, after) for (old, before), (new, after) in pairwise(known)] == [""] * (
        len(known) - 1
    )
    assert known[-1][0] == VERSION


def test_a_column_that_is_added_or_widened_needs_the_second_number() -> None:
    assert fault("1.0", changed(), "1.1", changed(kafka_time="timestamp", number="bigint")) == ""
    assert fault("1.1", changed(), "1.1", changed(kafka_time="timestamp")) == "1.1 does not come after 1.1"


@pytest.mark.parametrize("number", ["string", "decimal(5,2)"])
def test_a_column_that_goes_or_gets_another_type_needs_the_first_number(number: str) -> None:
    assert fault("1.4", changed(extra="int"), "1.5", changed()) == (
        "gold.probe.extra is gone: that needs the version 2.0, not 1.5"
    )
    assert fault("1.4", changed(extra="int"), "2.0", changed()) == ""
    assert "gold.probe.number was int" in fault("1.4", changed(), "1.5", changed(number=number))
    assert fault("1.4", changed(), "1.5", {}) == "gold.probe is gone: that needs the version 2.0, not 1.5"


def test_versions_compare_as_numbers() -> None:
    major, minor = contract_versions.parsed(VERSION)
    assert [is_newer(f"{major}.{minor}"), is_newer(f"{major}.{minor + 10}"), is_newer(f"{major + 1}.0")] == [
        False,
        True,
        True,
    ]


@given(st.integers(1, 38), st.integers(0, 18), st.integers(1, 38), st.integers(0, 18))
def test_a_decimal_is_wider_where_it_has_as_many_digits_on_both_sides(
    digits: int, places: int, fewer: int, their_places: int
) -> None:
    wider = is_wider(f"decimal({digits},{places})", f"decimal({fewer},{their_places})")
    assert wider == (places >= their_places and digits - places >= fewer - their_places)
