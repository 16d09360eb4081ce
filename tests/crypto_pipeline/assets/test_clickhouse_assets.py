"""What a deployment has where ClickHouse is served; the tables themselves are tests/serving/clickhouse's."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

pytest.importorskip("chdb", reason="chDB is not installed: ./test.sh does it")

from crypto_pipeline import clickhouse_job
from crypto_pipeline.assets import clickhouse_assets
from crypto_pipeline.assets.clickhouse_assets import take_in
from crypto_pipeline.assets.served import due, key
from crypto_pipeline.change_feed import ChangeFeed
from crypto_pipeline.definitions import defs
from serving.clickhouse.server import connected
from serving.clickhouse.writer import marks
from serving.tables import Served, served
from serving.writer import Written
from shared.settings import PROJECT, Settings
from tests.crypto_pipeline.assets.test_serving_assets import NoSpark
from tests.serving.clickhouse.conftest import there
from tests.serving.rows import arrow, candle, expected

CANDLES = served()["silver.fact_ohlcv"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(clickhouse_url=f"chdb://{tmp_path}/clickhouse")


class Lake:
    """What `follow` gives of a lake whose commits are these, the later with more of the rows."""

    def __init__(self) -> None:
        self.commits: list[list[dict[str, Any]]] = []
        self.asked: list[dict[str, str]] = []

    def follow(self, _lake: object, table: Served, since: dict[str, str]) -> ChangeFeed:
        self.asked.append(since)
        begin = int(since.get("silver.ohlcv_1m", "0"))
        pieces = iter([arrow(table, rows) for rows in self.commits[begin:]])
        return ChangeFeed(pieces, {"silver.ohlcv_1m": str(len(self.commits))})


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    made = Lake()
    monkeypatch.setattr(clickhouse_assets, "follow", made.follow)
    return made


def test_only_what_is_new_is_taken_in_and_a_reload_takes_all(settings: Settings, lake: Lake) -> None:
    spark: Any = None
    with connected(settings) as client:
        assert take_in(spark, client, CANDLES) == Written(0, 0)
        assert there(settings, CANDLES) == []
        lake.commits.append([candle(0), candle(1)])
        assert take_in(spark, client, CANDLES) == Written(2, 2)
        assert take_in(spark, client, CANDLES) == Written(0, 0)
        lake.commits.append([candle(1, close="2"), candle(2)])
        assert take_in(spark, client, CANDLES) == Written(2, 2)
        wanted = expected(CANDLES, [candle(0), candle(1, close="2"), candle(2)])
        assert there(settings, CANDLES) == wanted
        assert lake.asked[-1] == {"silver.ohlcv_1m": "1"}
        client.command("TRUNCATE TABLE silver.fact_ohlcv")
        assert take_in(spark, client, CANDLES, whole=True) == Written(4, 4)
        assert there(settings, CANDLES) == wanted
        assert marks(client, CANDLES) == {"silver.ohlcv_1m": "2"}


def test_tables_are_due_apart_from_those_in_postgresql(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(["silver", "ohlcv"]))
        assert due(instance, "clickhouse") == [key(CANDLES, "clickhouse")]
        assert due(instance, "postgres") == [key(CANDLES)]


def test_a_clickhouse_that_is_down_fails_the_run_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clickhouse_assets, "settings", lambda: Settings(clickhouse_url="http://127.0.0.1:1"))
    done = dg.materialize(
        [clickhouse_assets.clickhouse],
        resources={"spark": NoSpark(spark_config={}, url="", bucket="", buckets=1)},
        raise_on_error=False,
    )
    [failure] = [event.step_failure_data for event in done.all_events if event.is_step_failure]
    assert "ClickHouse at 127.0.0.1:1 does not answer" in f"{failure.error_display_string} {failure.user_failure_data}"


DEFINED = """
from crypto_pipeline.definitions import defs
repository = defs.get_repository_def()
print(sorted(job.name for job in repository.get_all_jobs() if "clickhouse" in job.name))
print(sorted(sensor.name for sensor in repository.sensor_defs if "clickhouse" in sensor.name))
print(sum(key.path[0] == "clickhouse" for key in defs.resolve_asset_graph().get_all_asset_keys()))
"""


@pytest.mark.parametrize(
    ("turned_on", "defined"),
    [
        ({}, ["[]", "[]", "0"]),
        ({"CLICKHOUSE": "true"}, ["['clickhouse']", "['clickhouse_after_the_pipeline']", str(len(served()))]),
    ],
)
def test_the_assets_the_job_and_the_sensor_are_there_where_it_is_turned_on(
    turned_on: dict[str, str], defined: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEFINED], env={**os.environ, **turned_on}, cwd=PROJECT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-3:] == defined


def test_a_run_is_asked_for_once_something_is_due() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        definitions = dg.Definitions.merge(defs, clickhouse_job.definitions())
        context = dg.build_sensor_context(instance, definitions=definitions)
        assert not clickhouse_job.when_due(context).run_requests
        instance.report_runless_asset_event(dg.AssetMaterialization(["silver", "ohlcv"]))
        [request] = clickhouse_job.when_due(context).run_requests or ()
        assert list(request.asset_selection or ()) == [key(CANDLES, "clickhouse")]
