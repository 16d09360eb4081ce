"""When the pipeline runs, and the graph that it makes."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from crypto_pipeline.definitions import defs
from crypto_pipeline.pipeline import due_minute, every_minute


@pytest.mark.parametrize(
    ("second", "minute"), [(4, "2026-11-21T08:59"), (5, "2026-11-21T09:00"), (59, "2026-11-21T09:00")]
)
def test_a_minutes_run_is_due_five_seconds_after_its_start(second: int, minute: str) -> None:
    assert due_minute(datetime(2026, 11, 21, 9, 0, second, tzinfo=UTC), 5) == minute


def test_a_minute_that_comes_twice_as_the_clock_was_set_back_has_its_run_both_times() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        [request] = every_minute(dg.build_sensor_context(instance, cursor="2099-11-21T09:00"))
    assert isinstance(request, dg.RunRequest)
    assert request.run_key is None, "of a key that it knows Dagster makes no run"


def test_the_lineage_is_what_it_was() -> None:
    """A change of the graph shows here, in the diff."""
    graph = defs.resolve_asset_graph()
    lineage = {
        key.to_user_string(): sorted(parent.to_user_string() for parent in graph.get(key).parent_keys)
        for key in graph.get_all_asset_keys()
    }
    candles = ["silver/ohlcv", "silver/ohlcv_1m"]
    assert lineage == {
        "kafka/crypto_raw": [],
        "bronze/trades": ["kafka/crypto_raw"],
        "bronze/tickers": ["kafka/crypto_raw"],
        "bronze/klines": ["kafka/crypto_raw"],
        "bronze/depth": ["kafka/crypto_raw"],
        "bronze/agg_trades": ["kafka/crypto_raw"],
        "bronze/gaps": ["kafka/crypto_raw"],
        "bronze/dead_letters": ["kafka/crypto_raw"],
        "bronze/instruments": ["kafka/crypto_raw"],
        "bronze/selections": ["kafka/crypto_raw"],
        "bronze/connections": ["kafka/crypto_raw"],
        "silver/instruments": ["bronze/instruments"],
        "silver/ohlcv_1m": ["bronze/agg_trades", "bronze/klines", "bronze/trades"],
        "silver/ohlcv": ["bronze/klines", "silver/ohlcv_1m"],
        "silver/fact_ohlcv": candles,
        "silver/ohlcv_revisions": candles,
        "silver/ohlcv_filled": ["silver/completeness", *candles],
        "silver/ohlcv_1m_reconciliation": [
            "bronze/agg_trades",
            "bronze/klines",
            "bronze/trades",
            "silver/instruments",
        ],
        "silver/indicators": candles,
        "silver/order_book_1m": ["bronze/depth"],
        "silver/ticker_1m": ["bronze/tickers"],
        "silver/completeness": sorted(
            [f"bronze/{name}" for name in ("trades", "klines", "gaps")]
            + [f"silver/{name}" for name in ("ohlcv_1m", "instruments", "order_book_1m", "ticker_1m")]
        ),
        "silver/completeness_hourly": ["silver/completeness"],
        "silver/completeness_daily": ["silver/completeness"],
        "gold/market_overview": ["silver/ohlcv_1m"],
        "gold/correlations": ["silver/completeness", *candles],
        "rebuild/silver": [],
    }


def test_every_table_is_made_by_one_of_the_three_jobs() -> None:
    graph = defs.resolve_asset_graph()
    made = {
        name: defs.resolve_job_def(name).asset_layer.executable_asset_keys
        for name in ("pipeline", "evidence", "analytics")
    }
    on_demand = {key for key in graph.materializable_asset_keys if graph.get(key).is_partitioned}
    assert sorted(key for keys in made.values() for key in keys) == sorted(graph.materializable_asset_keys - on_demand)
    candles = {dg.AssetKey(["silver", name]) for name in ("ohlcv_1m", "ohlcv", "indicators")}
    assert candles <= made["pipeline"]
    assert {key.path[0] for key in made["analytics"]} == {"gold"}


def test_every_asset_tells_its_grain_its_columns_and_its_layer() -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description
        assert node.description.startswith("**One ")
        assert node.group_name == key.path[0]
        if node.is_materializable and not node.is_partitioned:
            assert "dagster/column_schema" in node.metadata
            assert node.kinds >= {"spark", "hudi"}


def test_checks_of_what_we_make_ourselves_block_what_comes_after() -> None:
    graph = defs.resolve_asset_graph()
    blocking = {key.asset_key.path[0] for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking == {"silver", "gold"}
