"""After the drills, against the simulator's truth: each test's name is a promise. Those of tests/chaos hold here."""

from collections import Counter
from collections.abc import Callable

import pytest

from deployment import probes
from tests.chaos import test_chaos
from tests.chaos.judge import Judge
from tests.drills.conftest import Drills
from tests.integration.test_alerts import rows
from tests.system import wait_for

PROMISES = (
    test_chaos.test_no_trade_is_lost,
    test_chaos.test_no_trade_is_doubled,
    test_chaos.test_no_trade_is_invented,
    test_chaos.test_every_trade_has_the_price_quantity_and_time_that_it_was_made_with,
    test_chaos.test_no_candle_of_the_exchange_is_doubled_and_each_finished_one_is_the_one_that_was_made,
    test_chaos.test_no_snapshot_or_ticker_is_doubled,
    test_chaos.test_every_trade_that_was_not_sent_is_on_record_as_a_gap,
    test_chaos.test_every_trade_that_came_by_rest_was_on_record_as_a_gap,
    test_chaos.test_every_finished_candle_that_was_not_sent_is_on_record_as_a_gap,
    test_chaos.test_every_gap_that_can_be_repaired_is_repaired,
    test_chaos.test_no_gap_of_tickers_or_snapshots_says_that_it_was_repaired,
    test_chaos.test_a_minute_has_a_candle_exactly_where_something_was_traded,
    test_chaos.test_no_minute_says_complete_or_repaired_that_differs_from_what_was_made,
    test_chaos.test_no_minute_says_trade_ids_that_lacks_a_trade,
    test_chaos.test_every_minute_says_what_follows_from_what_was_done,
    test_chaos.test_a_minute_says_repaired_exactly_where_something_of_it_came_by_rest,
)
UNDER_WAY = "[QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING]"


def test_all_is_settled_in_time(judge: Judge, drills: Drills) -> None:
    assert not drills.unsettled, f"{drills.unsettled}\n{judge.how_to_repeat}"


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__.removeprefix("test_"))
def test_it_is_kept(judge: Judge, promise: Callable[[Judge], None]) -> None:
    promise(judge)


@pytest.mark.parametrize("stream", ["ticker", "depth5"])
def test_every_outage_is_on_record_as_lost_where_nobody_can_give_it_again(judge: Judge, stream: str) -> None:
    test_chaos.test_every_outage_is_on_record_as_lost_where_nobody_can_give_it_again(judge, stream)


def test_nothing_is_refused(judge: Judge, drills: Drills) -> None:
    """The exchange sent nothing wrong, so neither is a dead letter nor a row in quarantine, under whatever clock."""
    assert judge.facts.rows("from dead_letters") == []
    assert drills.system.query("select * from bronze.quarantine") == []


def test_no_run_is_stuck(judge: Judge, drills: Drills) -> None:
    """Of the runs that were there when it became calm each ends."""
    [known] = judge.facts.rows("select max(until) as until from judged")
    begun = f"statuses: {UNDER_WAY}, createdBefore: {known['until'] / 1e6}"
    asked = f"{{ runsOrError(filter: {{{begun}}}) {{ ... on Runs {{ results {{ runId }} }} }} }}"
    settings = drills.system.settings()
    wait_for("each run has ended", lambda: not probes.graphql(settings, asked, 60)["runsOrError"]["results"], every=5)


def test_no_alert_is_lost_doubled_or_invented(judge: Judge, drills: Drills) -> None:
    """A level is crossed by trades that came by WebSocket; those of a repair are no news."""
    expected = []
    for rule, level in drills.levels.items():
        found = judge.facts.rows(f"""
            with seen as (
                select event_time, price, lag(price) over (order by trade_id) as before
                from trades where symbol = 'BTCUSDT' and source = 'websocket'
            )
            select event_time from seen
            where before < {level} and price >= {level}
            and event_time > {drills.alerted_from} and event_time < {drills.until}""")
        expected += [(rule, crossing["event_time"]) for crossing in found]
    assert expected, "no level was crossed, so nothing was shown"
    fired = f"""
        select rule, (extract(epoch from happened_at) * 1000000)::bigint from alerts.alerts
        where kind = 'price_crosses' and happened_at > to_timestamp({drills.alerted_from} / 1e6)
        and happened_at < to_timestamp({drills.until} / 1e6)"""
    assert Counter(rows(drills.system, fired)) == Counter(expected)


def test_every_alert_was_delivered(drills: Drills) -> None:
    waits = "select 1 from alerts.outbox where delivered_at is null"
    wait_for("no alert waits to be delivered", lambda: not rows(drills.system, waits), every=1)
    kept = {key for [key] in rows(drills.system, "select key::text from alerts.outbox")}
    assert kept <= {message["key"] for _, message in drills.told.messages}
