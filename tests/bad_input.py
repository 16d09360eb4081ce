"""Bad input for what listens: hostile values, requests that are none, and frames that are none."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import psutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DEEP = "[" * 100_000
HOSTILE = (
    "", "\0", "a\0b", "'; DROP TABLE x; --", "../../../../etc/passwd", "%00", "\r\nSet-Cookie: a=b", "-1", "0", "1e999",
    "NaN", "Infinity", "-0", "9" * 25, "9" * 5000, "null", "[]", "{}", "[" * 3000, "true", "١٢", "ß", "💥", "1e18",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "-99999999999999", b"\xff\xfe", b"\xed\xa0\x80",
)  # fmt: skip
TEXTS: st.SearchStrategy[str | bytes] = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=60),
    st.binary(max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(str),
)
_NO_JSON = ("", "{", "[1,", '"\\ud800"', '{"a":1e400}', '{"a":' + "9" * 5000 + "}", "nul", "\0", "[" * 3000)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
JSON: st.SearchStrategy[str] = _VALUES.map(json.dumps) | st.sampled_from(_NO_JSON)
BYTES: st.SearchStrategy[bytes] = st.binary(max_size=200) | JSON.map(str.encode)


def damaged(whole: bytes) -> st.SearchStrategy[bytes | None]:
    """Messages of Kafka: a JSON object of which one value, or a part, is another; none at all; anything."""
    fields = json.loads(whole)
    value = _VALUES | st.sampled_from([text for text in HOSTILE if isinstance(text, str)])
    number = st.sampled_from(["9" * 40, "1e999", "-1", "0.5", "NaN", "-0"])
    other = st.tuples(st.sampled_from(sorted(fields)), value.map(json.dumps) | number | st.just("[" * 5000))
    cut = st.tuples(st.integers(0, len(whole)), st.binary(max_size=30), st.integers(0, len(whole)))
    return st.one_of(
        st.none(),
        BYTES,
        other.map(lambda made: whole.replace(_member(fields, made[0]), f'"{made[0]}":{made[1]}'.encode())),
        cut.map(lambda made: whole[: made[0]] + made[1] + whole[made[2] :]),
    )


def _member(fields: dict[str, Any], name: str) -> bytes:
    return f'"{name}":{json.dumps(fields[name])}'.encode()


_LINES = (
    b"GET / HTTP/1.1", b"GET / HTTP/9.9", b"GET  /", b"POST /x HTTP/1.1", b"\0", b"HEAD * HTTP/1.1", b"PRI * HTTP/2.0",
    b"GET /" + b"%00" * 50 + b" HTTP/1.1", b"GET /../../etc/passwd HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b"Host: a",
    b"Host: a, b", b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: 5",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked, gzip", b"Connection: Upgrade", b"Upgrade: websocket",
    b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Version: 13", b"Expect: 100-continue", b"Range: bytes=9-1,-,5",
    b"If-Modified-Since: never", b"Accept: application/openmetrics-text; version=x; escaping=y", b"Accept: ,;=,",
    b"Accept-Encoding: gzip;q=x", b"Cookie: " + b"a" * 9000, b": b", b" folded", b"ffffffffffffffff", b"-1", b"",
)  # fmt: skip
_BEGINS = (b"GET / HTTP/1.1", b"GET /health HTTP/1.1", b"GET /metrics?name[]=%ff HTTP/1.1", b"")
RAW: st.SearchStrategy[bytes] = st.tuples(
    st.sampled_from(_BEGINS),
    st.lists(st.sampled_from(_LINES) | st.binary(max_size=80), max_size=8),
    st.binary(max_size=40),
).map(lambda parts: b"\r\n".join([parts[0], *parts[1], b"", parts[2]]))
"""What is nearly HTTP, and what is far from it."""


def for_a_while(
    seconds: float, strategy: st.SearchStrategy[Any], tried: Callable[[Any], object], at_least: int = 20
) -> None:
    """Try values until the time is over; of one that fails, hypothesis shows the simplest."""

    @settings(max_examples=at_least, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def some(value: Any) -> None:
        tried(value)

    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        some()


def part(value: str | bytes) -> str:
    """A value as it stands in an address."""
    return quote(value, safe="")


def answer(port: int, said: bytes) -> bytes:
    """What a port answers to these bytes, after which nothing more comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        with suppress(OSError):  # it may have hung up on us already
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
        heard = b""
        with suppress(ConnectionError):
            while received := connection.recv(65536):
                heard += received
    return heard


def refuses_raw(port: int, seconds: float) -> None:
    """What is no HTTP, or strange HTTP, is answered by no fault of the server's own."""

    def tried(said: bytes) -> None:
        assert b" 500 " not in answer(port, said).partition(b"\r\n")[0]

    for_a_while(seconds, RAW, tried)


@contextmanager
def no_more_memory(megabytes: int = 200) -> Iterator[None]:
    """This process, and the servers in it, hold hardly more at the end than at the start."""
    mine = psutil.Process(os.getpid())
    before = mine.memory_info().rss
    yield
    more = (mine.memory_info().rss - before) / 1e6
    assert more < megabytes, f"{more:.0f} MB more are held"
