"""The check of the data's condition, and gold that waits for it."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg
import pytest
from pyspark.sql import Row

from crypto_pipeline.assets import condition
from crypto_pipeline.assets.derived import derived_assets
from crypto_pipeline.spark import SparkConnect
from shared import settings as all_settings

GOLD = dg.AssetKey(["gold", "risk_metrics"])


def day(symbol: str, says: str) -> Row:
    counts = dict.fromkeys(("minutes_expected", "minutes_pending", "minutes_partial", "minutes_missing"), 7)
    return Row(exchange="binance", symbol=symbol, day=date(2026, 3, 5), condition=says, **counts)


@pytest.mark.parametrize(
    ("conditions", "requires", "passed", "severity"),
    [
        (["available", "available"], "", True, "WARN"),
        (["available", "missing"], "", False, "WARN"),
        (["available", "available"], "available", True, "WARN"),
        (["available", "pending"], "available", False, "ERROR"),
        (["available", "pending"], "pending", False, "WARN"),
        (["pending", "degraded"], "pending", False, "ERROR"),
        (["pending", "degraded"], "degraded", False, "WARN"),
        (["pending", "missing"], "degraded", False, "ERROR"),
    ],
)
def test_it_warns_of_what_is_not_available_and_is_an_error_below_what_is_required(
    conditions: list[str], requires: str, passed: bool, severity: str
) -> None:
    rows = [day(f"S{number}", says) for number, says in enumerate(conditions)]
    result = condition.result(rows, None, requires)
    assert (result.passed, result.severity.value) == (passed, severity)


def test_what_is_streamed_no_more_does_not_count() -> None:
    rows = [day("BTCUSDT", "available"), day("LUNAUSDT", "missing")]
    assert condition.result(rows, {"binance:BTCUSDT"}, "available").passed
    worst = condition.result(rows, None, "")
    assert worst.metadata["days_missing"].value == 1
    assert "LUNAUSDT | 2026-03-05 | missing" in str(worst.metadata["not_available"].value)


def said(instance: dg.DagsterInstance, *conditions: str, requires: str) -> None:
    """The check was made and said this."""
    result = condition.result([day("BTCUSDT", says) for says in conditions], None, requires)
    evaluation = dg.AssetCheckEvaluation(
        check_name=condition.NAME,
        asset_key=condition.KEY.asset_key,
        passed=result.passed,
        severity=result.severity,
        metadata={},
    )
    instance.report_runless_asset_event(evaluation)


def test_gold_waits_while_the_last_word_of_the_check_is_an_error() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert condition.why_gold_waits(instance, "") == ""
        assert "materialize silver/completeness" in condition.why_gold_waits(instance, "degraded")
        said(instance, "missing", requires="degraded")
        assert condition.NAME in condition.why_gold_waits(instance, "degraded")
        assert condition.why_gold_waits(instance, "") == ""
        said(instance, "degraded", requires="degraded")
        assert condition.why_gold_waits(instance, "degraded") == ""


@pytest.fixture
def requires_available(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GOLD_REQUIRES", "available")
    all_settings.settings.cache_clear()
    yield
    all_settings.settings.cache_clear()


def gold_asset() -> dg.AssetsDefinition:
    [asset] = [asset for asset in derived_assets("gold") if GOLD in asset.keys]
    return asset


class Unasked(SparkConnect):
    """A Spark that nobody asks."""

    def setup_for_execution(self, context: Any) -> None:
        pass


@pytest.mark.usefixtures("requires_available")
def test_gold_is_not_made_of_data_below_what_is_required() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        said(instance, "pending", requires="available")
        spark = Unasked(spark_config={}, url="", bucket="", buckets=1)
        result = dg.materialize([gold_asset()], resources={"spark": spark}, instance=instance, raise_on_error=False)
        [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "gold.risk_metrics was left as it was" in str(failure.event_specific_data)


@pytest.mark.usefixtures("requires_available")
def test_gold_that_requires_a_condition_comes_after_its_check_and_the_check_blocks() -> None:
    assert condition.KEY.asset_key in gold_asset().asset_deps[GOLD]
    assert condition.spec("available").blocking


def test_without_the_setting_gold_asks_nobody_and_the_check_blocks_nothing() -> None:
    assert condition.KEY.asset_key not in gold_asset().asset_deps[GOLD]
    assert not condition.spec("").blocking


def test_the_table_carries_the_check() -> None:
    [asset] = [asset for asset in derived_assets("silver") if condition.KEY.asset_key in asset.keys]
    assert condition.KEY in asset.check_keys
