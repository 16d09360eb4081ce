"""The report of each day, as an asset with a link to it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from crypto_pipeline.catalog import table_modules
from crypto_pipeline.giving_way import BESIDE
from crypto_pipeline.report.content import READS
from shared.settings import Settings, settings


class ReportConfig(dg.Config):
    """`day` is a UTC day, such as 2026-11-25; empty: yesterday. `portfolio`: its name; empty: each that is valued."""

    day: str = ""
    portfolio: str = ""


@dg.asset(
    key=dg.AssetKey(["reports", "daily"]),
    deps=[dg.AssetKey(name.split(".")) for name in READS if name in table_modules()],
    group_name="reports",
    kinds={"html"},
    description="**One page per portfolio and UTC day.**\n\nWhat `crypto report` writes: value, return, drawdown, "
    "risk, what moves together, movers, signals, anomalies, forecasts, and the condition of the data. The metadata "
    "of each materialization has the links. They work for seven days without a password; the pages stay, in the bucket "
    "under `reports/`. Where no portfolio is valued there is one page, of the markets.",
    retry_policy=dg.RetryPolicy(max_retries=2, delay=60),
)
def daily(config: ReportConfig) -> dg.MaterializeResult[None]:
    """Write the reports of a day, and link to them."""
    # Here, not above: each run of each minute would wait for what draws the charts.
    from crypto_pipeline.report import reading

    where, now = settings(), datetime.now(UTC)
    day = date.fromisoformat(config.day) if config.day else now.date() - timedelta(days=1)
    names = [config.portfolio] if config.portfolio else reading.portfolios(where) or [""]
    metadata: dict[str, Any] = {"day": day.isoformat()}
    for name in names:
        metadata |= _kept(name, day, where, now)
    return dg.MaterializeResult(metadata=metadata)


def _kept(portfolio: str, day: date, where: Settings, now: datetime) -> dict[str, Any]:
    """Uploads a portfolio's report, and says where it is and what it says first."""
    from crypto_pipeline.report import page, publish, reading

    found = reading.report(portfolio, day, where, now)
    name = publish.name_of(portfolio, day)
    address = publish.uploaded(page.rendered(found), name, where)
    return {
        f"{found.portfolio}: open": dg.MetadataValue.url(publish.link(name, where)),
        f"{found.portfolio}: in short": dg.MetadataValue.text(" ".join(page.lead(found))),
        f"{found.portfolio}: lies at": dg.MetadataValue.path(address),
    }


job = dg.define_asset_job(
    "reports",
    selection=dg.AssetSelection.assets(daily),
    description="The report of yesterday for each portfolio.",
    tags=BESIDE,
    executor_def=dg.in_process_executor,
)
schedule = dg.ScheduleDefinition(
    name="reports_every_day",
    job=job,
    cron_schedule="16 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="At 00:16 UTC: the evidence and the analytics of the day's end are there by then.",
)
