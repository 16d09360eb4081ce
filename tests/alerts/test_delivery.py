from alerts.delivery import Message, is_address, send, without_secrets
from tests.alerts.conftest import Receiver

MESSAGE = Message("fired", "critical", "CRITICAL: disk, disk", "It is full.", "key-1")


def test_a_webhook_gets_title_text_and_the_key_by_which_it_knows_the_message_again(receiver: Receiver) -> None:
    assert send(receiver.url, MESSAGE) == ""
    (got,) = receiver.taken
    assert (got["title"], got["message"], got["key"]) == ("CRITICAL: disk, disk", "It is full.", "key-1")
    assert (got["about"], got["severity"], got["type"]) == ("fired", "critical", "failure")


def test_an_end_is_a_success(receiver: Receiver) -> None:
    assert send(receiver.url, MESSAGE._replace(about="resolved")) == ""
    assert receiver.taken[0]["type"] == "success"


def test_a_destination_that_refuses_says_why_and_shows_no_secret(receiver: Receiver) -> None:
    receiver.status = 500
    answer = send(f"json://user:pa55word@127.0.0.1:{receiver.port}/t0psecret?+X-Token=h1dden", MESSAGE)
    assert "500" in answer
    for secret in ("pa55word", "t0psecret", "h1dden"):
        assert secret not in answer


def test_a_destination_that_is_not_there_does_not_take_it(receiver: Receiver) -> None:
    receiver.close()
    try:
        assert send(receiver.url, MESSAGE)
    finally:
        receiver.__init__()  # type: ignore[misc] # the fixture closes it


def test_what_apprise_knows_is_an_address_and_nothing_else() -> None:
    assert is_address("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general")
    assert is_address("mailto://user:password@gmail.com")
    assert not is_address("nowhere://x")
    assert not is_address("https://example.org/hook")
    assert not is_address("")


def test_parts_of_an_address_are_taken_out_also_where_they_are_quoted() -> None:
    said = without_secrets("tried tok%2Fen and tok/en at example.org", "jsons://example.org/tok%2Fen")
    assert said == "tried *** and *** at example.org"
