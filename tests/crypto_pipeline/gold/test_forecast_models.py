"""When models are trained, on what, and what is kept of them."""

import json
from datetime import UTC, datetime
from io import BytesIO

import pandas as pd
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from crypto_pipeline.gold._forecast_features import VERSION, examples
from crypto_pipeline.gold._model_store import Bucket, ModelError, fetch, keep
from crypto_pipeline.gold._prices import SERIES
from crypto_pipeline.gold.forecast_models import ENOUGH_HOURS, MIN_EXAMPLES, due, trained, training_set
from shared.settings import Settings
from tests.crypto_pipeline.gold.forecasting import FIRST, HOUR, MemoryStore, market

NONE = pd.DataFrame(columns=[*SERIES, "usable_from"])


def at(hours: int) -> datetime:
    """Five minutes after so many hours of the market are over."""
    return (FIRST + hours * HOUR + pd.Timedelta(minutes=5)).to_pydatetime().replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(scope="module")
def first(store: MemoryStore) -> pd.DataFrame:
    """The rows of a first training after 30 days."""
    return trained(market(720), NONE, at(720), store)


def test_the_first_time_models_are_also_trained_as_of_a_week_before(first: pd.DataFrame) -> None:
    times = first.groupby("trained_until")["usable_from"].first()
    assert times.to_dict() == {FIRST + hours * HOUR: FIRST + hours * HOUR for hours in (552, 720)}
    assert len(first) == 12
    assert first["reason"].isna().all()


def test_later_models_are_for_the_next_hour_and_there_is_one_training(store: MemoryStore) -> None:
    earlier = pd.DataFrame({"exchange": ["binance"], "symbol": ["BTCUSDT"], "usable_from": [FIRST + 500 * HOUR]})
    rows = trained(market(600), earlier, at(600), store)
    assert rows["trained_until"].unique().tolist() == [FIRST + 600 * HOUR]
    assert rows["usable_from"].unique().tolist() == [FIRST + 601 * HOUR]


def test_every_row_tells_the_losses_beside_the_baseline_s_and_a_verdict(first: pd.DataFrame) -> None:
    latest = first[first["trained_until"] == FIRST + 720 * HOUR].set_index(["target", "model"])
    har, base = latest.loc[("volatility", "har")], latest.loc[("volatility", "last_hour")]
    assert har["baseline_qlike"] == base["qlike"]
    assert har["difference"] == pytest.approx(har["qlike"] - base["qlike"])
    assert har["beats_baseline"] == (har["ci_high"] < 0)
    assert ("har beats last_hour" in har["verdict"]) == har["beats_baseline"]
    assert base["is_baseline"]
    assert "is the baseline" in base["verdict"]
    assert har["features"] == "log_variance_1h,log_variance_24h,log_variance_168h"
    assert pd.isna(har["log_loss"])
    assert latest.loc[("direction", "logistic"), "log_loss"] > 0
    assert (latest["code_version"] == VERSION).all()
    assert set(json.loads(har["library_versions"])) == {"numpy", "scikit-learn"}


def test_what_came_after_a_training_changes_nothing_of_it(first: pd.DataFrame, store: MemoryStore) -> None:
    known = examples(market(720))
    until = FIRST + 552 * HOUR
    chosen = training_set(known, until)
    assert (chosen["interval_start"] + HOUR).max() == until
    pd.testing.assert_frame_equal(chosen, training_set(examples(market(720).head(552)), until), check_exact=True)
    spoiled = market(720)
    spoiled.loc[552:, ["close", "high", "low", "realised_variance"]] *= 7
    again = trained(spoiled, NONE, at(720), store)
    hashes = [rows.loc[rows["trained_until"] == until, "sha256"].unique().tolist() for rows in (first, again)]
    assert hashes[0] == hashes[1]


def test_with_too_little_history_a_row_says_so_and_when_it_fills(store: MemoryStore) -> None:
    rows = trained(market(100), NONE, at(100), store)
    assert len(rows) == 6
    assert set(rows["reason"]) == {"too_little_history"}
    assert rows["uri"].isna().all()
    filled = rows["fills_at"].iloc[0]
    hours = int((filled - FIRST) / HOUR)
    assert trained(market(hours), NONE, at(hours), store)["reason"].isna().all(), "it promised too early"


