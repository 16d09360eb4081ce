import threading
from functools import partial

import pytest

from crypto_pipeline import side_by_side as module
from crypto_pipeline.side_by_side import side_by_side


class Session:
    """Keeps tags by the thread, as Spark Connect's does."""

    def __init__(self) -> None:
        self._here = threading.local()

    def getTags(self) -> set[str]:  # noqa: N802
        return set(getattr(self._here, "tags", ()))

    def addTag(self, tag: str) -> None:  # noqa: N802
        self._here.tags = self.getTags() | {tag}


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(module, "is_remote", lambda: True)
    return Session()


def test_answers_come_in_the_order_of_the_questions_whichever_is_first(session: Session) -> None:
    last = threading.Event()

    def slow() -> str:
        assert last.wait(10)
        return "slow"

    def quick() -> str:
        last.set()
        return "quick"

    assert side_by_side(session, [slow, quick]) == ["slow", "quick"]  # type: ignore[arg-type]


def test_each_question_bears_the_tags_of_who_asks(session: Session) -> None:
    session.addTag("gold.risk_metrics:0123abcd")
    asked = side_by_side(session, [session.getTags] * 4)  # type: ignore[arg-type]
    assert asked == [{"gold.risk_metrics:0123abcd"}] * 4


def test_one_question_that_fails_is_raised(session: Session) -> None:
    with pytest.raises(ZeroDivisionError):
        side_by_side(session, [partial(int, 1), lambda: 1 // 0, partial(int, 2)])  # type: ignore[arg-type]


def test_nothing_asked_is_nothing_answered(session: Session) -> None:
    assert side_by_side(session, []) == []  # type: ignore[arg-type]
