"""Whatever a request, a page or Kafka says: a sentence, no fault of ours, and the dashboard goes on."""

import json
import time
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import strategies as st
from kafka import KafkaProducer
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from dashboard.__main__ import LARGEST_WISH
from dashboard.api.gold import GOLD
from dashboard.api.market import NAMES
from dashboard.bars import INTERVALS
from shared.events import encode
from shared.symbol_manager import topic
from tests.bad_input import BYTES, DEEP, JSON, TEXTS, answer, for_a_while, no_more_memory, part, refuses_raw
from tests.dashboard.conftest import Served, eventually
from tests.dashboard.made_market import PAIRS, trade

pytestmark = pytest.mark.bad_input

GOOD: dict[str, list[str]] = {
    "symbol": list(PAIRS),
    "exchange": ["binance"],
    "interval": list(INTERVALS),
    "name": list(GOLD),
    "columns": NAMES,
    "number": ["1"],
    "since": ["2026-01-01", "0"],
    "start": ["2026-01-01", "0", "2026-11-20T00:00:00+14:00"],
    "end": ["2036-01-01", "9999-12-31"],
    "format": ["json", "csv", "arrow"],
    "limit": ["1", "5000"],
    "by": ["minute", "hour", "day"],
    "latest": ["true"],
}
"""By parameter, values that are right, so that bad ones beside them get further."""
BROKEN = [
    None, b"", b"\0", b"null", b"[]", b"{", DEEP.encode(), b'{"stream":"trade","x":' + DEEP.encode(), b"\xff" * 50,
    b'{"stream":"trade"}', b'{"stream":' + b"9" * 5000 + b"}",
]  # fmt: skip
"""Messages that are no events."""


def port(served: Served) -> int:
    return urlsplit(served.url).port or 0


def asked(method: str, path: str, parameters: list[dict[str, Any]]) -> st.SearchStrategy[tuple[str, str]]:
    """Requests to an endpoint, as method and address: for the parameters that it takes, and others."""

    def values(name: str) -> st.SearchStrategy[str | bytes]:
        return st.one_of(st.sampled_from(GOOD[name]), TEXTS) if name in GOOD else TEXTS

    names = [one["name"] for one in parameters if one["in"] == "query"]
    needed = {one: values(one) for one in names if one == "symbol"}
    right = st.fixed_dictionaries(needed, optional={one: values(one) for one in names if one not in needed})
    wrong = st.lists(st.tuples(st.sampled_from([*names, "exchange"]) | TEXTS, TEXTS), max_size=5)
    query = right.map(lambda chosen: list(chosen.items())) | wrong
    inside = {one["name"]: values(one["name"]) for one in parameters if one["in"] == "path"}

    def address(made: tuple[list[tuple[str | bytes, str | bytes]], dict[str, str | bytes]]) -> tuple[str, str]:
        given, places = made
        where = path
        for name, value in places.items():
            where = where.replace(f"{{{name}}}", part(value))
        return method, where + "?" + "&".join(f"{part(name)}={part(value)}" for name, value in given)

    return st.tuples(query, st.fixed_dictionaries(inside)).map(address)


def test_no_parameter_of_the_api_is_answered_by_a_fault(served: Served, fuzz_seconds: float) -> None:
    paths = served.get("openapi.json").json()["paths"]
    requests = st.one_of(
        asked(method, path, what.get("parameters", []))
        for path, methods in paths.items()
        for method, what in methods.items()
    )
    folders = st.sampled_from(["/", "/static/", "/api/", "/docs/"])
    pages = st.tuples(folders, TEXTS).map(lambda made: ("get", made[0] + part(made[1])))
    with httpx.Client(base_url=served.url, timeout=30, headers={"Content-Type": "application/json"}) as client:

        def tried(request: tuple[str, str]) -> None:
            got = client.request(*request)
            assert got.status_code < 500, (request, got.text)
            if got.status_code >= 400 and request[1].startswith("/api"):
                assert len(got.json()["error"].splitlines()) == 1
            assert b"root:" not in got.content

        with no_more_memory():
            for_a_while(fuzz_seconds, requests | pages, tried)
    assert served.get("about").status_code == 200


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"])
def test_a_time_that_utc_does_not_have_is_refused(served: Served, at: str) -> None:
    asked = {"candles": {"symbol": "BTCUSDT", "start": at}, "gaps": {"end": at}, "alerts": {"end": at}}
    for path, values in asked.items():
        refused = served.get(path, **values)
        assert (refused.status_code, "outside the years" in refused.json()["error"]) == (400, True)


