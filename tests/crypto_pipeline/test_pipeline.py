"""When the pipeline runs, and the graph that it makes."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetNode as AssetNode

from crypto_pipeline import pipeline
from crypto_pipeline.catalog import LAYERS
from crypto_pipeline.definitions import defs
from crypto_pipeline.gold import forecast_models
from crypto_pipeline.pipeline import analysing, due_minute, every_minute, training_when_due
from crypto_pipeline.reader import LakeError, arrow_schema
from shared.settings import Settings
from shared.tables import Table


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


def test_while_gold_waits_for_better_data_the_candles_do_not_and_no_run_of_gold_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipeline, "settings", lambda: Settings(gold_requires="available"))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        repository = defs.get_repository_def()
        [request] = every_minute(dg.build_sensor_context(instance, cursor="", repository_def=repository))
        skipped = analysing(dg.build_schedule_context(instance))
    assert isinstance(request, dg.RunRequest)
    assert request.asset_selection
    made = {key.path[0] for key in request.asset_selection}
    assert made == {"bronze", "silver"}
    assert dg.AssetKey(["silver", "indicators"]) in request.asset_selection
    assert dg.AssetKey(["silver", "completeness"]) not in request.asset_selection, "the evidence has a job of its own"
    assert isinstance(skipped, dg.SkipReason)
    assert "GOLD_REQUIRES is available" in str(skipped.skip_message)


def test_models_are_trained_where_a_symbol_wants_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hour = {"exchange": "binance", "symbol": "BTCUSDT", "interval_start": datetime.now(UTC), "realised_variance": 1e-6}
    lake = {"gold.forecast_inputs": [hour], "gold.forecast_models": []}
    asked: list[tuple[str, str, str]] = []

    def read(table: Table, _where: Settings, columns: list[str], filters: list[tuple[str, str, str]]) -> pa.Table:
        asked.extend(filters)
        return pa.Table.from_pylist(lake[table.full_name], arrow_schema(table, columns))

    monkeypatch.setattr(pipeline, "read", read)
    monkeypatch.setattr(pipeline, "settings", Settings)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert isinstance(training_when_due(dg.build_schedule_context(instance)), dg.RunRequest)
        now = {"trained_until": datetime.now(UTC), "hours_known": 1, "reason": "too_little_history"}
        ours = {"code_version": forecast_models.VERSION}
        lake["gold.forecast_models"] = [{**hour, **now, **ours}]
        assert isinstance(training_when_due(dg.build_schedule_context(instance)), dg.SkipReason)
    assert {(name, how) for name, how, _ in asked} == {("month", "IN")}
    assert 4 <= len(asked[0][2].split(",")) <= 5, "ninety-seven days lie in so many months"


def test_no_models_are_trained_while_the_lake_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def read(*_asked: object) -> None:
        raise LakeError("nothing answers")

    monkeypatch.setattr(pipeline, "read", read)
    monkeypatch.setattr(pipeline, "settings", Settings)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        skipped = training_when_due(dg.build_schedule_context(instance))
    assert isinstance(skipped, dg.SkipReason)
    assert skipped.skip_message == "nothing answers"


def test_the_lineage_is_what_it_was() -> None:
    """A change of the graph shows here, in the diff."""
    graph = defs.resolve_asset_graph()
    lineage = {
        key.to_user_string(): sorted(parent.to_user_string() for parent in graph.get(key).parent_keys)
        for key in graph.get_all_asset_keys()
    }
    measured = ["silver/completeness", "silver/ohlcv_1m", "silver/order_book_1m"]
    candles = ["silver/ohlcv", "silver/ohlcv_1m"]
    served = ("fact_ohlcv", "indicators", "instruments", "order_book_1m", "completeness_hourly", "completeness_daily")
    gold = [key for key in lineage if key.startswith("gold/")]
    assert lineage == {
        "kafka/crypto_raw": [],
        "bronze/trades": ["kafka/crypto_raw"],
        "bronze/tickers": ["kafka/crypto_raw"],
        "bronze/klines": ["kafka/crypto_raw"],
        "bronze/depth": ["kafka/crypto_raw"],
        "bronze/agg_trades": ["kafka/crypto_raw"],
        "bronze/gaps": ["kafka/crypto_raw"],
        "bronze/quarantine": ["kafka/crypto_raw"],
        "bronze/expired": [],
        "bronze/dead_letters": ["kafka/crypto_raw"],
        "bronze/instruments": ["kafka/crypto_raw"],
        "bronze/selections": ["kafka/crypto_raw"],
        "bronze/connections": ["kafka/crypto_raw"],
        "silver/instruments": ["bronze/instruments"],
        "silver/ohlcv_1m": ["bronze/agg_trades", "bronze/klines", "bronze/trades"],
        "silver/quiet_intervals": ["bronze/klines"],
        "silver/ohlcv": ["silver/ohlcv_1m", "silver/quiet_intervals"],
        "silver/fact_ohlcv": candles,
        "silver/ohlcv_revisions": candles,
        "silver/ohlcv_filled": ["silver/completeness", *candles],
        "silver/ohlcv_1m_reconciliation": [
            "bronze/agg_trades",
            "bronze/klines",
            "bronze/trades",
            "silver/instruments",
        ],
        "silver/indicators": [*candles, "silver/quiet_intervals"],
        "silver/order_book_1m": ["bronze/depth"],
        "silver/ticker_1m": ["bronze/tickers"],
        "silver/completeness": sorted(
            [f"bronze/{name}" for name in ("trades", "klines", "gaps")]
            + [f"silver/{name}" for name in ("ohlcv_1m", "instruments", "order_book_1m", "ticker_1m")]
        ),
        "silver/completeness_hourly": ["silver/completeness"],
        "silver/completeness_daily": ["silver/completeness"],
        "gold/market_overview": [
            f"silver/{name}" for name in ("completeness", "ohlcv_1m", "order_book_1m", "ticker_1m")
        ],
        "gold/data_quality_hourly": sorted(
            [f"bronze/{name}" for name in ("trades", "tickers", "depth", "klines")]
            + [f"silver/{name}" for name in ("ohlcv_1m", "order_book_1m", "ticker_1m")]
            + ["gold/signals"]
        ),
        "gold/data_quality": ["bronze/gaps", "bronze/quarantine", "gold/data_quality_hourly", "silver/completeness"],
        "gold/portfolio_performance": candles,
        "gold/signals": ["silver/indicators"],
        "gold/signal_outcomes": [
            "gold/signals",
            *(f"silver/{name}" for name in ("completeness", "ohlcv_1m", "order_book_1m", "ticker_1m")),
        ],
        "gold/signal_performance": ["gold/signal_outcomes"],
        "gold/forecast_inputs": ["silver/completeness", "silver/ohlcv_1m"],
        "gold/forecast_models": ["gold/forecast_inputs"],
        "gold/forecasts": ["gold/forecast_inputs", "gold/forecast_models"],
        "gold/forecast_scores": ["gold/forecast_inputs", "gold/forecasts"],
        "gold/anomaly_baselines": measured,
        "gold/anomaly_samples": ["gold/anomaly_baselines", *measured],
        "gold/anomalies": ["gold/anomaly_baselines", "gold/anomaly_samples", *measured],
        "gold/risk_metrics": ["gold/portfolio_performance", "silver/ohlcv", "silver/quiet_intervals"],
        "gold/correlations": ["silver/completeness", *candles],
        "reports/daily": [
            "bronze/gaps",
            *(
                f"gold/{name}"
                for name in (
                    "anomalies",
                    "correlations",
                    "data_quality",
                    "forecast_scores",
                    "forecasts",
                    "portfolio_performance",
                    "risk_metrics",
                    "signals",
                )
            ),
            "silver/completeness_daily",
            "silver/ohlcv",
        ],
        "rebuild/silver": [],
        "postgres/bronze/bronze_ohlcv_native": ["bronze/klines"],
        **{f"postgres/{key}": [key] for key in ("bronze/gaps", *(f"silver/{name}" for name in served), *gold)},
    }


def test_the_code_server_can_load_every_job() -> None:
    jobs = defs.get_repository_def().get_all_jobs()  # it refuses a step that bears the name of a job
    assert {"pipeline", "serving"} <= {job.name for job in jobs}


def is_table(node: AssetNode) -> bool:
    """Not what rebuilds a range of them, nor the reports."""
    return node.group_name in LAYERS


def test_every_table_is_made_by_one_of_the_four_jobs() -> None:
    graph = defs.resolve_asset_graph()
    made = {
        name: defs.resolve_job_def(name).asset_layer.executable_asset_keys
        for name in ("pipeline", "evidence", "analytics", "training")
    }
    on_demand = {key for key in graph.materializable_asset_keys if not is_table(graph.get(key))}
    assert sorted(key for keys in made.values() for key in keys) == sorted(graph.materializable_asset_keys - on_demand)
    candles = {dg.AssetKey(["silver", name]) for name in ("ohlcv_1m", "ohlcv", "indicators")}
    assert candles <= made["pipeline"]
    assert dg.AssetKey(["gold", "signals"]) in made["pipeline"], "an alert on one waits for no run of gold"
    assert {key.path[0] for key in made["analytics"]} == {"gold"}


def test_every_asset_tells_its_grain_its_columns_and_its_layer() -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description
        assert node.description.startswith("**One ")
        assert node.group_name == ("serving" if key.path[0] == "postgres" else key.path[0])
        if node.is_materializable and is_table(node):
            assert "dagster/column_schema" in node.metadata
            assert node.kinds >= {"spark", "hudi"}


def test_checks_of_what_we_make_ourselves_block_what_comes_after() -> None:
    graph = defs.resolve_asset_graph()
    blocking = {key.asset_key.path[0] for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking == {"silver", "gold"}


def test_of_the_tables_that_could_be_next_the_candles_come_first() -> None:
    job = defs.resolve_job_def("pipeline")
    priority = {node.name: int(node.definition.tags.get("dagster/priority", 0)) for node in job.nodes}
    candles = priority.pop("silver__ohlcv_1m")
    assert candles > max(priority.values())
