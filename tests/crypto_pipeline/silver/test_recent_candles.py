"""Candles that were read once stay what the table holds, as its changes come in."""

from datetime import timedelta

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_pipeline.indicators._series import SERIES, VALUES
from crypto_pipeline.silver.recent_candles import CANDLE, RecentCandles, typed

START = pd.Timestamp("2026-08-01")
NAMED = [("binance", "BTCUSDT", "1m"), ("binance", "BTCUSDT", "5m"), ("kraken", "ETHUSDT", "1m")]


def rows(places: list[tuple[int, int, bool]], value: float) -> pd.DataFrame:
    """A row of a series (by place) and minute each: a candle of this value, or a quiet interval."""
    return pd.DataFrame(
        [
            dict(zip(SERIES, NAMED[series], strict=True))
            | {
                "interval_start": START + timedelta(minutes=minute),
                "first_trade_id": None if is_quiet else minute,
                "last_trade_id": None if is_quiet else minute,
                "is_closed": None if is_quiet else True,
                "is_quiet": is_quiet,
            }
            | dict.fromkeys(VALUES, None if is_quiet else value)
            for series, minute, is_quiet in places
        ],
        columns=[*SERIES, *CANDLE],
    )


def held(recent: RecentCandles) -> dict[tuple[str, ...], dict[tuple[pd.Timestamp, bool], float]]:
    """The value of each row, by series."""
    found: dict[tuple[str, ...], dict[tuple[pd.Timestamp, bool], float]] = {}
    for number, *named in recent.series[list(SERIES)].itertuples():
        mine = recent.rows[recent.rows["of"] == number]
        assert not mine.empty
        found[tuple(named)] = {
            (row.interval_start, row.is_quiet): row.close
            for row in mine[["interval_start", "is_quiet", "close"]].itertuples()
        }
        assert mine["interval_start"].is_monotonic_increasing
        assert len(found[tuple(named)]) == len(mine), "one stands twice"
    return found


def begun(seen: pd.DataFrame, of_all: bool) -> RecentCandles:
    """What is kept after these rows were read."""
    named = seen[list(SERIES)].drop_duplicates().reset_index(drop=True).assign(is_whole=of_all)
    of = seen.merge(named.reset_index(names="of"), on=list(SERIES))["of"].to_numpy()
    return RecentCandles.nothing().with_series(named, typed(seen).assign(of=of))


PLACES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.booleans()), min_size=1, unique=True)


@settings(deadline=None)
@given(st.lists(PLACES, min_size=1, max_size=5), st.integers(0, 40), st.integers(1, 15))
def test_from_its_first_row_on_all_that_a_series_holds_is_there(
    commits: list[list[tuple[int, int, bool]]], first: int, most: int
) -> None:
    table: dict[tuple[str, ...], dict[tuple[pd.Timestamp, bool], float]] = {}

    def come(places: list[tuple[int, int, bool]], value: float) -> pd.DataFrame:
        for series, minute, is_quiet in places:
            of = table.setdefault(NAMED[series], {})
            of[START + timedelta(minutes=minute), is_quiet] = np.nan if is_quiet else value
        return rows(places, value)

    come([(series, minute, False) for series in (0, 1) for minute in range(0, 40, 3)], 1.0)
    since = START + timedelta(minutes=first)
    read = rows([(series, minute, False) for series in (0, 1) for minute in range(0, 40, 3)], 1.0)
    seen = read[read["interval_start"] >= since]
    recent = begun(seen, of_all=first == 0) if len(seen) else RecentCandles.nothing()
    for number, places in enumerate(commits, start=2):
        recent = recent.with_changes(come(places, float(number)))
        if number % 2:
            recent = recent.trimmed(pd.Series([most] * len(recent.series)))
        recent = RecentCandles.from_arrow(recent.to_arrow())
        for (named, mine), is_whole in zip(held(recent).items(), recent.series["is_whole"], strict=True):
            begins = min(start for start, _ in mine)
            expected = {key: value for key, value in table[named].items() if is_whole or key[0] >= begins}
            left = {key: value for key, value in expected.items() if key not in mine}
            # Of the two that may stand at the first moment the quiet one is cut first.
            assert all(start == begins and is_quiet and not is_whole for start, is_quiet in left), named
            assert {key: str(value) for key, value in mine.items()} == {
                key: str(value) for key, value in expected.items() if key in mine
            }


def test_a_series_that_was_cut_is_not_whole_and_takes_no_older_candle() -> None:
    recent = begun(rows([(0, minute, False) for minute in range(10)], 1.0), of_all=True)
    assert len(recent.with_changes(rows([(0, -5, False)], 2.0)).rows) == 11
    cut = recent.trimmed(pd.Series([4]))
    assert cut.series["is_whole"].tolist() == [False]
    assert len(cut.with_changes(rows([(0, -5, False), (0, 2, False)], 2.0)).rows) == 4


def test_a_series_that_is_read_again_takes_the_place_of_what_was_kept() -> None:
    recent = begun(rows([(0, 1, False), (2, 1, False)], 1.0), of_all=True)
    named = pd.DataFrame([NAMED[0]], columns=list(SERIES)).assign(is_whole=False).set_axis([7])
    read = typed(rows([(0, 5, False)], 3.0)).assign(of=7)
    again = recent.with_series(named, read)
    assert {name: list(of.values()) for name, of in held(again).items()} == {NAMED[2]: [1.0], NAMED[0]: [3.0]}
    assert dict(zip(held(again), again.series["is_whole"], strict=True)) == {NAMED[2]: True, NAMED[0]: False}