def test_a_column_is_given_many_values_but_not_endless_ones(served: Served) -> None:
    metric = [("metric", "volatility")]
    assert httpx.get(f"{served.url}/api/v1/gold/risk_metrics", params=metric * 200).status_code == 200
    refused = httpx.get(f"{served.url}/api/v1/gold/risk_metrics", params=metric * 201)
    assert (refused.status_code, "200 is the most" in refused.json()["error"]) == (400, True)


def test_what_is_no_http_is_refused(served: Served, fuzz_seconds: float) -> None:
    refuses_raw(port(served), fuzz_seconds)


@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\nHost: ", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_an_endless_request_is_cut(served: Served, begin: bytes) -> None:
    more = b"a: b\r\n" if begin.endswith(b"\n") else b"a"
    with no_more_memory(100):
        said = answer(port(served), begin + more * (200_000_000 // len(more)))
    assert said == b"" or said.startswith(b"HTTP/1.1 400")


def test_whatever_a_page_says_it_is_told_and_the_socket_goes_on(served: Served, fuzz_seconds: float) -> None:
    address = served.url.replace("http", "ws") + "/api/v1/live"
    names = {name: st.text(max_size=40) for name in ("symbol", "exchange", "interval")}
    wishes = st.one_of(
        JSON,
        BYTES,
        st.sampled_from(["[" * LARGEST_WISH, '{"x":' + "[" * 4000, b"\xff\xfe", b"{}"]),
        st.fixed_dictionaries({}, optional=names).map(json.dumps),
    ).filter(lambda said: len(said) <= LARGEST_WISH)
    with no_more_memory(), connect(address, close_timeout=1) as socket:

        def tried(said: str | bytes) -> None:
            socket.send(said)
            with suppress(TimeoutError):  # a page that reads nothing is cut off
                while True:
                    socket.recv(timeout=0)

        for_a_while(fuzz_seconds, wishes, tried)
        socket.send(json.dumps({"symbol": "BTCUSDT"}))
        eventually("its price comes", lambda: "BTCUSDT" in str(socket.recv(timeout=10)))


def test_a_frame_that_is_none_ends_that_socket_alone(served: Served, fuzz_seconds: float) -> None:
    hello = (
        b"GET /api/v1/live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    begun = (b"\x81\xff" + b"\xff" * 8, b"\x89\xfe\xff\xff", b"\x88\x80", b"\xf1\x80aaaa")
    frames = st.lists(st.binary(max_size=60) | st.sampled_from(begun), max_size=4)
    for_a_while(fuzz_seconds, frames, lambda said: answer(port(served), hello + b"".join(said)))
    assert served.get("about").status_code == 200
    with connect(served.url.replace("http", "ws") + "/api/v1/live") as socket:
        socket.send("a" * (LARGEST_WISH + 1))
        with pytest.raises(ConnectionClosed):
            list(iter(partial(socket.recv, timeout=10), None))


def test_after_messages_that_are_no_events_the_page_moves_on(served: Served) -> None:
    symbol = "BNBUSDT"  # of which test_live needs no trades but its own
    whole = encode(trade(symbol, int(time.time() * 1e6), 4_000_000, "203.5"))
    changes = [
        *({"price": price} for price in ("NaN", "Infinity", "1E+999999999", "0E-999999", "9" * 60, "")),
        *({"trade_id": number} for number in (2**63, -(2**63), 10**300)),
        {"event_time": int((time.time() + 3600) * 1e6)},
    ]
    numbers = [json.dumps(json.loads(whole) | change).encode() for change in changes]
    sender = KafkaProducer(bootstrap_servers=served.kafka.settings.kafka)
    for value in (*BROKEN, *numbers, whole[:-9], whole.replace(b"binance", b"\xff\xfe\xfd")):
        sender.send(topic(symbol), value, b"\xff:trade", headers=[("a", b"\xff")])
    sender.close()
    ids = iter(range(4_000_001, 5_000_000))

    def has_moved() -> bool:
        served.stream.send(trade(symbol, int(time.time() * 1e6), next(ids), "1100.5"))
        return any(float(row["high"]) == 1100.5 for row in served.rows("candles", symbol=symbol, limit=2))

    eventually("a trade after them is in its candle", has_moved)
    assert httpx.get(f"{served.url}/health").json()["feed"] == ""
