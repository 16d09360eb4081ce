"""Messages to a real receiver: none lost, none doubled."""

from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from alerts.book import Fired
from alerts.kinds._kind import Finding
from alerts.kinds.disk import Disk
from alerts.rules import AlertsFile, Destination, Retry
from alerts.sending import Sending
from alerts.store import Store
from tests.alerts.conftest import Database, Receiver, until
from tests.alerts.trades import START

QUICK = Retry(first_seconds=0.02, longest_seconds=0.1)


def file(**urls: str) -> AlertsFile:
    return AlertsFile(destinations={name: Destination(url=SecretStr(url)) for name, url in urls.items()}, retry=QUICK)


def fired(number: int, *destinations: str) -> Fired:
    rule = Disk(name="disk", kind="disk", destinations=destinations)
    return Fired(rule, Finding(f"subject {number}", True, START, 1.0, "text"))


@pytest.fixture
def sent() -> list[tuple[str, bool]]:
    return []


@pytest.fixture
def sending(database: Database, sent: list[tuple[str, bool]]) -> Iterator[Sending]:
    made = Sending(lambda: Store(database.settings), lambda name, taken: sent.append((name, taken)))
    yield made
    made.stop()


@pytest.fixture
def another() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def numbers(receiver: Receiver) -> list[int]:
    return [int(title.rpartition(" ")[2]) for title in receiver.told]


def test_a_receiver_that_fails_for_a_while_gets_each_message_once_in_order(
    store: Store, sending: Sending, receiver: Receiver, sent: list[tuple[str, bool]]
) -> None:
    receiver.status = 503
    sending.follow(file(hook=receiver.url))
    for number in range(20):
        store.commit([fired(number, "hook")], {}, {})
    sending.wake()
    until(lambda: receiver.refused >= 4)
    receiver.status = 200
    until(lambda: len(receiver.taken) >= 20)
    until(lambda: store.waiting() == {})
    assert numbers(receiver) == list(range(20))
    assert len({message["key"] for message in receiver.taken}) == 20
    assert ("hook", False) in sent
    assert sent.count(("hook", True)) == 20


def test_one_that_is_down_keeps_no_other_waiting(
    store: Store, sending: Sending, receiver: Receiver, another: Receiver
) -> None:
    receiver.status = 500
    sending.follow(file(down=receiver.url, up=another.url))
    store.commit([fired(n, "down", "up") for n in range(5)], {}, {})
    sending.wake()
    until(lambda: len(another.taken) == 5)
    until(lambda: store.waiting() == {"down": 5})


def test_why_it_was_not_taken_is_kept_without_the_address(
    store: Store, sending: Sending, receiver: Receiver, database: Database
) -> None:
    receiver.status = 404
    sending.follow(file(hook=f"json://127.0.0.1:{receiver.port}/t0psecret"))
    store.commit([fired(1, "hook")], {}, {})
    sending.wake()
    answer: Callable[[], object] = lambda: database.rows("select answer from alerts.outbox")[0]["answer"]  # noqa: E731
    assert "404" in str(until(answer))
    assert "t0psecret" not in str(answer())


def test_an_address_that_changes_gets_what_waits(
    store: Store, sending: Sending, receiver: Receiver, another: Receiver
) -> None:
    receiver.status = 500
    sending.follow(file(hook=receiver.url))
    store.commit([fired(1, "hook")], {}, {})
    sending.wake()
    until(lambda: receiver.refused)
    sending.follow(file(hook=another.url))
    until(lambda: len(another.taken) == 1)
    assert receiver.taken == []


def test_each_wait_is_twice_as_long_up_to_the_longest() -> None:
    retry = Retry(first_seconds=2, longest_seconds=300)
    assert [retry.after(attempts) for attempts in (1, 2, 3, 8, 9, 1000)] == [2, 4, 8, 256, 300, 300]
