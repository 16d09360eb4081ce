from dataclasses import replace
from datetime import UTC, datetime

import pytest

from crypto_pipeline.monitoring import Asset, Facts, Run, Streaming, Topic, assemble, asset, counted, finished_run
from deployment.health import ServiceHealth

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
MADE = Asset("silver.ohlcv", "pipeline", NOW, 20.0, "SUCCESS", 5)
WELL = Facts(
    mode="demo",
    at=NOW,
    services=[ServiceHealth("kafka", True, "", 1, 3600.0, 1)],
    streaming=Streaming({"BTCUSDT": 12.04}, {"binance": 1}, False),
    kept=({"crypto_raw_btcusdt": {"0": 100}}, {"crypto_raw_btcusdt": {"0": 250}}),
    dead_letters=0,
    taken_in={"crypto_raw_btcusdt": {"0": 240}},
    assets=[MADE],
    last_run=Run("5197669f-1f66", "SUCCESS", NOW, 20.0),
)


def reasons(facts: Facts) -> list[str]:
    status = assemble(facts)
    assert status.healthy is not bool(status.reasons)
    return status.reasons


def test_all_well_is_healthy() -> None:
    assert reasons(WELL) == []


def test_a_service_that_is_not_healthy_is_named_with_why() -> None:
    down = ServiceHealth("postgres", False, "no answer", None, None, None)
    assert reasons(replace(WELL, services=[down])) == ["postgres is not healthy: no answer."]


@pytest.mark.parametrize("connections", [{}, {"binance": 0}])
def test_without_a_connection_to_an_exchange_it_is_not_healthy(connections: dict[str, int]) -> None:
    assert len(reasons(replace(WELL, streaming=Streaming({}, connections, False)))) == 1


def test_paused_reading_is_not_healthy() -> None:
    assert "paused" in reasons(replace(WELL, streaming=Streaming({}, {"binance": 1}, True)))[0]
    assert "not archived" in reasons(replace(WELL, streaming=Streaming({}, {"binance": 1}, archive_paused=True)))[0]


def test_imports_that_wait_for_room_are_a_reason() -> None:
    assert reasons(replace(WELL, imports_wait="Imports wait.", disk_percent=91.0)) == ["Imports wait."]
    assert reasons(replace(WELL, disk_percent=85.0)) == []


def test_a_failed_run_is_not_healthy() -> None:
    failed = Run("5197669f-1f66", "FAILURE", NOW, 20.0)
    assert reasons(replace(WELL, last_run=failed)) == ["The last run of the pipeline, 5197669f, ended with FAILURE."]


def test_an_old_asset_is_a_reason_once_the_services_run_for_long() -> None:
    old = replace(WELL, assets=[replace(MADE, age_seconds=301.0)])
    assert reasons(old) == ["silver.ohlcv was made 301 s ago: a run a minute is expected."]
    assert reasons(replace(old, services=[ServiceHealth("kafka", True, "", 1, 299.0, 1)])) == []


def test_evidence_may_be_older_as_it_is_gathered_less_often() -> None:
    evidence = replace(MADE, asset="silver.completeness", job="evidence", age_seconds=900.0)
    old = replace(WELL, assets=[evidence], services=[ServiceHealth("kafka", True, "", 1, 901.0, 1)])
    assert reasons(old) == []
    old = replace(old, assets=[replace(evidence, age_seconds=901.0)])
    assert reasons(old) == ["silver.completeness was made 901 s ago: a run each five minutes is expected."]
    never = replace(old, assets=[replace(evidence, age_seconds=None)])
    assert reasons(never) == ["silver.completeness was never made: is the schedule every_five_minutes switched on?"]


def test_an_asset_that_was_never_made_is_a_reason_once_the_services_run_for_long() -> None:
    never = replace(WELL, assets=[Asset("silver.ohlcv", "pipeline", None, None, None, None)], last_run=None)
    assert reasons(never) == ["silver.ohlcv was never made: is the sensor every_minute switched on?"]
    assert reasons(replace(never, services=[ServiceHealth("kafka", True, "", 1, 299.0, 1)])) == []


