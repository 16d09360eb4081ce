"""The reports as Dagster makes them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from crypto_pipeline.assets import report_assets
from crypto_pipeline.report import publish, reading
from tests.crypto_pipeline.report.lake import LakeInMemory


class Bucket:
    """An object store that remembers."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_object(self, **what: Any) -> None:
        self.objects[what["Key"]] = what["Body"]

    def generate_presigned_url(self, _what: str, Params: dict[str, str], ExpiresIn: int) -> str:  # noqa: N803 (boto3's)
        return f"http://127.0.0.1:9000/{Params['Bucket']}/{Params['Key']}?for={ExpiresIn}"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    made = Bucket()
    monkeypatch.setattr(publish, "s3_client", lambda _settings: made)
    monkeypatch.setattr(reading, "open_table", LakeInMemory())
    return made


def materialized(**config: str) -> dict[str, Any]:
    run_config = dg.RunConfig({"reports__daily": report_assets.ReportConfig(**config)})
    done = dg.materialize([report_assets.daily], run_config=run_config)
    [event] = done.asset_materializations_for_node("reports__daily")
    return dict(event.metadata)


def test_each_portfolio_has_a_page_and_a_link_that_can_be_clicked(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "portfolios", lambda _where: ["main", "other"])
    metadata = materialized(day="2026-11-25")
    assert set(bucket.objects) == {"reports/main/2026-11-25.html", "reports/other/2026-11-25.html"}
    for name in ("main", "other"):
        link = metadata[f"{name}: open"]
        assert isinstance(link, dg.UrlMetadataValue)
        assert f"/reports/{name}/2026-11-25.html" in str(link.value)
        assert f"{name}, Wednesday 25 November 2026".encode() in bucket.objects[f"reports/{name}/2026-11-25.html"]


def test_without_a_day_it_is_of_yesterday_and_without_portfolios_of_the_markets(bucket: Bucket) -> None:
    materialized()
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert set(bucket.objects) == {f"reports/markets/{yesterday}.html"}


def test_it_is_made_once_a_day_after_ten_past_midnight_utc() -> None:
    schedule = report_assets.schedule
    minute, hour, *rest = str(schedule.cron_schedule).split()
    assert (hour, rest) == ("0", ["*", "*", "*"])
    assert int(minute) > 10
    assert schedule.execution_timezone == "UTC"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
