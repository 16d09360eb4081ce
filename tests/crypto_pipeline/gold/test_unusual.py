"""What is unusual and what is not, by hand and in noise of known tails."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from crypto_pipeline.gold import _unusual
from crypto_pipeline.gold._measures import MEASURES, WINDOW, bases, measured
from crypto_pipeline.gold._unusual import COLUMNS, FEATURES, FOREST, Forest, features, forest_of, found, z_scores
from crypto_pipeline.gold.anomaly_baselines import baselines
from crypto_pipeline.gold.anomaly_samples import sample
from tests.crypto_pipeline.gold.minutes import FIRST, minutes, quiet

BTC = ("binance", "BTCUSDT")
HOURS = 30
LAST = [(FIRST + timedelta(hours=number)).to_pydatetime() for number in range(24, HOURS)]
CALM = minutes(HOURS * 60)
AT = 27 * 60 + 30


def judged(rows: pd.DataFrame, hours: list[datetime] | None = None, forest: Forest | None = None) -> pd.DataFrame:
    """What is unusual in the last hours of rows."""
    measures = measured(rows)
    yard_hours = [(FIRST + timedelta(hours=number)).to_pydatetime() for number in range(22, HOURS)]
    yardsticks = baselines(measures, yard_hours)
    return found(measures, yardsticks, forest, bases(rows[rows["close"].notna()]), hours or LAST)


def changed(name: str, times: float) -> pd.DataFrame:
    rows = CALM.copy()
    rows.loc[AT, name] *= times
    return rows


def test_in_gaussian_noise_nothing_is_unusual() -> None:
    assert judged(CALM).empty


@pytest.mark.parametrize(
    ("kind", "rows", "says"),
    [
        ("volume", changed("volume", 40), "times the median of 2.0"),
        ("volume", changed("volume", 1 / 40), "1/"),
        ("spread", changed("spread_bps", 10), "times the median of 1"),
        ("trade_size", changed("trade_count", 1 / 30), "mean trade size"),
        ("imbalance", CALM.assign(imbalance=(CALM["imbalance"] / 4).mask(CALM.index == AT, 1.0)), "imbalance +1"),
        ("return", CALM.assign(close=CALM["close"].mask(CALM.index >= AT, CALM["close"] * 1.01)), "return +1.0"),
        ("return", CALM.assign(close=CALM["close"].mask(CALM.index >= AT, CALM["close"] * 0.99)), "return -0.9"),
    ],
)
def test_one_minute_unlike_the_others_is_found_alone_and_says_why(kind: str, rows: pd.DataFrame, says: str) -> None:
    found_rows = judged(rows)
    mine = found_rows[found_rows["kind"] == kind]
    assert mine["interval_start"].tolist() == [CALM["interval_start"][AT]]
    row = mine.iloc[0]
    assert abs(row["score"]) >= row["threshold"]
    assert says in row["explanation"]
    assert "for the 24 hours before" in row["explanation"]
    assert (row["baseline"], row["reason"]) == ("all_hours", None)
    assert row["observations"] in (1439, 1440)


def test_score_value_median_and_mad_are_those_of_the_sentence_by_hand() -> None:
    row = judged(changed("volume", 40)).iloc[0]
    before = CALM["volume"].iloc[27 * 60 - 1440 : 27 * 60]
    centre = np.log(before).median()
    mad = np.abs(np.log(before) - centre).median()
    value = CALM["volume"][AT] * 40
    assert row["value"] == pytest.approx(value)
    assert row["median"] == pytest.approx(np.exp(centre))
    assert row["mad"] == pytest.approx(np.exp(mad))
    assert row["score"] == pytest.approx((np.log(value) - centre) / (1.4826 * mad), abs=1e-6)
    assert row["unit"] == "BTC"
    assert f"{value / np.exp(centre):,.3g} times the median of {np.exp(centre):.3g} BTC" in row["explanation"]


def test_a_market_that_parts_from_the_others_is_found_and_one_without_others_never() -> None:
    others = [CALM.assign(exchange=name, usdt_price=CALM["usdt_price"] * (1 + 1e-5)) for name in ("b", "c")]
    away = CALM.assign(usdt_price=CALM["usdt_price"].mask(CALM.index == AT, CALM["usdt_price"] * 1.005))
    rows = judged(pd.concat([away, *others], ignore_index=True))
    assert rows[["exchange", "kind"]].to_numpy().tolist() == [["binance", "away"]]
    assert "close in USDT +49.9 bps from the base asset's other markets" in rows["explanation"][0]
    assert judged(away).empty


def stand(length: int) -> pd.DataFrame:
    rows = CALM.copy()
    rows.loc[AT : AT + length - 1, ["close", "high", "low"]] = rows.loc[AT - 1, "close"]
    return rows


def test_a_stand_is_told_once_where_it_becomes_unusual_and_at_each_full_hour() -> None:
    rows = judged(stand(100))
    rows = rows[rows["kind"] == "frozen_price"]
    assert [int(m) for m in (rows["interval_start"] - CALM["interval_start"][AT]) / timedelta(minutes=1)] == [4, 30, 90]
    assert rows["value"].tolist() == [5, 31, 91]
    # Never in 1440 minutes did it stand: by Laplace's rule one of 1442, five times in turn.
    assert rows["score"].iloc[0] == pytest.approx(5 * np.log10(1442), abs=1e-3)
    assert "price unchanged in 5 minutes with trades" in rows["explanation"].iloc[0]
    assert judged(stand(4)).empty


def test_a_silence_is_told_only_where_it_is_proven() -> None:
    silent = judged(quiet(CALM, slice(AT, AT + 20)))
    assert silent["kind"].tolist() == ["no_trades"]
    assert silent["value"].tolist() == [5]
    assert judged(CALM.drop(index=range(AT, AT + 20))).empty, "an outage says nothing of the market"


def test_a_market_that_often_stands_still_is_not_unusual_when_it_does() -> None:
    rows = CALM.copy()
    for start in range(10, len(rows), 20):
        rows.loc[start : start + 9, ["close", "high", "low"]] = rows.loc[start - 1, "close"]
    assert judged(rows)[lambda made: made["kind"] == "frozen_price"].empty


def test_a_stand_is_followed_for_so_many_minutes_and_no_longer() -> None:
    step = np.ones((WINDOW + 50, 1), dtype=bool)
    step[10] = False
    weights = np.full((WINDOW + 50, 1), 0.5)
    score, length = _unusual.run_lengths(step, ~step, weights)
    assert length[:, 0].tolist() == [*range(1, 11), 0, *range(1, WINDOW + 1), *[WINDOW] * 39]
    assert score[:, 0].tolist() == (length[:, 0] / 2).tolist()


def forest() -> Forest:
    measures = measured(pd.concat([CALM, minutes(HOURS * 60, "ETHUSDT", seed=2)], ignore_index=True))
    hours = [(FIRST + timedelta(hours=number)).to_pydatetime() for number in range(HOURS)]
    rows = features(z_scores(measures, baselines(measures, hours)))
    made = forest_of(rows)
    assert made
    return made


def test_what_is_unusual_together_is_found_though_no_measure_is_by_itself() -> None:
    rows = CALM.copy()
    deviations = {"volume": 0.4 * 5, "spread_bps": 0.2 * 5}
    for name, by in deviations.items():
        rows.loc[AT, name] = np.exp(np.log(rows[name]).median() + by)
    rows.loc[AT:, ["close", "high", "low"]] *= 1 + 4.5e-3 * (CALM["close"][AT] > CALM["close"][AT - 1] or -1)
    made = judged(rows, forest=forest())
    assert made["kind"].tolist() == [FOREST]
    row = made.iloc[0]
    assert row["explanation"].startswith("unusual together: return")
    assert "volume" in row["explanation"]
    assert row["reason"] == "of_many_measures"
    assert row["rests_from"] == FIRST + timedelta(days=1 - 7)
    assert judged(rows, forest=None).empty


def test_the_forest_is_the_same_of_the_same_sample_in_any_order_and_none_of_too_few() -> None:
    measures = measured(CALM)
    hours = [(FIRST + timedelta(hours=number)).to_pydatetime() for number in range(HOURS)]
    rows = features(z_scores(measures, baselines(measures, hours)))
    one, other = forest_of(rows), forest_of(rows.sample(frac=1, random_state=1))
    assert one
    assert other
    assert one.threshold == other.threshold
    values = rows[list(FEATURES)].to_numpy()[:50]
    assert one.trees.score_samples(values).tolist() == other.trees.score_samples(values).tolist()
    assert forest_of(rows.iloc[:255]) is None


def test_every_19th_minute_is_sampled_and_all_minutes_of_the_hour_come_in_turn() -> None:
    measures = measured(CALM)
    scores = {name: measures[name].fillna(0.0) for name in MEASURES}
    hours = {(FIRST + timedelta(hours=number)).to_pydatetime() for number in range(HOURS)}
    times = sample(scores, hours, FIRST)["interval_start"]
    assert set(times.diff().dropna()) == {timedelta(minutes=19)}
    assert times.max() < FIRST + timedelta(days=1)
    assert times.dt.minute.nunique() == 60


def test_nothing_after_a_minute_changes_what_is_said_of_it() -> None:
    rows = pd.concat([stand(40), quiet(minutes(HOURS * 60, "ETHUSDT", seed=4), slice(AT, AT + 70))], ignore_index=True)
    rows.loc[AT + 50, "volume"] *= 50
    trees = forest()
    whole = judged(rows, forest=trees)
    assert len(whole) >= 5
    for cut in (AT + 5, AT + 30, AT + 60):
        until = FIRST + timedelta(minutes=cut)
        part = judged(rows[rows["interval_start"] < until], forest=trees)
        there = whole[whole["interval_start"] < until]
        names = ["symbol", "kind", "interval_start"]
        pd.testing.assert_frame_equal(
            part.sort_values(names, ignore_index=True), there.sort_values(names, ignore_index=True), check_dtype=False
        )


@pytest.mark.parametrize("rows", [CALM.iloc[:0], CALM.iloc[:1], quiet(CALM.iloc[:5], slice(0, 5))])
def test_of_too_little_nothing_is_said(rows: pd.DataFrame) -> None:
    made = judged(rows, [FIRST.to_pydatetime()])
    assert made.empty
    assert list(made.columns) == list(COLUMNS)


def test_a_heavy_tail_brings_no_more_than_a_few_a_day() -> None:
    """Returns of Student's t with 3 degrees of freedom: two a day. docs/decisions/anomalies.md has the others."""
    days = 4
    rows = minutes(days * 1440, seed=9, tail=3).assign(volume=CALM["volume"][0], spread_bps=np.nan, imbalance=np.nan)
    measures = measured(rows)
    hours = [(FIRST + timedelta(hours=number)).to_pydatetime() for number in range(24, days * 24)]
    made = found(measures, baselines(measures, hours), None, {BTC: "BTC"}, hours)
    assert 1 <= len(made[made["kind"] == "return"]) / (days - 1) <= 4