def test_a_source_that_does_not_answer_is_named_and_leaves_the_rest() -> None:
    silent = replace(WELL, kept=None, failures={"Kafka": "no answer in time"})
    status = assemble(silent)
    assert status.reasons == ["Kafka did not say how it is: no answer in time."]
    assert status.topics == [Topic("crypto_raw_btcusdt", 12.0, None, None)]
    assert status.assets == [MADE]


def test_where_nothing_is_deployed_that_alone_is_said() -> None:
    nothing = Facts(mode="live", at=NOW, deployed=False, failures={"Kafka": "no answer"})
    assert reasons(nothing) == ["Nothing is deployed here: ./deploy.sh starts it."]


def test_lag_counts_from_what_the_slowest_table_has_taken_in() -> None:
    assert assemble(WELL).topics == [Topic("crypto_raw_btcusdt", 12.0, 150, 10)]


def test_a_topic_that_no_table_has_read_lags_by_all_its_messages() -> None:
    assert assemble(replace(WELL, taken_in={})).topics[0].lag == 150


def test_with_one_topic_for_all_the_rates_of_its_symbols_add_up() -> None:
    both = Streaming({"BTCUSDT": 2.0, "ETHUSDT": 3.0}, {"binance": 1}, False)
    kept = ({"all": {"0": 0, "1": 5}}, {"all": {"0": 10, "1": 5}})
    facts = replace(WELL, one_topic="all", streaming=both, kept=kept, taken_in={"all": {"0": 4}})
    assert assemble(facts).topics == [Topic("all", 5.0, 10, 6)]


def test_the_counters_of_a_symbol_add_up_over_its_streams() -> None:
    text = """# TYPE ingestor_messages_total counter
ingestor_messages_total{exchange="binance",stream="trade",symbol="BTCUSDT"} 3.0
ingestor_messages_total{exchange="binance",stream="ticker",symbol="BTCUSDT"} 4.0
latency_seconds_bucket{exchange="binance",le="0.1",stream="trade",symbol="BTCUSDT"} 3.0
ws_connected{exchange="binance"} 2.0
reading_paused 1.0
gaps_open 3.0
spool_messages 12.0
archive_paused 1.0
"""
    assert counted(text) == Streaming({"BTCUSDT": 7.0}, {"binance": 2}, True, 3, 12, True)


def test_an_asset_has_the_time_and_the_rows_of_its_last_materialization() -> None:
    made = {
        "timestamp": "1795251814456",
        "metadataEntries": [{"label": "seconds"}, {"label": "rows_written", "intValue": 4740}],
    }
    node = {
        "assetKey": {"path": ["bronze", "depth"]},
        "jobNames": ["__ASSET_JOB", "pipeline"],
        "assetMaterializations": [made],
    }
    found = asset(node, "STARTED", 1795251824.456)
    assert found.job == "pipeline"
    assert (found.asset, found.age_seconds, found.run_status, found.rows_written) == (
        "bronze.depth",
        10.0,
        "STARTED",
        4740,
    )
    assert found.materialized_at == datetime(2026, 11, 21, 9, 3, 34, 456000, tzinfo=UTC)


def test_an_asset_that_was_never_made_has_no_time() -> None:
    node = {
        "assetKey": {"path": ["bronze", "depth"]},
        "jobNames": ["__ASSET_JOB", "pipeline"],
        "assetMaterializations": [],
    }
    assert asset(node, None, 0.0) == Asset("bronze.depth", "pipeline", None, None, None, None)


def test_a_run_that_never_began_has_no_duration() -> None:
    assert finished_run({"runId": "a", "status": "CANCELED", "startTime": None, "endTime": 10.0}) == Run(
        "a", "CANCELED", datetime.fromtimestamp(10, UTC), None
    )
    assert finished_run(None) is None
