import time

import psycopg2
import pytest

from alerts.book import Book, Fired, Key, Resolved
from alerts.kinds._kind import MINUTE, Finding
from alerts.kinds.disk import Disk
from alerts.store import NotAloneError, Store
from alerts.watch import Memory
from tests.alerts.conftest import Database, until

START = int(time.time()) // 60 * MINUTE
"""A time of now: of what is long over no cool-down is kept."""
RULE = Disk(name="disk", kind="disk", severity="critical", destinations=("team", "phone"), cool_down_minutes=10)
FIRED = Fired(RULE, Finding("disk", True, START, 91.0, "It is full."))
RESOLVED = Resolved(Key("disk", "disk"), START + MINUTE, "It is not full.")


def test_an_alert_its_messages_and_the_place_in_kafka_are_kept_together(store: Store, database: Database) -> None:
    store.commit([FIRED], {"crypto_raw_btcusdt": {0: 7}}, {("above", "binance BTCUSDT"): Memory("d", b"{}")})
    assert store.book().active == {Key("disk", "disk")}
    assert store.offsets() == {"crypto_raw_btcusdt": {0: 7}}
    assert store.memories(["above"]) == {("above", "binance BTCUSDT"): Memory("d", b"{}")}
    sent = database.rows("select destination, about, title, body from alerts.outbox order by id")
    assert [row["destination"] for row in sent] == ["team", "phone"]
    assert sent[0]["title"] == "CRITICAL: disk, disk"
    assert sent[0]["body"] == "It is full."


def test_nothing_is_kept_of_a_batch_that_cannot_be_kept_whole(store: Store, database: Database) -> None:
    store.commit([FIRED], {"t": {0: 1}}, {})
    with pytest.raises(psycopg2.errors.UniqueViolation):  # the alert is active already
        store.commit([FIRED], {"t": {0: 2}}, {})
    assert store.offsets() == {"t": {0: 1}}
    assert len(database.rows("select 1 from alerts.outbox")) == 2


def test_who_was_told_that_it_fired_is_told_that_it_is_over(store: Store, database: Database) -> None:
    store.commit([FIRED], {}, {})
    store.commit([RESOLVED], {}, {})
    assert store.book().active == set()
    over = database.rows("select destination, title, body from alerts.outbox where about = 'resolved' order by id")
    assert [row["destination"] for row in over] == ["team", "phone"]
    assert over[0]["body"] == "It is not full."


def test_the_cool_down_of_a_resolved_alert_is_kept(store: Store) -> None:
    now = store.alerts(past=True, limit=1)
    assert now == []
    store.commit([FIRED, RESOLVED], {}, {})
    again = Finding("disk", True, START + 5 * MINUTE, 91.0, "It is full.")
    assert isinstance(store.book(), Book)
    assert store.book().take(RULE, again) is None
    assert store.book().take(RULE, again._replace(at=START + 10 * MINUTE))


def test_what_rules_that_are_gone_remembered_is_forgotten(store: Store) -> None:
    store.commit([], {}, {("old", "m"): Memory("d", b"{}"), ("new", "m"): Memory("d", b"{}")})
    assert set(store.memories(["new"])) == {("new", "m")}
    assert store.memories(["old", "new"]).keys() == {("new", "m")}


def test_two_do_not_evaluate_at_once_and_the_death_of_one_lets_the_other(store: Store, database: Database) -> None:
    other = Store(database.settings)
    store.be_alone()
    with pytest.raises(NotAloneError):
        other.be_alone()
    store.close()

    def takes_over() -> bool:
        try:
            other.be_alone()
        except NotAloneError:  # the server notices the death of the first a moment later
            return False
        return True

    until(takes_over)
    other.close()


def test_messages_wait_in_their_order_until_they_are_taken(store: Store) -> None:
    store.commit([FIRED], {}, {})
    store.commit([RESOLVED], {}, {})
    first = store.next_delivery("team")
    assert first
    assert (first.message.about, first.attempts) == ("fired", 0)
    store.not_delivered(first.number, "it is down", 60)
    waiting = store.next_delivery("team")
    assert waiting
    assert waiting.number == first.number
    assert waiting.attempts == 1
    assert 0 < waiting.wait <= 60
    store.delivered(first.number)
    second = store.next_delivery("team")
    assert second
    assert second.message.about == "resolved"
    assert store.waiting() == {"team": 1, "phone": 2}
    store.delivered(second.number)
    assert store.next_delivery("team") is None


def test_a_digest_is_kept_once_a_day(store: Store) -> None:
    assert store.commit_digest("2026-11-26", "text", ["team"])
    assert not store.commit_digest("2026-11-26", "text", ["team"])
    assert store.commit_digest("2026-11-27", "text", ["team"])
    assert store.waiting() == {"team": 2}


def test_an_alert_is_acknowledged_once_and_another_number_is_none(store: Store) -> None:
    store.commit([FIRED], {}, {})
    assert store.acknowledge(1)
    when = store.alerts(past=False, limit=10)[0]["acknowledged_at"]
    assert store.acknowledge(1)
    assert store.alerts(past=False, limit=10)[0]["acknowledged_at"] == when
    assert not store.acknowledge(99)


def test_what_is_over_for_long_is_removed_with_its_messages_and_what_is_active_stays(
    store: Store, database: Database
) -> None:
    store.commit([FIRED, RESOLVED], {}, {})
    store.commit([Fired(RULE, FIRED.finding._replace(subject="other"))], {}, {})
    store.commit_digest("2020-01-01", "text", ["team"])
    database.rows("update alerts.alerts set fired_at = now() - interval '9 days', "
                  "resolved_at = resolved_at - interval '8 days'")  # fmt: skip
    database.rows("update alerts.outbox set created_at = now() - interval '9 days'")
    store.trim(10)
    assert len(database.rows("select 1 from alerts.outbox")) == 7
    store.trim(7)
    assert [row["subject"] for row in store.alerts(past=True, limit=9)] == ["other"]
    assert len(database.rows("select 1 from alerts.outbox")) == 2
    assert database.rows("select 1 from alerts.digests") == []
