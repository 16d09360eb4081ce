"""The join of what the lake has and what streams."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dashboard.bars import MINUTE, Bar
from dashboard.market import joined
from tests.dashboard.made_market import moment

START = 1_795_249_800_000_000
END = moment(START) + timedelta(days=1)


def live(place: int) -> Bar:
    two = Decimal(2)
    return Bar(START + place * MINUTE, two, two, two, two, two, two, 1, False)


def row(place: int, *, is_closed: bool) -> tuple[Any, ...]:
    return (moment(START + place * MINUTE), *["1"] * 6, 1, is_closed, "complete", "trade_ids", 1)


@given(
    st.dictionaries(st.integers(0, 30), st.booleans()),
    st.sets(st.integers(0, 30)),
)
def test_each_minute_is_there_once_and_a_closed_row_of_the_lake_counts(
    lake: dict[int, bool], streams: set[int]
) -> None:
    rows = [row(place, is_closed=lake[place]) for place in sorted(lake)]
    made = joined(rows, [live(place) for place in sorted(streams)], moment(START), END)
    starts = [one[0] for one in made]
    oldest = min(lake, default=0)
    expected = sorted({*lake, *(place for place in streams if place >= oldest)})
    assert starts == [moment(START + place * MINUTE) for place in expected]
    for place, one in zip(expected, made, strict=True):
        assert one[9] == ("complete" if lake.get(place) or place not in streams else "live")


def test_a_range_of_the_past_gets_nothing_that_streams() -> None:
    made = joined([row(0, is_closed=True)], [live(5)], moment(START), moment(START + 3 * MINUTE))
    assert len(made) == 1
    assert made[0][0] == datetime.fromtimestamp(START / 1e6, UTC)
