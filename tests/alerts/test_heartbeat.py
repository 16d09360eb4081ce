from collections.abc import Iterator

import pytest

from alerts.heartbeat import Heartbeat
from tests.alerts.conftest import Receiver, until


class Evaluation:
    def __init__(self) -> None:
        self.faults: dict[str, str] = {}
        self.asked = 0

    def ask(self) -> dict[str, str]:
        self.asked += 1
        return self.faults


@pytest.fixture
def evaluation() -> Evaluation:
    return Evaluation()


@pytest.fixture
def heartbeat(receiver: Receiver, evaluation: Evaluation) -> Iterator[Heartbeat]:
    url = f"http://127.0.0.1:{receiver.port}/beat"
    made = Heartbeat(lambda: url, evaluation.ask, seconds=0.02)
    made.start()
    yield made
    made.stop()
    made.join()


@pytest.mark.usefixtures("heartbeat")
def test_the_heart_beats_only_while_every_rule_is_evaluated(receiver: Receiver, evaluation: Evaluation) -> None:
    until(lambda: len(receiver.taken) >= 2)
    assert receiver.taken[0] == {"path": "/beat"}
    evaluation.faults = {"failed_run": "Dagster does not answer"}
    silent_from = evaluation.asked + 1
    until(lambda: evaluation.asked > silent_from)
    beats, asked = len(receiver.taken), evaluation.asked
    until(lambda: evaluation.asked >= asked + 5)
    assert len(receiver.taken) == beats
    evaluation.faults = {}
    until(lambda: len(receiver.taken) > beats)


@pytest.mark.usefixtures("heartbeat")
def test_a_switch_that_does_not_answer_ends_nothing(receiver: Receiver) -> None:
    receiver.status = 500
    until(lambda: receiver.refused >= 2)
    receiver.status = 200
    until(lambda: receiver.taken)
