"""The condition of each symbol's data as an asset check; gold waits for a better one where GOLD_REQUIRES says so."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import dagster as dg
from pyspark.sql import Row
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.assets import specs
from crypto_pipeline.history_job import streamed_series
from crypto_pipeline.lakehouse import Lakehouse, hours_between
from crypto_pipeline.silver import completeness
from crypto_pipeline.silver.rollup import CONDITIONS, conditions
from shared.settings import Settings
from shared.symbol_manager import SymbolsFileError

NAME = "data_condition"
KEY = dg.AssetCheckKey(specs.key(completeness.TABLE), NAME)

_SETTLED = timedelta(minutes=5)
"""A younger minute may be pending for no other reason than that its kline is on the way."""
_SHOWN = 100


def spec(requires: str) -> dg.AssetCheckSpec:
    """The check. It warns; where gold requires a condition it is an error that data is in a worse one."""
    return dg.AssetCheckSpec(
        NAME,
        asset=KEY.asset_key,
        description="The data of every streamed symbol is `available` yesterday and today, without the last 5 minutes",
        blocking=bool(requires),
    )


def found(lake: Lakehouse, now: datetime) -> Sequence[Row]:
    """The condition of each symbol and day, yesterday's and today's."""
    yesterday = (now - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    minutes = lake.read(completeness.TABLE, hours_between(yesterday, now))
    rows: Sequence[Row] = conditions(minutes.filter(F.col("interval_start") < F.lit(now - _SETTLED))).collect()
    return rows


def streamed(where: Settings) -> Collection[str] | None:
    """The series (`binance:BTCUSDT`) that are streamed now; none where `symbols.yaml` does not say it."""
    try:
        return frozenset(streamed_series(where))
    except SymbolsFileError:
        return None


def result(rows: Sequence[Row], wanted: Collection[str] | None, requires: str) -> dg.AssetCheckResult:
    """What the check says of the conditions: of the series that are wanted, or of all."""
    judged = [row for row in rows if wanted is None or f"{row.exchange}:{row.symbol}" in wanted]
    lacking = sorted(
        (row for row in judged if row.condition != CONDITIONS[0]),
        key=lambda row: (-CONDITIONS.index(row.condition), row.exchange, row.symbol, row.day),
    )
    is_refused = requires and any(CONDITIONS.index(row.condition) > CONDITIONS.index(requires) for row in lacking)
    counts = {f"days_{name}": sum(row.condition == name for row in judged) for name in CONDITIONS}
    return dg.AssetCheckResult(
        check_name=NAME,
        asset_key=KEY.asset_key,
        passed=not lacking,
        severity=dg.AssetCheckSeverity.ERROR if is_refused else dg.AssetCheckSeverity.WARN,
        metadata={**counts, "not_available": dg.MetadataValue.md(_table(lacking))},
    )


def _table(rows: Sequence[Row]) -> str:
    names = ("symbol", "day", "condition", "minutes_expected", "minutes_pending", "minutes_partial", "minutes_missing")
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join(str(row[name]) for name in names) for row in rows[:_SHOWN]]
    return "\n".join(f"| {line} |" for line in lines) if rows else "all is available"


def why_gold_waits(instance: dg.DagsterInstance, requires: str) -> str:
    """Why nothing is to be made of the data now; empty where it may be.

    The last word of the check counts, from whichever job it came.
    """
    if not requires:
        return ""
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([KEY]).get(KEY)
    event = record.event.dagster_event if record and record.event else None
    where = f"GOLD_REQUIRES is {requires}"
    if event is None:
        return f"{where}, and nobody has looked yet: materialize {KEY.asset_key.to_user_string()}."
    evaluation = event.asset_check_evaluation_data
    if evaluation.passed or evaluation.severity == dg.AssetCheckSeverity.WARN:
        return ""
    return (
        f"{where}, and the data is in a worse condition: the check {NAME} of {KEY.asset_key.to_user_string()} lists it."
    )
