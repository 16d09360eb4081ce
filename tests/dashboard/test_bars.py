"""Minutes made into longer bars."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from dashboard.bars import INTERVALS, MINUTE, Bar, length, rolled_up

START = 1_795_249_800_000_000 // length("1d") * length("1d")
PRICES = st.integers(1, 1000).map(Decimal)


@st.composite
def minutes(draw: st.DrawFn) -> list[Bar]:
    """Minutes in order, some of them missing because nothing traded."""
    places = sorted(draw(st.sets(st.integers(0, 700), min_size=1, max_size=60)))
    made = []
    for place in places:
        prices = draw(st.lists(PRICES, min_size=1, max_size=4))
        volume = Decimal(len(prices))
        made.append(
            Bar(
                START + place * MINUTE, prices[0], max(prices), min(prices), prices[-1], volume, volume * prices[0],
                len(prices), True,
            )
        )  # fmt: skip
    return made


@given(minutes(), st.sampled_from(list(INTERVALS)))
def test_a_longer_bar_has_the_first_open_the_last_close_and_the_sums_of_its_minutes(
    bars: list[Bar], interval: str
) -> None:
    over_at = bars[-1].start + MINUTE
    made = rolled_up(bars, interval, over_at)
    assert [bar.start for bar in made] == sorted({bar.start - bar.start % length(interval) for bar in bars})
    for bar in made:
        parts = [one for one in bars if one.start - one.start % length(interval) == bar.start]
        assert (bar.open, bar.close) == (parts[0].open, parts[-1].close)
        assert (bar.high, bar.low) == (max(one.high for one in parts), min(one.low for one in parts))
        assert bar.volume == sum(one.volume for one in parts)
        assert bar.trade_count == sum(one.trade_count for one in parts)
        assert bar.is_closed == (bar.start + length(interval) <= over_at)
