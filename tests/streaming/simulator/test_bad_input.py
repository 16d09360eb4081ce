"""Whatever is asked of the simulated exchange, it answers by a refusal at most, and goes on."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from hypothesis import strategies as st
from yarl import URL

from streaming.simulator.rest import INTERVALS
from tests.bad_input import BYTES, DEEP, JSON, TEXTS, for_a_while, no_more_memory, part, refuses_raw
from tests.streaming.simulator.client import OPTIONS, Api, serving

pytestmark = pytest.mark.bad_input

CALLS = ("ping", "time", "exchangeInfo", "klines", "trades", "historicalTrades", "aggTrades", "depth")
PATHS = (
    *(f"/api/v3/{name}" for name in CALLS), "/api/v3/ticker/24hr?symbol=BTCUSDT", "/truth/market", "/truth/trades",
    "/truth/sent", "/truth/klines", "/truth/planted", "/truth/faults", "/faults",
)  # fmt: skip
TIMES = ["0", str(2**63 - 1), str(-(10**30)), str(10**30)]
GOOD = {
    "symbol": ["BTCUSDT"], "interval": list(INTERVALS), "limit": ["2", "1000"], "fromId": ["1", str(2**63 - 1)],
    "startTime": TIMES, "endTime": TIMES, "timeUnit": ["MICROSECOND"],
    "symbols": ['["BTCUSDT"]', '["\\ud800"]', "[" * 4000],
}  # fmt: skip
FOLDERS = ("/data/spot/", "/ws/", "/api/v3/")
PLACES = st.sampled_from(PATHS) | st.tuples(st.sampled_from(FOLDERS), TEXTS).map(lambda made: made[0] + part(made[1]))
VALUES = st.sampled_from(sorted(GOOD)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(GOOD[name]) | TEXTS)
)
ADDRESSES = st.tuples(PLACES, st.lists(VALUES, max_size=4)).map(
    lambda made: made[0] + "&?"["?" not in made[0]] + "&".join(f"{name}={part(value)}" for name, value in made[1])
)
NO_FAULTS = (
    '{"kind":"cut","at":Infinity}', '{"kind":"cut","at":1e308}', '{"kind":"cut","every":1e-300}', '{"kind":[]}', DEEP,
    '{"kind":"chaos","minutes":NaN}', '{"kind":"late_kline","at":9,"seed":Infinity}', '{"id":1e999}',
    '{"kind":"chaos","symbols":5}',
)  # fmt: skip
FAULTS = JSON | BYTES | st.sampled_from(NO_FAULTS)
STRANGE = (
    DEEP, '{"method":"\\ud800","id":1}', '{"method":[],"id":1}', '{"method":"SUBSCRIBE","params":[[]],"id":1}',
    '{"method":"SUBSCRIBE","params":["\\ud800@trade"],"id":1}', '{"method":"LIST_SUBSCRIPTIONS","id":2}',
    '{"method":"GET_PROPERTY","params":[{}],"id":1}', '{"method":"SUBSCRIBE","params":5}', '{"id":' + "9" * 5000 + "}",
)  # fmt: skip
SAID = st.lists(JSON | BYTES | st.sampled_from(STRANGE), min_size=1, max_size=5)
"""Five a second are taken."""


def with_a_simulator(scenario: Callable[[Api, Callable[[Awaitable[Any]], Any]], None]) -> None:
    """Run it in a thread, beside a simulator; it is given what runs an awaitable in the simulator's loop."""

    async def serve() -> None:
        async with serving(OPTIONS) as api:
            loop = asyncio.get_running_loop()

            async def awaited(what: Awaitable[Any]) -> Any:
                return await what

            def run(what: Awaitable[Any]) -> Any:
                return asyncio.run_coroutine_threadsafe(awaited(what), loop).result(60)

            await asyncio.to_thread(scenario, api, run)
            await api.get("/truth/market")

    asyncio.run(serve())


def test_no_request_is_answered_by_a_fault(fuzz_seconds: float) -> None:
    def scenario(api: Api, run: Callable[[Awaitable[Any]], Any]) -> None:
        async def status(address: str) -> int:
            url = URL(f"http://{api.address}{address}", encoded=True)
            async with api.session.get(url) as reply:
                await reply.read()
                return reply.status

        def tried(address: str) -> None:
            assert run(status(address)) < 500, address

        with no_more_memory():
            for_a_while(fuzz_seconds, ADDRESSES, tried)

    with_a_simulator(scenario)


@pytest.mark.parametrize(
    "address",
    [
        f"/api/v3/depth?symbol=BTCUSDT&limit={'9' * 5000}",
        f"/api/v3/exchangeInfo?symbols={'[' * 4000}",
        f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={2**63 - 1}",
        f"/truth/trades?symbol=BTCUSDT&fromId={10**30}",
        f"/truth/klines?symbol=BTCUSDT&startTime={-(10**30)}&endTime={10**400}",
    ],
)
def test_what_is_too_great_or_too_deep_is_refused(address: str) -> None:
    def scenario(api: Api, run: Callable[[Awaitable[Any]], Any]) -> None:
        async def status() -> int:
            async with api.session.get(URL(f"http://{api.address}{address}", encoded=True)) as reply:
                return reply.status

        assert run(status()) in (200, 400)

    with_a_simulator(scenario)


def test_no_fault_that_is_asked_for_wrongly_is_a_fault_of_ours(fuzz_seconds: float) -> None:
    def scenario(api: Api, run: Callable[[Awaitable[Any]], Any]) -> None:
        async def status(path: str, body: str | bytes, kind: str) -> int:
            headers = {"Content-Type": f"application/json; charset={kind}"}
            async with api.session.post(f"http://{api.address}{path}", data=body, headers=headers) as reply:
                await reply.read()
                return reply.status

        def tried(asked: tuple[str, str | bytes, str]) -> None:
            assert run(status(*asked)) < 500, asked

        kinds = st.sampled_from(["utf-8", "utf-16", "none"])
        asked = st.tuples(st.sampled_from(["/faults", "/faults/end"]), FAULTS, kinds)
        with no_more_memory():
            for_a_while(fuzz_seconds, asked, tried)

    with_a_simulator(scenario)


def test_whatever_a_client_says_it_is_answered_or_ended_alone(fuzz_seconds: float) -> None:
    def scenario(api: Api, run: Callable[[Awaitable[Any]], Any]) -> None:
        async def said(texts: list[str | bytes]) -> None:
            async with api.socket("/ws") as socket:
                for text in texts:
                    await (socket.send_str(text) if isinstance(text, str) else socket.send_bytes(text))
                    if isinstance(text, str):
                        reply = await socket.receive()
                        assert reply.type == aiohttp.WSMsgType.TEXT, (text[:100], reply)
                        assert json.loads(reply.data).keys() >= {"id"}

        for_a_while(fuzz_seconds, SAID, lambda texts: run(said(texts)))

    with_a_simulator(scenario)


def test_what_is_no_http_is_refused(fuzz_seconds: float) -> None:
    with_a_simulator(lambda api, _run: refuses_raw(int(api.address.rpartition(":")[2]), fuzz_seconds))
