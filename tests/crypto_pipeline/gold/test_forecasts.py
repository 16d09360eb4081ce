"""What each model said of each hour, how good it was, and what new, late and repeated data make of both."""

from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from crypto_pipeline.gold import _model_store, forecast_inputs, forecast_models, forecast_scores, forecasts
from crypto_pipeline.gold._forecasting import MODELS
from crypto_pipeline.gold._losses import compared, qlike
from crypto_pipeline.gold._prices import SERIES
from crypto_pipeline.gold.forecasts import hours_reached, made, used
from crypto_pipeline.refresh import Refreshed, refresh
from tests.crypto_pipeline.gold.forecasting import FIRST, HOUR, MemoryStore, market
from tests.crypto_pipeline.gold.test_forecast_models import NONE, at
from tests.crypto_pipeline.memory_lake import MemoryLake

TRAINING = [*SERIES, "trained_until", "trained_at", "usable_from", "uri", "sha256", "reason", "fills_at"]


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(scope="module")
def hours() -> pd.DataFrame:
    return market(720)


@pytest.fixture(scope="module")
def models(hours: pd.DataFrame, store: MemoryStore) -> pd.DataFrame:
    """The two trainings of a series after 30 days."""
    return forecast_models.trained(hours, NONE, at(720), store)[TRAINING].drop_duplicates()


@pytest.fixture(scope="module")
def week(hours: pd.DataFrame, models: pd.DataFrame, store: MemoryStore) -> pd.DataFrame:
    """The forecasts that are made then."""
    return made(
        hours_reached(hours[[*SERIES, "interval_start"]], models[[*SERIES, "usable_from"]], at(720)),
        hours,
        models,
        store,
    )


def hour_starts(*places: int) -> list[pd.Timestamp]:
    return [FIRST + place * HOUR for place in places]


def keys(*places: int, symbol: str = "BTCUSDT") -> pd.DataFrame:
    return pd.DataFrame(
        {"exchange": "binance", "symbol": symbol, "interval_start": pd.DatetimeIndex(hour_starts(*places))}
    )


def test_a_changed_hour_reaches_those_that_look_back_on_it_and_none_to_come() -> None:
    found = hours_reached(keys(10, 400), keys().rename(columns={"interval_start": "usable_from"}), at(402))
    assert found["interval_start"].tolist() == hour_starts(*range(11, 11 + 169), 401, 402)


def test_a_new_model_reaches_the_hours_from_which_it_is_used() -> None:
    models = keys(400).rename(columns={"interval_start": "usable_from"})
    assert hours_reached(keys().head(0), models, at(402))["interval_start"].tolist() == hour_starts(400, 401, 402)
    assert hours_reached(keys().head(0), models, at(399)).empty


def test_the_week_before_the_first_training_is_forecast_by_models_that_knew_nothing_of_it(week: pd.DataFrame) -> None:
    assert sorted(week["interval_start"].unique()) == hour_starts(*range(552, 721))
    assert (week["trained_until"] <= week["interval_start"]).all()
    assert week["is_hindcast"].all()
    assert len(week) == 169 * 6
    assert week["forecast"].notna().all()


def test_volatility_is_the_root_of_the_variance_and_direction_a_probability(
    week: pd.DataFrame, hours: pd.DataFrame
) -> None:
    naive = week[week["model"] == "last_hour"].set_index("interval_start")["forecast"]
    last = np.sqrt(hours.set_index("interval_start")["realised_variance"])
    assert naive[FIRST + 600 * HOUR] == pytest.approx(last[FIRST + 599 * HOUR])
    assert week.loc[week["target"] == "direction", "forecast"].between(0, 1).all()


@pytest.mark.parametrize("cut", [560, 651, 719])
def test_cutting_off_the_future_leaves_all_earlier_forecasts_as_they_were(
    hours: pd.DataFrame, models: pd.DataFrame, store: MemoryStore, week: pd.DataFrame, cut: int
) -> None:
    part = made(keys(*range(552, cut + 1)), hours.iloc[:cut], models, store)
    both = part.merge(week, on=["target", "model", "interval_start"], suffixes=("", "_whole"))
    assert len(both) == len(part) == (cut + 1 - 552) * 6
    assert (both["forecast"] == both["forecast_whole"]).all()


def test_the_169_hours_before_are_enough(
    hours: pd.DataFrame, models: pd.DataFrame, store: MemoryStore, week: pd.DataFrame
) -> None:
    alone = made(keys(700), hours.iloc[531:700], models, store)
    expected = week[week["interval_start"] == FIRST + 700 * HOUR]
    assert alone["forecast"].tolist() == expected["forecast"].tolist()


def test_an_hour_after_an_unknown_one_has_no_forecast_and_says_why(
    hours: pd.DataFrame, models: pd.DataFrame, store: MemoryStore
) -> None:
    rows = made(keys(650, 651), hours.drop(index=649), models, store)
    why = rows.groupby("interval_start")["reason"].first()
    assert why[FIRST + 650 * HOUR] == "last_hour_unknown"
    assert rows.loc[rows["interval_start"] == FIRST + 650 * HOUR, "forecast"].isna().all()
    rows = made(keys(720), hours.iloc[:719], models, store)
    assert set(rows["reason"]) == {"last_hour_unknown"}, "it is the last, too"