def test_one_example_too_few_is_too_few_and_the_next_hour_is_enough(store: MemoryStore) -> None:
    hours = next(n for n in range(480, 520) if len(training_set(examples(market(n)), FIRST + n * HOUR)) == MIN_EXAMPLES)
    lacking = trained(market(hours - 1), NONE, at(hours - 1), store)
    assert set(lacking["reason"]) == {"too_little_history"}
    assert lacking["fills_at"].iloc[0] == FIRST + hours * HOUR
    assert trained(market(hours), NONE, at(hours), store)["reason"].isna().all()
    assert hours <= ENOUGH_HOURS


def test_of_no_hours_there_are_no_models(store: MemoryStore) -> None:
    assert trained(market(0), NONE, at(0), store).empty
    assert trained(market(5).assign(realised_variance=float("nan")), NONE, at(5), store).empty


def test_one_training_of_a_series_wants_another_only_on_the_next_day(first: pd.DataFrame) -> None:
    hours = market(744)
    nothing = first.head(0)
    assert due(nothing, hours, at(720)) == ["binance:BTCUSDT"]
    assert due(first, hours, at(720)) == []
    assert due(first, hours, at(743)) == [], "23:05 of the same day"
    assert due(first, hours, at(744)) == ["binance:BTCUSDT"]
    assert due(first.assign(code_version="0"), hours, at(720)) == ["binance:BTCUSDT"], "of other code"


def test_a_series_that_had_too_little_history_is_trained_as_soon_as_it_has_enough(store: MemoryStore) -> None:
    lacking = trained(market(100), NONE, at(100), store)
    assert due(lacking, market(101), at(100)) == []
    imported = market(720).assign(interval_start=lambda rows: rows["interval_start"] - 620 * HOUR)
    assert due(lacking, imported, at(100)) == ["binance:BTCUSDT"]


def test_a_series_of_which_no_hour_is_known_does_not_ask_for_training_again_and_again(first: pd.DataFrame) -> None:
    unknown = market(5).assign(realised_variance=float("nan"))
    assert due(first.head(0), unknown, at(5)) == []


def test_a_document_is_read_only_if_it_is_what_was_stored(store: MemoryStore) -> None:
    uri, sha256 = keep(store, "here", {"models": {"b": 1.5, "a": 0.1}})
    assert fetch(store, uri, sha256) == {"models": {"a": 0.1, "b": 1.5}}
    store[uri] = store[uri].replace(b"0.1", b"0.2")
    with pytest.raises(ModelError, match="not what was stored"):
        fetch(store, uri, sha256)
    with pytest.raises(ModelError, match="not there"):
        fetch(store, "elsewhere", sha256)


def test_a_model_outside_of_the_lake_s_folder_is_not_read() -> None:
    bucket = Bucket(Settings(s3_access_key="a", s3_secret_key="b"))
    with pytest.raises(ModelError, match="another place"):
        bucket.get("s3://other/gold/models/x.json")


def test_models_lie_under_gold_models_in_the_bucket() -> None:
    bucket = Bucket(Settings(s3_bucket="lake", s3_access_key="a", s3_secret_key="b"))
    body, key = b'{"models":{}}', "gold/models/exchange=binance/x.json"
    with Stubber(bucket._client) as s3:
        s3.add_response("put_object", {}, {"Bucket": "lake", "Key": key, "Body": body})
        s3.add_response("get_object", {"Body": StreamingBody(BytesIO(body), len(body))}, {"Bucket": "lake", "Key": key})
        s3.add_client_error("get_object", "NoSuchKey")
        uri = bucket.put("exchange=binance/x.json", body)
        assert uri == f"s3://lake/{key}"
        assert bucket.get(uri) == body
        with pytest.raises(ModelError, match="cannot be read"):
            bucket.get(uri)


def test_the_models_of_a_series_are_one_document_without_code(first: pd.DataFrame, store: MemoryStore) -> None:
    assert first["uri"].nunique() == 2
    document = json.loads(store[first["uri"].iloc[0]])
    assert set(document["models"]) == {"volatility", "direction"}
    assert first["trained_at"].iloc[0] == at(720).replace(tzinfo=None)
