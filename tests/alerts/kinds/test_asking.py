"""Asking in a thread, with rules that answer and rules that cannot be asked, and the digest."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from alerts.asking import Answer, Asking, DigestDue
from alerts.kinds.drawdown import Drawdown
from alerts.kinds.failed_run import FailedRun
from alerts.rules import AlertsFile, Digest
from tests.alerts.conftest import Database, until
from tests.alerts.kinds.conftest import COMPLETENESS, Lake


@pytest.fixture
def asking(database: Database, lake: Lake) -> Iterator[Asking]:
    made = Asking(database.settings.model_copy(update={"dagster_port": 1}), {})
    made.start()
    yield made
    made.stop()
    made.join()


def test_a_rule_that_cannot_be_asked_is_named_and_the_others_answer(asking: Asking, lake: Lake) -> None:
    lake.add("gold.portfolio_performance", portfolio="p", day=datetime.now(UTC), asset="TOTAL", value=1, drawdown=-0.5)
    down = Drawdown(name="down", kind="drawdown")
    asking.follow(AlertsFile(rules=(FailedRun(name="runs", kind="failed_run"), down)))
    answer: Any = until(asking.take)
    assert isinstance(answer, Answer)
    assert answer.rule is down
    assert [finding.holds for finding in answer.findings] == [True]
    until(lambda: asking.failing)
    assert "Dagster: no answer" in asking.failing["runs"]


def test_the_digest_of_a_day_is_made_once_from_the_tables(asking: Asking, lake: Lake) -> None:
    now = datetime.now(UTC)
    yesterday = now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() - 3600
    lake.add(
        COMPLETENESS, exchange="binance", symbol="BTCUSDT", hour_start=datetime.fromtimestamp(yesterday, UTC),
        minutes_expected=60, minutes_complete=30, minutes_repaired=15,
    )  # fmt: skip
    lake.add(
        "bronze.gaps", exchange="binance", symbol="XRPUSDT", gap_stream="trade", status="open", event_time=now,
        detail="REST does not answer.",
    )  # fmt: skip
    asking.follow(AlertsFile(digest=Digest(hour=0, destinations=("team",))))
    due: Any = until(asking.take)
    assert isinstance(due, DigestDue)
    assert (due.day, due.destinations) == (f"{now:%Y-%m-%d}", ("team",))
    assert "- binance BTCUSDT: 75 % (45 of 60 minutes)" in due.body
    assert "- binance XRPUSDT trade since" in due.body
    asked = asking.asked_at
    asking.follow(AlertsFile(digest=Digest(hour=0, destinations=("team",))))
    until(lambda: asking.asked_at > asked)
    assert asking.take() is None
