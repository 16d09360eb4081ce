"""Whatever is asked of a replay, it answers by a refusal at most, and goes on."""

import asyncio
from urllib.error import HTTPError
from urllib.request import urlopen

import aiohttp
import pytest
from hypothesis import strategies as st

from streaming.simulator.rest import INTERVALS
from tests.bad_input import BYTES, JSON, TEXTS, for_a_while, no_more_memory, part, refuses_raw
from tests.crypto_pipeline.replay.conftest import NAME, START, Look, Playing

pytestmark = pytest.mark.bad_input

CALLS = (
    *("ping", "time", "exchangeInfo", "klines", "trades", "historicalTrades", "aggTrades", "depth"),
    *("ticker/24hr", "ticker/price", "ticker/bookTicker"),
)
TIMES = ["0", str(START // 1000), str(2**63 - 1), str(-(10**30)), str(10**30)]
GOOD = {
    "symbol": [NAME], "interval": list(INTERVALS), "limit": ["2", "1000"], "fromId": ["901", str(2**63 - 1)],
    "startTime": TIMES, "endTime": TIMES, "timeUnit": ["MICROSECOND"], "type": ["MINI"],
    "symbols": [f'["{NAME}"]', '["\\ud800"]', "[" * 4000],
}  # fmt: skip
PLACES = st.sampled_from(CALLS).map("/api/v3/".__add__) | st.tuples(st.sampled_from(["/ws/", "/api/v3/"]), TEXTS).map(
    lambda made: made[0] + part(made[1])
)
VALUES = st.sampled_from(sorted(GOOD)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(GOOD[name]) | TEXTS)
)
ADDRESSES = st.tuples(PLACES, st.lists(VALUES, max_size=4)).map(
    lambda made: made[0] + "?" + "&".join(f"{name}={part(value)}" for name, value in made[1])
)
SAID = st.lists(JSON | BYTES, min_size=1, max_size=5)


def status(url: str) -> int:
    """The status of the answer."""
    try:
        with urlopen(url, timeout=60) as answered:
            return int(answered.status)
    except HTTPError as refusal:
        with refusal:
            return refusal.code


def test_no_request_is_answered_by_a_fault(looked: Look, playing: Playing, fuzz_seconds: float) -> None:
    with playing(looked()) as address, no_more_memory():

        def tried(asked: str) -> None:
            assert status(f"http://{address}{asked}") < 500, asked

        for_a_while(fuzz_seconds, ADDRESSES, tried)


def test_whatever_a_client_says_others_are_answered(looked: Look, playing: Playing, fuzz_seconds: float) -> None:
    with playing(looked()) as address:

        async def said(texts: list[str | bytes]) -> None:
            async with aiohttp.ClientSession() as session, session.ws_connect(f"ws://{address}/ws") as socket:
                for text in texts:
                    await (socket.send_str(text) if isinstance(text, str) else socket.send_bytes(text))
            assert status(f"http://{address}/api/v3/ping") in (200, 429)  # 6,000 requests a minute are Binance's limit

        for_a_while(
            fuzz_seconds, st.lists(JSON | BYTES, min_size=1, max_size=5), lambda texts: asyncio.run(said(texts))
        )


def test_what_is_no_http_is_refused(looked: Look, playing: Playing, fuzz_seconds: float) -> None:
    with playing(looked()) as address:
        refuses_raw(int(address.rpartition(":")[2]), fuzz_seconds)