def test_a_model_that_is_not_what_was_stored_is_not_used(hours: pd.DataFrame, models: pd.DataFrame) -> None:
    rows = made(keys(700, 720), hours, models, MemoryStore())
    assert set(rows["reason"]) == {"model_unreadable"}
    assert rows["forecast"].isna().all()


def test_without_any_training_there_are_no_rows_and_without_hours_they_say_why(
    hours: pd.DataFrame, models: pd.DataFrame, store: MemoryStore
) -> None:
    untyped = pd.DataFrame(columns=TRAINING)
    assert made(keys(700), hours, models.head(0), store).empty
    assert made(keys(700), hours, untyped, store).empty
    assert made(keys(500), hours, models, store).empty, "no model was there yet"
    assert hours_reached(pd.DataFrame(columns=keys(1).columns), untyped, at(700)).empty
    rows = made(keys(700), hours.head(0), models, store)
    assert set(rows["reason"]) == {"last_hour_unknown"}


def test_without_a_model_the_row_says_why_and_when_it_fills(store: MemoryStore) -> None:
    few = market(100)
    lacking = forecast_models.trained(few, NONE, at(100), store)[TRAINING].drop_duplicates()
    rows = made(keys(99, 100), few, lacking, store)
    assert rows["interval_start"].unique().tolist() == hour_starts(100), "before the attempt there was nothing to say"
    assert set(rows["reason"]) == {"too_little_history"}
    assert rows["fills_at"].notna().all()


def test_the_latest_model_is_used_for_seven_days_and_what_says_that_there_is_none_only_without() -> None:
    models = pd.DataFrame(
        [
            ("binance", "BTCUSDT", *hour_starts(100, 100, 100), "a", "x", None, pd.NaT),
            ("binance", "BTCUSDT", *hour_starts(120, 120, 121), "b", "y", None, pd.NaT),
            ("binance", "BTCUSDT", *hour_starts(90, 90, 90), None, None, "too_little_history", FIRST),
        ],
        columns=TRAINING,
    )
    found = used(keys(89, 90, 99, 100, 120, 121, 288, 289), models).set_index("interval_start")["uri"]
    assert found[found.notna()].to_dict() == dict(
        zip(hour_starts(100, 120, 121, 288), ["a", "a", "b", "b"], strict=True)
    )
    assert found[found.isna()].index.tolist() == hour_starts(90, 99)


def test_scores_are_the_losses_by_hand_and_stand_beside_the_baseline(week: pd.DataFrame, hours: pd.DataFrame) -> None:
    rows = forecast_scores.scored(week, hours).set_index(["model", "loss", "window_days"])
    har = rows.loc[("har", "qlike", 7)]
    variance = hours.set_index("interval_start")["realised_variance"]
    said = week[week["target"] == "volatility"].pivot_table(index="interval_start", columns="model", values="forecast")
    both = said.join(variance, how="inner")
    assert len(both) == har["observations"] == har["hindcasts"] == 168
    by_hand = [qlike(both[name].to_numpy() ** 2, both["realised_variance"].to_numpy()) for name in ("har", "last_hour")]
    assert har["mean_loss"] == pytest.approx(by_hand[0].mean())
    assert har["baseline_loss"] == pytest.approx(by_hand[1].mean())
    expected = compared(*by_hand)
    assert expected
    assert (har["ci_low"], har["p_value"]) == pytest.approx((expected.low, expected.p_value))
    assert har["beats_baseline"] == expected.beats
    assert har["as_of"] == FIRST + 720 * HOUR
    assert rows.loc[("last_hour", "qlike", 7), "mean_loss"] == har["baseline_loss"]


def test_brier_of_direction_is_by_hand(week: pd.DataFrame, hours: pd.DataFrame) -> None:
    rows = forecast_scores.scored(week, hours).set_index(["model", "loss", "window_days"])
    rises = (hours["close"].diff() > 0).astype(float).set_axis(hours["interval_start"])
    said = week[week["model"] == "logistic"].set_index("interval_start")["forecast"]
    both = pd.concat([said, rises.rename("came")], axis=1, join="inner")
    assert rows.loc[("logistic", "brier", 7), "mean_loss"] == pytest.approx(
        ((both.iloc[:, 0] - both["came"]) ** 2).mean()
    )


def test_a_window_that_is_not_full_says_when_it_will_be(week: pd.DataFrame, hours: pd.DataFrame) -> None:
    rows = forecast_scores.scored(week, hours)
    short = rows[rows["window_days"] == 30]
    assert set(short["reason"]) == {"too_few_hours"}
    assert short["mean_loss"].isna().all()
    assert set(short["fills_at"]) == {FIRST + (720 + 648 - 168) * HOUR}
    assert set(short["verdict"]) == {"168 hours are scored, of 720; it takes 648."}


