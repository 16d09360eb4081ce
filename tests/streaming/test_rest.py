"""The client against a real server on loopback that limits, refuses and breaks."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.symbol_manager import Symbol
from streaming import rest
from streaming.exchange import Request
from streaming.exchanges.binance import Binance
from streaming.rest import Refused, RestClient, Stopped, Unreachable
from tests.events import START
from tests.rest_venue import Refusal, RestVenue

BTC = Symbol(symbol="BTCUSDT", name="Bitcoin")


@pytest.fixture
def venue() -> Iterator[RestVenue]:
    server = RestVenue(START)
    yield server
    server.stop()


@pytest.fixture
def client(venue: RestVenue) -> Iterator[RestClient]:
    with RestClient(Binance("", venue.url)) as client:
        yield client


def recent(venue: RestVenue, weight: int = 25) -> Request:
    return Request(f"{venue.url}/api/v3/trades?symbol=BTCUSDT", weight)


def test_a_reply_is_given_as_it_came_and_microseconds_are_asked_for(venue: RestVenue, client: RestClient) -> None:
    venue.ids = {1, 2}
    reply = client.get(Binance("", venue.url).recent_trades_request(BTC))
    assert [row["id"] for row in json.loads(reply)] == [1, 2]
    [asked] = venue.asked
    assert {name.lower(): value for name, value in asked.headers.items()}["x-mbx-time-unit"] == "MICROSECOND"


@pytest.mark.parametrize("status", [429, 418])
def test_nothing_is_asked_before_retry_after_ends_by_any_thread(
    venue: RestVenue, client: RestClient, status: int, until: Callable[..., None]
) -> None:
    venue.refusals["trades"] = Refusal(status, "{}", (("Retry-After", "1"),), times=1)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(client.get, recent(venue))
        until(lambda: venue.asked)
        until(lambda: client._limits.reserve(0) > 0)
        with RestClient(Binance("", venue.url)) as other:
            second = pool.submit(other.get, recent(venue))
            first.result(10)
            second.result(10)
    refused, *others = [asked.at for asked in venue.asked]
    assert len(others) == 2
    assert min(others) - refused >= 1


def test_a_ban_outlives_the_process_that_met_it(
    venue: RestVenue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue.refusals["trades"] = Refusal(418, "{}", (("Retry-After", "2"),), times=1)
    met = threading.Event()
    with RestClient(Binance("", venue.url), met, tmp_path) as client, ThreadPoolExecutor() as pool:
        asking = pool.submit(client.get, recent(venue))
        while client._limits.reserve(0) == 0:
            time.sleep(0.01)
        met.set()
        with pytest.raises(Stopped):
            asking.result(10)
    monkeypatch.setattr(rest, "_limits", {})  # as in another process
    with RestClient(Binance("", venue.url), shared=tmp_path) as client:
        client.get(recent(venue))
    [refused, answered] = [asked.at for asked in venue.asked]
    assert answered - refused >= 1.9


@pytest.mark.parametrize("kept", ["", "soon", "-5", "4102444800", "inf"])
def test_a_note_of_a_ban_that_cannot_be_holds_nobody_up(
    venue: RestVenue, tmp_path: Path, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "_limits", {})
    tmp_path.joinpath("binance-closed-until").write_text(kept)
    with RestClient(Binance("", venue.url), shared=tmp_path) as client:
        assert client._limits.reserve(0) == 0


def test_a_limit_that_never_ends_is_a_refusal(
    venue: RestVenue, client: RestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "LIMITED", 2)
    venue.refusals["trades"] = Refusal(429, "{}", (("Retry-After", "0"),))
    with pytest.raises(Refused, match="HTTP 429") as caught:
        client.get(recent(venue))
    assert caught.value.status == 429


def test_the_weight_stays_below_the_share_of_the_limit(venue: RestVenue) -> None:
    stopping = threading.Event()
    venue.used = 4790  # of 6,000
    with RestClient(Binance("", venue.url), stopping) as client:
        client.get(recent(venue))
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(client.get, recent(venue))
            time.sleep(0.3)
            assert len(venue.asked) == 1
            stopping.set()
            with pytest.raises(Stopped):
                waiting.result(5)


def test_a_new_minute_of_the_exchange_gives_new_weight() -> None:
    limits = rest._Limits(1000)
    assert limits.reserve(500) == 0
    limits.heard(790, 0.05)
    assert 0 < limits.reserve(25) <= 0.05
    time.sleep(0.06)
    assert limits.reserve(25) == 0


def test_a_failing_server_is_asked_again(venue: RestVenue, client: RestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    venue.refusals["trades"] = Refusal(503, times=2)
    assert client.get(recent(venue)) == b"[]"
    assert len(venue.asked) == 3


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "ATTEMPTS", 2)
    with RestClient(Binance("", "http://127.0.0.1:9")) as client, pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        client.get(Request("http://127.0.0.1:9/api/v3/time", 1))


@pytest.mark.parametrize(
    ("refusal", "words", "code"),
    [
        (Refusal(400, '{"code":-1121,"msg":"Invalid symbol."}'), r"Invalid symbol\. \(code -1121\)", -1121),
        (Refusal(403, "<html>"), "does not serve every country", None),
        (Refusal(451, ""), "does not serve every country", None),
        (Refusal(401, '{"code":-2014,"msg":"API-key format invalid."}'), "wants a key", None),
        (Refusal(404, "not here"), "HTTP 404", None),
    ],
)
def test_a_refusal_is_told_in_a_sentence_and_not_repeated(
    venue: RestVenue, client: RestClient, refusal: Refusal, words: str, code: int | None
) -> None:
    venue.refusals["trades"] = refusal
    with pytest.raises(Refused, match=words) as caught:
        client.get(recent(venue))
    assert (caught.value.status, caught.value.code) == (refusal.status, code)
    assert len(venue.asked) == 1


def test_stopping_ends_a_wait(venue: RestVenue, until: Callable[..., None]) -> None:
    stopping = threading.Event()
    venue.refusals["trades"] = Refusal(429, "{}", (("Retry-After", "600"),))
    with RestClient(Binance("", venue.url), stopping) as client, ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.get, recent(venue))
        until(lambda: venue.asked)
        stopping.set()
        with pytest.raises(Stopped):
            waiting.result(5)
