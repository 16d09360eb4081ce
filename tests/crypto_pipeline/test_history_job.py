"""What the sensor of the history asks for next."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_pipeline import history_job
from crypto_pipeline.history_job import Progress, Wish, history_of_new_symbols, last_selected, next_wish

TODAY = date(2026, 11, 21)
BOTH = ["binance:BTCUSDT", "binance:ETHUSDT"]


def test_new_symbols_get_their_last_days_in_one_run() -> None:
    assert next_wish({}, BOTH, TODAY, 30, 400) == Wish(tuple(BOTH), "2026-10-22", days=30)


def test_a_symbol_that_is_added_later_comes_before_older_history() -> None:
    wish = next_wish({BOTH[0]: "2026-10-22"}, BOTH, TODAY, 30, 400)
    assert wish == Wish((BOTH[1],), "2026-10-22", days=30)


def test_older_history_comes_a_month_at_a_time_the_newest_first() -> None:
    reached = dict.fromkeys(BOTH, "2026-10-22")
    assert next_wish(reached, BOTH, TODAY, 30, 400) == Wish(tuple(BOTH), "2026-10-01", month="2026-10")
    reached = dict.fromkeys(BOTH, "2026-10-01")
    assert next_wish(reached, BOTH, TODAY, 30, 400) == Wish(tuple(BOTH), "2026-09-01", month="2026-09")


def test_of_symbols_that_are_not_equally_far_the_newest_month_comes_first_and_for_those_that_lack_it() -> None:
    reached = {BOTH[0]: "2026-08-01", BOTH[1]: "2026-10-22"}
    assert next_wish(reached, BOTH, TODAY, 30, 400) == Wish((BOTH[1],), "2026-10-01", month="2026-10")


def test_nothing_is_asked_for_when_all_is_there_or_nothing_is_wanted() -> None:
    assert next_wish(dict.fromkeys(BOTH, "2025-10-01"), BOTH, TODAY, 30, 400) is None
    assert next_wish({}, BOTH, TODAY, 0, 0) is None


@settings(deadline=None)
@given(days=st.integers(0, 60), later=st.integers(0, 800))
def test_it_comes_to_an_end_that_reaches_far_enough(days: int, later: int) -> None:
    reached: dict[str, str] = {}
    for _ in range(40):
        wish = next_wish(reached, BOTH, TODAY, days, later)
        if wish is None:
            break
        reached |= dict.fromkeys(wish.series, wish.until)
    else:
        raise AssertionError("it never ends")
    for day in reached.values():
        assert (TODAY - date.fromisoformat(day)).days >= max(days, later)


def test_what_the_sensor_remembers_survives_its_cursor() -> None:
    wish = Wish(("a", "b"), "2026-10-01", month="2026-10")
    progress = Progress({"binance:BTCUSDT": "2026-10-22"}, wish, 3, {"binance:TYPOUSDT": "2026-11-21T10:00:00+00:00"})
    assert Progress.of(progress.kept()) == progress
    assert Progress.of(None) == Progress()
    assert Progress.of('{"number": 2, "not_before": "2026-11-21T10:00:00"}') == Progress(number=2)


def test_a_series_that_cannot_be_had_stops_no_other() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    wanted = [*BOTH, "binance:TYPOUSDT"]
    progress, asked = Progress(), []
    for minute in range(0, 400, 5):
        at = now + timedelta(minutes=minute)
        wish = progress.next(wanted, at, 30, 90)
        if wish is None:
            continue
        asked.append(wish.series)
        progress = replace(progress, wish=wish).after(at, is_done="binance:TYPOUSDT" not in wish.series)
    assert all(day <= "2026-08-23" for day in progress.reached.values())
    assert set(progress.reached) == set(BOTH)
    assert asked[0] == tuple(wanted)
    assert ("binance:TYPOUSDT",) in asked
    assert sum("binance:TYPOUSDT" in series for series in asked) < 10, "it is not asked for all the time"


def test_after_a_run_that_was_ended_all_series_line_up_again() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    wanted = [f"binance:S{number}USDT" for number in range(9)]
    first = Progress().next(wanted, now, 30, 90)
    progress = replace(Progress(), wish=first).after(now, is_done=False)
    asked = []
    now += timedelta(minutes=5)
    while wish := progress.next(wanted, now, 30, 90):
        asked.append(wish)
        progress = replace(progress, wish=wish).after(now, is_done=True)
    assert [wish.days for wish in asked[:9]] == [30] * 9, "the last days of each come first"
    assert all(len(wish.series) == 9 for wish in asked[9:])


def test_symbols_that_a_selector_chose_last_are_wanted_too() -> None:
    early, late = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC)
    rows = [
        {"exchange": "binance", "symbol": symbol, "selector": selector, "event_time": at}
        for symbol, selector, at in [
            ("GONEUSDT", "USDT top 2", early),
            ("BTCUSDT", "USDT top 2", late),
            ("NEWUSDT", "USDT top 2", late),
            ("ETHBTC", "BTC top 1", early),
        ]
    ]
    assert last_selected(rows) == ["binance:BTCUSDT", "binance:ETHBTC", "binance:NEWUSDT"]
    assert last_selected([]) == []


def test_a_run_that_failed_is_asked_for_again_after_a_while() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = history_of_new_symbols(dg.build_sensor_context(instance))
        assert isinstance(first, dg.SensorResult)
        assert first.run_requests
        assert first.run_requests[0].job_name == "newest_history"
        # The run was never made: it counts as failed.
        second = history_of_new_symbols(dg.build_sensor_context(instance, cursor=first.cursor))
        assert isinstance(second, dg.SensorResult)
        assert not second.run_requests
        progress = Progress.of(second.cursor)
        assert progress.wish is None
        assert progress.not_before


def test_the_run_of_a_sensor_whose_cursor_was_reset_is_not_taken_for_an_earlier_one() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first, again = (history_of_new_symbols(dg.build_sensor_context(instance)) for _ in range(2))
    assert isinstance(first, dg.SensorResult)
    assert isinstance(again, dg.SensorResult)
    assert first.run_requests
    assert again.run_requests
    assert first.run_requests[0].run_key != again.run_requests[0].run_key


def test_no_run_is_asked_for_while_the_disk_has_no_room_and_then_all_that_was_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        with monkeypatch.context() as full:
            full.setattr(history_job, "imports_wait", lambda _settings: "Imports wait.")
            waits = history_of_new_symbols(dg.build_sensor_context(instance))
            repairs = history_job.repairs(dg.build_schedule_context(instance))
        assert isinstance(waits, dg.SensorResult)
        assert (waits.run_requests, str(waits.skip_reason)) == ([], str(dg.SkipReason("Imports wait.")))
        assert repairs == dg.SkipReason("Imports wait.")
        monkeypatch.setattr(history_job, "imports_wait", lambda _settings: "")
        then = history_of_new_symbols(dg.build_sensor_context(instance, cursor=waits.cursor))
        assert isinstance(then, dg.SensorResult)
        assert then.run_requests
        assert isinstance(history_job.repairs(dg.build_schedule_context(instance)), dg.RunRequest)
