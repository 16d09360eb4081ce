"""What is unusual is found by what lay before, told in a sentence, and taken back where late data overturns it."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from crypto_pipeline.gold import anomalies, anomaly_baselines, anomaly_samples
from crypto_pipeline.gold._measures import observed
from crypto_pipeline.gold.anomaly_samples import EVERY
from crypto_pipeline.refresh import Refreshed, refresh
from crypto_pipeline.silver import completeness, ohlcv_1m, order_book_1m
from shared.tables import Table
from tests.crypto_pipeline.gold.minutes import FIRST, in_silver, minutes, quiet
from tests.crypto_pipeline.memory_lake import MemoryLake

MODULES = (anomaly_baselines, anomaly_samples, anomalies)
SILVER = (ohlcv_1m, order_book_1m, completeness)
HOURS, BOOKS = 52, 46 * 60
"""How long it lasts, and the minute from which on there are books."""
JUMP, BURST = 50 * 60 + 10, 49 * 60 + 30
"""The minutes of a return of 2 % and of 40 times the volume."""


def after(minute: int) -> datetime:
    return (FIRST + timedelta(minutes=minute)).to_pydatetime().replace(tzinfo=UTC)


def planted() -> pd.DataFrame:
    calm = minutes(HOURS * 60, "ETHUSDT", seed=2)
    wild = minutes(HOURS * 60)
    wild.loc[JUMP:, ["close", "high", "low", "usdt_price"]] *= 1.02
    wild.loc[BURST, "volume"] *= 40
    return pd.concat([quiet(wild, slice(51 * 60, 51 * 60 + 20)), calm], ignore_index=True)


def put(lake: MemoryLake, rows: pd.DataFrame) -> None:
    is_early = rows["interval_start"] < after(BOOKS).replace(tzinfo=None)
    silver = in_silver(rows.assign(imbalance=rows["imbalance"].mask(is_early)))
    for module in SILVER:
        lake.put(module.TABLE, silver[module.TABLE.name])


def follow(lake: MemoryLake, minute: int) -> list[Refreshed]:
    lake.set_clock(after(minute))
    return [refresh(lake, module, after(minute)) for module in MODULES]


def says(lake: MemoryLake, table: Table) -> list[dict[str, Any]]:
    """The rows that hold, without their bookkeeping."""
    rows = [row.asDict() for row in lake.rows(table)]
    return [{k: v for k, v in row.items() if k != "ingestion_ts"} for row in rows if not row.get("is_retracted")]


def kinds(rows: Iterable[dict[str, Any]]) -> set[tuple[str, str, int]]:
    return {(r["symbol"], r["kind"], int((r["interval_start"] - FIRST) / timedelta(minutes=1))) for r in rows}


@pytest.fixture(scope="module")
def followed(spark: SparkSession) -> tuple[MemoryLake, MemoryLake, dict[str, Any]]:
    """A lake followed in parts with a late candle, one made of the same at once, and what was seen."""
    lake, seen = MemoryLake(spark), {}
    rows = planted()
    number = (rows["interval_start"] - FIRST) // pd.Timedelta(minutes=1)
    late = (rows["symbol"] == "BTCUSDT") & (number == BURST)
    wrong = rows[late]
    until = 50 * 60 + 5
    put(lake, rows[number < until])
    seen["first"] = follow(lake, until)
    seen["found"] = kinds(says(lake, anomalies.TABLE))
    before = len(lake.written)
    follow(lake, until)
    seen["written without news"] = lake.written[before:]
    put(lake, wrong.assign(volume=wrong["volume"] / 40))
    put(lake, rows[number >= until])
    before = len(lake.written)
    follow(lake, HOURS * 60)
    seen["last"] = dict(lake.written[before:])
    whole = MemoryLake(spark)
    whole.like(lake, [module.TABLE for module in SILVER])
    follow(whole, HOURS * 60)
    return lake, whole, seen


@pytest.mark.parametrize("begins", [-1, 0, 1])
@pytest.mark.parametrize("ahead", [timedelta(minutes=5), timedelta(seconds=-10)], ids=["in time", "now is older"])
def test_samples_are_looked_for_where_a_sampled_minute_rests_on_what_came(
    spark: SparkSession, begins: int, ahead: timedelta
) -> None:
    lake = MemoryLake(spark)
    number = int(FIRST.timestamp()) // 60
    sampled = -number % EVERY + EVERY
    put(lake, minutes(sampled + 4).iloc[sampled + begins :])
    changes = {source.full_name: lake.changes(source, "0").rows for source in anomaly_samples.SOURCES}
    now = (FIRST + timedelta(minutes=sampled)).to_pydatetime().replace(tzinfo=UTC) + ahead
    touched = anomaly_samples.touched(changes, lake.read(anomaly_samples.TABLE), now)
    assert bool(touched.count()) == (begins <= 0 or ahead < timedelta(0))


def test_a_close_is_converted_by_the_closes_of_its_minute_or_not_at_all(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    markets = {name: minutes(2, name, seed=seed) for seed, name in enumerate(("BTCUSDT", "ETHBTC", "ETHEUR", "ETHJPY"))}
    markets["USDEUR"] = minutes(2, "USDEUR", seed=9).assign(base_asset="USDT")
    put(lake, pd.concat(markets.values(), ignore_index=True))
    sources = {module.TABLE.full_name: lake.read(module.TABLE) for module in SILVER}
    rows = observed(sources, [FIRST.to_pydatetime()]).toPandas()
    prices = {
        name: rows[rows["symbol"] == name].sort_values("interval_start")["usdt_price"].to_list() for name in markets
    }
    closes = {name: frame["close"].to_numpy() for name, frame in markets.items()}
    assert prices["BTCUSDT"] == pytest.approx(closes["BTCUSDT"])
    assert prices["ETHBTC"] == pytest.approx(closes["ETHBTC"] * closes["BTCUSDT"])
    assert prices["ETHEUR"] == pytest.approx(closes["ETHEUR"] / closes["USDEUR"])
    assert pd.isna(prices["ETHJPY"]).all()
    assert observed(sources, [FIRST.to_pydatetime() + timedelta(hours=1)]).count() == 0


Followed = tuple[MemoryLake, MemoryLake, dict[str, Any]]


def test_what_is_planted_is_found(followed: Followed) -> None:
    lake, _, seen = followed
    assert all(done.is_sound and done.rows for done in seen["first"])
    assert ("BTCUSDT", "volume", BURST) in seen["found"]
    assert ("BTCUSDT", "return", JUMP) in kinds(says(lake, anomalies.TABLE))
    assert {kind for symbol, kind, _ in kinds(says(lake, anomalies.TABLE)) if symbol == "BTCUSDT"} >= {"no_trades"}


def test_a_run_without_news_writes_nothing(followed: Followed) -> None:
    assert followed[2]["written without news"] == []


def test_followed_in_parts_with_late_data_it_is_what_is_made_from_scratch(followed: Followed) -> None:
    lake, whole, _ = followed
    for module in MODULES:
        assert says(lake, module.TABLE) == says(whole, module.TABLE), module.TABLE.full_name


def test_what_late_data_overturns_is_retracted(followed: Followed) -> None:
    lake, _, _ = followed
    rows = {(r.symbol, r.kind): r for r in lake.rows(anomalies.TABLE) if r.is_retracted}
    assert rows["BTCUSDT", "volume"].interval_start == after(BURST).replace(tzinfo=None)
    assert "times the median" in rows["BTCUSDT", "volume"].explanation


def test_late_data_has_only_the_hours_written_again_that_rest_on_it(followed: Followed) -> None:
    seen = followed[2]
    again = {row.hour_start for row in seen["last"]["gold.anomaly_baselines"]}
    assert min(again) >= after(BURST // 60 * 60).replace(tzinfo=None)
    assert len(seen["last"]["gold.anomalies"]) < 30


def test_every_row_says_what_it_rests_on_and_that_lay_before(followed: Followed) -> None:
    for row in says(followed[0], anomalies.TABLE):
        assert row["rests_from"] < row["interval_start"]
        assert row["observations"] >= 120
        assert row["explanation"]
