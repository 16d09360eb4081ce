from alerts.book import Book, Fired, Key, Resolved
from alerts.kinds._kind import MINUTE, Finding
from alerts.kinds.disk import Disk

RULE = Disk(name="disk", kind="disk", cool_down_minutes=10)


def finding(minute: float, holds: bool | None = True, subject: str = "disk", occurrence: str = "") -> Finding:
    return Finding(subject, holds, round(minute * MINUTE), 1.0, f"at {minute}", occurrence)


def told(book: Book, *findings: Finding) -> list[str]:
    changes = [book.take(RULE, one) for one in findings]
    return ["" if change is None else type(change).__name__ for change in changes]


def test_an_alert_fires_once_and_resolves_once() -> None:
    answers = told(Book(), *[finding(n, holds) for n, holds in enumerate((True, True, False, False))])
    assert answers == ["Fired", "", "Resolved", ""]


def test_what_is_not_known_changes_nothing() -> None:
    assert told(Book(), finding(0, None), finding(1), finding(2, None), finding(3, False)) == [
        "", "Fired", "", "Resolved",
    ]  # fmt: skip


def test_what_comes_and_goes_fires_again_only_after_the_cool_down() -> None:
    times = [(0, True), (1, False), (2, True), (3, False), (9.9, True), (10, True), (11, False)]
    assert told(Book(), *[finding(*one) for one in times]) == ["Fired", "Resolved", "", "", "", "Fired", "Resolved"]


def test_a_subject_cools_down_by_itself() -> None:
    assert told(Book(), finding(0), finding(0, subject="other")) == ["Fired", "Fired"]


def test_an_event_within_the_cool_down_of_another_is_never_told() -> None:
    book = Book()
    assert told(book, finding(0, occurrence="a"), finding(5, occurrence="b"), finding(10, occurrence="c")) == [
        "Fired", "", "Fired",
    ]  # fmt: skip
    assert told(book, finding(5, occurrence="b")) == [""]


def test_of_events_that_are_found_together_the_earliest_is_told() -> None:
    found = [finding(8, occurrence="later"), finding(2, occurrence="earlier")]
    changes = Book().take_all(RULE, found, 20 * MINUTE)
    assert [change.finding.occurrence for change in changes if isinstance(change, Fired)] == ["earlier"]


def test_late_data_of_long_before_is_told_too() -> None:
    assert told(Book(), finding(60, occurrence="b"), finding(10, occurrence="a")) == ["Fired", "Fired"]


def test_an_alert_that_its_rule_no_longer_names_has_ended() -> None:
    book = Book()
    book.take_all(RULE, [finding(0), finding(0, subject="other")], 0)
    assert book.take_all(RULE, [finding(1)], MINUTE) == [Resolved(Key("disk", "other"), MINUTE, "It is over.")]
    assert book.active == {Key("disk", "disk")}


def test_the_alerts_of_a_rule_that_is_gone_end() -> None:
    book = Book([Key("gone", "disk"), Key("disk", "disk")])
    (change,) = book.keep([RULE], 5)
    assert isinstance(change, Resolved)
    assert change.key.rule == "gone"
    assert "no longer in config/alerts.yaml" in change.text


def test_the_cool_down_goes_on_after_a_restart() -> None:
    book = Book(last_fired=[("disk", "disk", 0)])
    assert told(book, finding(9), finding(10)) == ["", "Fired"]