def test_what_does_not_beat_the_baseline_says_so(week: pd.DataFrame, hours: pd.DataFrame) -> None:
    rows = forecast_scores.scored(week, hours).set_index(["model", "loss", "window_days"])
    coin = rows.loc[("logistic", "log_loss", 7)]
    assert not coin["beats_baseline"]
    assert "does not beat base_rate" in coin["verdict"] or "is worse than base_rate" in coin["verdict"]


def test_a_model_that_knows_the_truth_beats_the_baseline(hours: pd.DataFrame) -> None:
    truth = forecast_scores.truths(hours)
    said = [
        pd.DataFrame({**truth[[*SERIES, "interval_start"]], "target": target, "model": model, "forecast": values})
        for target, model, values in (
            ("volatility", "har", np.sqrt(truth["volatility"])),
            ("volatility", "last_hour", 0.01),
            ("direction", "logistic", truth["direction"].fillna(0.5)),
            ("direction", "base_rate", 0.4),
        )
    ]
    rows = forecast_scores.scored(pd.concat(said).assign(is_hindcast=False), hours)
    best = rows[rows["model"].isin(["har", "logistic"])]
    assert best["beats_baseline"].all()
    assert best["mean_loss"].tolist() == pytest.approx([0] * len(best), abs=1e-8)


def test_of_nothing_said_and_of_nothing_known_there_are_no_scores(week: pd.DataFrame, hours: pd.DataFrame) -> None:
    assert forecast_scores.scored(week.head(0), hours).empty
    assert forecast_scores.scored(week, hours.head(0)).empty


CHAIN = (forecast_models, forecasts, forecast_scores)


@pytest.fixture
def lake(spark: SparkSession, hours: pd.DataFrame, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> MemoryLake:
    """Thirty days of hours."""
    monkeypatch.setattr(_model_store, "Bucket", lambda: store)
    lake = MemoryLake(spark)
    lake.put(forecast_inputs.TABLE, stored(hours))
    return lake


def stored(hours: pd.DataFrame) -> list[dict[str, Any]]:
    """As rows of the table."""
    months = hours["interval_start"].dt.strftime("%Y-%m")
    rows = hours.assign(is_closed=True, observations=60, month=months).to_dict("records")
    return [{**row, "interval_start": row["interval_start"].to_pydatetime()} for row in rows]


def run(lake: MemoryLake, now: datetime, *modules: ModuleType, **how: bool) -> list[Refreshed]:
    """The tables after each other; the rules hold."""
    lake.set_clock(now)
    done = [refresh(lake, module, now, **how) for module in modules or CHAIN]
    assert all(each.is_sound for each in done), done
    return done


def says(lake: MemoryLake, module: ModuleType) -> list[dict[str, Any]]:
    """The rows without their bookkeeping."""
    return [{**row.asDict(), "ingestion_ts": None} for row in lake.rows(module.TABLE)]


def test_new_repeated_and_late_hours_write_what_they_touch_and_from_scratch_it_is_the_same(
    lake: MemoryLake, hours: pd.DataFrame
) -> None:
    first = run(lake, at(720))
    assert [each.rows for each in first] == [12, 169 * 6, 24]

    writes = len(lake.written)
    run(lake, at(720))
    assert sum(len(rows) for _, rows in lake.written[writes:]) == 0, "nothing was new"

    new = market(721).iloc[[720]].assign(close=101.0)
    lake.put(forecast_inputs.TABLE, stored(new))
    models, said, scores = run(lake, at(721))
    assert (models.rows, said.rows, scores.rows) == (6 if at(721).day != at(720).day else 0, 6, 24)

    late = hours.iloc[[600]].assign(realised_variance=1e-3)
    lake.put(forecast_inputs.TABLE, stored(late))
    writes = len(lake.written)
    run(lake, at(721))
    written = [row for name, rows in lake.written[writes:] for row in rows if name == "gold.forecasts"]
    assert {row.interval_start for row in written} <= set(hour_starts(*range(601, 722)))
    assert {row.interval_start for row in written if row.model == "last_hour"} == set(hour_starts(601))
    assert {row.interval_start for row in written if row.model == "har"} > set(hour_starts(*range(602, 722)))

    before = says(lake, forecasts), says(lake, forecast_scores)
    anew = MemoryLake(lake.spark)
    anew.like(lake, [forecast_inputs.TABLE, forecast_models.TABLE])
    run(anew, at(721), forecasts, forecast_scores)
    assert (says(anew, forecasts), says(anew, forecast_scores)) == before


def test_with_a_hundred_hours_every_table_says_why_it_has_no_figures(lake: MemoryLake) -> None:
    lake.stored.clear()
    lake.put(forecast_inputs.TABLE, stored(market(100)))
    assert [each.rows for each in run(lake, at(100))] == [6, 6, 0]
    [reason] = {row.reason for row in lake.rows(forecasts.TABLE)}
    assert reason == "too_little_history"
    assert {row.fills_at for row in lake.rows(forecasts.TABLE)} == {
        row.fills_at for row in lake.rows(forecast_models.TABLE)
    }
    assert {row.model for row in lake.rows(forecasts.TABLE)} == {name for names in MODELS.values() for name in names}
    assert at(0).tzinfo is UTC
