"""A client of the replay: what it is sent, and what it is told at which time."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from crypto_pipeline.replay import player, server
from crypto_pipeline.replay.messages import places
from crypto_pipeline.replay.server import Options, serve
from crypto_pipeline.replay.stored import MINUTE, Stored
from shared.settings import Settings
from streaming.archive import HOUR
from streaming.simulator import SimulatorError
from tests.crypto_pipeline.replay.conftest import (
    FRAMES,
    NAME,
    START,
    Look,
    archive,
    book_row,
    kline_row,
    moments,
    ticker_row,
    trade_frame,
    trade_row,
)
from tests.crypto_pipeline.stored_tables import Tables
from tests.streaming.simulator.client import Api

MAX = None
LATE = moments(90) // 1000
"""A moment in the first hour, in milliseconds."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(player, "SETTLE_SECONDS", 0.1)
    monkeypatch.setattr(server, "LINGER_SECONDS", 0.1)


@contextlib.asynccontextmanager
async def playing(
    stored: Stored, speed: float | None = MAX, *, at_once: bool = False
) -> AsyncIterator[tuple[Api, Any]]:
    """A client, and the replay's end with what it said."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    said: list[str] = []
    options = Options("127.0.0.1", 0, speed, at_once)
    task = asyncio.create_task(serve(stored, options, address.set_result, said.append))
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            await asyncio.wait([task, address], return_when=asyncio.FIRST_COMPLETED)
            yield Api(session, address.result()), (task, said)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def texts(stream: aiohttp.ClientWebSocketResponse) -> list[str]:
    """All that comes until the connection is closed."""
    return [message.data async for message in stream if message.type is aiohttp.WSMsgType.TEXT]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 40))


def test_a_subscriber_gets_what_was_received_and_then_the_end(settings: Settings, looked: Look) -> None:
    archive(settings, FRAMES)
    stored = looked(START, START + HOUR)

    async def scenario() -> None:
        async with playing(stored) as (api, (task, said)):
            path = "/stream?streams=btcusdt@trade/btcusdt@kline_1m/btcusdt@kline_5m&timeUnit=MICROSECOND"
            async with api.socket(path) as one, api.socket("/ws/btcusdt@trade") as other:
                whole, trades = await asyncio.gather(texts(one), texts(other))
                assert (one.close_code, other.close_code) == (1000, 1000)
            assert [text.encode() for text in whole] == [body for _, body in FRAMES]
            wanted = [json.loads(trade_frame(number))["data"] for number in range(120)]
            short = [trade | {name: trade[name] // 1000 for name in ("E", "T")} for trade in wanted]
            assert [json.loads(text) for text in trades] == short
            assert await task == len(FRAMES)
            assert said == [
                "btcusdt@kline_5m is asked for and not stored in this range, so it stays silent. There is: "
                "btcusdt@kline_1m, btcusdt@trade."
            ]

    run(scenario)


def test_subscriptions_change_as_live(settings: Settings, looked: Look) -> None:
    archive(settings, FRAMES)
    stored = looked(START, START + HOUR)

    async def scenario() -> None:
        async with playing(stored) as (api, _), api.socket("/ws") as stream:
            await stream.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@trade", "btcusdt@kline_1m"], "id": 1})
            assert await stream.receive_json() == {"result": None, "id": 1}
            await stream.send_json({"method": "UNSUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 2})
            assert await stream.receive_json() == {"result": None, "id": 2}
            await stream.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 3})
            assert await stream.receive_json() == {"result": ["btcusdt@trade"], "id": 3}
            assert {json.loads(text)["e"] for text in await texts(stream)} == {"trade"}

    run(scenario)


def test_a_slow_reader_gets_all_of_it_and_holds_the_clock(
    settings: Settings, looked: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player, "AHEAD", 1_000)
    monkeypatch.setattr(player, "BATCH", 50)
    much = "x" * 20_000
    frames = [(at, body.replace(b'"e":', f'"x":"{much}","e":'.encode())) for at, body in FRAMES] * 3
    archive(settings, sorted(frames))
    stored = looked(START, START + HOUR)

    async def scenario() -> None:
        async with playing(stored) as (api, _):
            reader, writer = await asyncio.open_connection(*api.address.split(":"))
            key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            head = (
                f"GET /ws/btcusdt@trade HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n"
            )
            writer.write(head.encode())
            await reader.readuntil(b"101 Switching Protocols")
            before = None
            while (
                before is None
                or before != (now := (await api.get("/api/v3/time"))["serverTime"])
                or now * 1000 <= START
            ):
                before = (await api.get("/api/v3/time"))["serverTime"]
                await asyncio.sleep(0.2)
            assert before * 1000 < FRAMES[-1][0], "the clock went on without its reader"
            received = 0
            while block := await reader.read(1 << 20):
                received += block.count(b'"e":"trade"')
            assert received == 3 * 120
            writer.close()

    run(scenario)


def test_at_a_speed_the_distances_are_kept(settings: Settings, looked: Look) -> None:
    archive(settings, FRAMES[:7])
    stored = looked(START, START + 4 * MINUTE)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        opened = loop.time()
        async with playing(stored, 200.0) as (api, _), api.socket("/ws/btcusdt@trade") as stream:
            seen = [(loop.time() - opened, json.loads(each.data)["T"]) async for each in stream]
        assert len(seen) == 7
        assert all(after >= (time - seen[0][1]) / 1000 / 200 for after, time in seen)

    run(scenario)


def test_rest_tells_what_was_known_and_nothing_of_the_future(settings: Settings, looked: Look) -> None:
    archive(settings, FRAMES)
    now = moments(90) + 20_000  # when a trade was received
    stored = looked(now, START + HOUR)

    async def scenario() -> None:
        async with playing(stored, 0.001, at_once=True) as (api, _):
            assert now <= (await api.get("/api/v3/time?timeUnit=MICROSECOND"))["serverTime"] < now + 30_000
            await told(api)

    async def told(api: Api) -> None:
        rows = [trade_row(number) for number in range(91)]
        assert await api.get("/api/v3/ping") == {}
        trades = await api.get(f"/api/v3/trades?symbol={NAME}&limit=5")
        assert [row["id"] for row in trades] == [row["trade_id"] for row in rows[-5:]]
        assert trades[-1] == {
            "id": 990, "price": places(rows[90]["price"]), "qty": places(rows[90]["quantity"]),
            "quoteQty": places(rows[90]["quote_quantity"]), "time": LATE, "isBuyerMaker": True, "isBestMatch": True,
        }  # fmt: skip
        for first, count in ((0, 91), (950, 41), (991, 0)):
            found = await api.get(f"/api/v3/historicalTrades?symbol={NAME}&fromId={first}&limit=1000")
            assert [row["id"] for row in found] == [900 + number for number in range(91 - count, 91)]
        merged = await api.get(f"/api/v3/aggTrades?symbol={NAME}&startTime={moments(80) // 1000}")
        assert [(row["f"], row["l"]) for row in merged] == [(980 + number, 980 + number) for number in range(11)]
        assert await api.get(f"/api/v3/aggTrades?symbol={NAME}&limit=11") == merged
        assert await api.get(f"/api/v3/aggTrades?symbol={NAME}&fromId=980") == merged
        candles = await api.get(f"/api/v3/klines?symbol={NAME}&interval=1m&limit=100")
        assert [row[0] * 1000 for row in candles] == [START + number * MINUTE for number in range(-54, 46)]
        own = kline_row(44)
        assert candles[-2][1:6] == [places(own[name]) for name in ("open", "high", "low", "close", "volume")]
        assert candles[-1][1:5] == [places(rows[90]["price"])] * 4
        assert candles[-1][8] == 1
        [five] = await api.get(f"/api/v3/klines?symbol={NAME}&interval=5m&limit=1")
        assert (five[0] * 1000, five[4]) == (START + 45 * MINUTE, places(rows[90]["price"]))
        [two] = await api.get(f"/api/v3/klines?symbol={NAME}&interval=2h&limit=1")
        assert (two[0] * 1000, two[8]) == (START, 45 * 2 + 1)
        [first] = await api.get(f"/api/v3/klines?symbol={NAME}&interval=3m&limit=1&startTime={START // 1000}")
        assert (first[1], first[4]) == (places(kline_row(0)["open"]), places(kline_row(2)["close"]))
        book = await api.get(f"/api/v3/depth?symbol={NAME}&limit=2")
        levels = [[places(level["price"]), places(level["quantity"])] for level in book_row(45)["bids"][:2]]
        assert (book["lastUpdateId"], book["bids"]) == (7045, levels)
        best = await api.get(f"/api/v3/ticker/bookTicker?symbol={NAME}")
        assert [best["bidPrice"], best["bidQty"]] == levels[0]
        assert await api.get("/api/v3/ticker/price") == [{"symbol": NAME, "price": places(rows[90]["price"])}]
        day = await api.get(f"/api/v3/ticker/24hr?symbol={NAME}")
        assert (day["lastPrice"], day["volume"]) == tuple(
            places(ticker_row(45)[name]) for name in ("last_price", "volume")
        )
        [pair] = (await api.get("/api/v3/exchangeInfo"))["symbols"]
        assert (pair["symbol"], pair["baseAsset"], pair["quoteAsset"], pair["status"]) == (
            NAME,
            "BTC",
            "USDT",
            "TRADING",
        )
        assert pair["filters"][0]["tickSize"] == "0.01000000"
        for path, code in (("trades?symbol=ETHUSDT", -1121), ("klines?symbol=BTCUSDT&interval=7m", -1120)):
            assert (await api.get(f"/api/v3/{path}", status=400))["code"] == code

    run(scenario)


def test_what_is_not_stored_is_said_or_told_of_candles(settings: Settings, looked: Look, lake: Tables) -> None:
    lake.has("bronze.depth", [])
    lake.has("bronze.tickers", [])
    lake.has("silver.instruments", [])
    archive(settings, FRAMES)
    stored = looked(START + HOUR // 2, START + HOUR)

    async def scenario() -> None:
        async with playing(stored, 0.001, at_once=True) as (api, _):
            error = await api.get(f"/api/v3/depth?symbol={NAME}", status=400)
            assert error == {
                "code": -1000,
                "msg": "The order book of BTCUSDT is not stored at this time of the replay.",
            }
            assert (await api.get(f"/api/v3/ticker/bookTicker?symbol={NAME}", status=400))["code"] == -1000
            assert await api.get("/api/v3/ticker/bookTicker") == []
            day = await api.get(f"/api/v3/ticker/24hr?symbol={NAME}")
            assert (day["openPrice"], day["count"]) == (places(kline_row(-60)["open"]), 180)
            [pair] = (await api.get("/api/v3/exchangeInfo"))["symbols"]
            assert pair["filters"][0]["tickSize"] == "0.10000000"

    run(scenario)


def test_a_port_in_use_is_said_with_the_cure(settings: Settings, looked: Look) -> None:
    archive(settings, FRAMES)
    stored = looked(START, START + HOUR)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            SimulatorError, match=rf"Port {port} on 127\.0\.0\.1 cannot be taken.*choose another with --port"
        ):
            asyncio.run(serve(stored, Options("127.0.0.1", port, None), lambda _address: None))
