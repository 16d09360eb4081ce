"""The whole simulator, asked by a real client over a real port."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streaming.simulator import SimulatorError, hub, planted
from streaming.simulator.live import Live
from streaming.simulator.market import MINUTE
from streaming.simulator.server import running
from tests.streaming.simulator.client import OPTIONS, PATIENCE, fast_clock, run, serving, until


async def _ask(socket: aiohttp.ClientWebSocketResponse, **request: object) -> Any:
    """The answer to a request, passing over the stream."""
    await socket.send_json(request)
    return (await until(socket, lambda message: "stream" not in message and "e" not in message))[-1]


def test_streamed_trades_are_contiguous_and_equal_rest_and_truth() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket("/stream?streams=btcusdt@trade&timeUnit=MICROSECOND") as stream:
            found = [json.loads((await stream.receive()).data)["data"] for _ in range(60)]
            ids = [trade["t"] for trade in found]
            assert ids == list(range(ids[0], ids[0] + 60))
            assert all(trade["T"] <= trade["E"] for trade in found)
            path = f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={ids[0]}&limit=60"
            rest = await api.get(path, unit="MICROSECOND")
            truth = (await api.get(f"/truth/trades?symbol=BTCUSDT&fromId={ids[0]}&limit=60"))["rows"]
            ours = [[trade[key] for key in ("t", "p", "q", "T", "m")] for trade in found]
            assert [[row[k] for k in ("id", "price", "qty", "time", "isBuyerMaker")] for row in rest] == ours
            assert truth == ours
            sent = (await api.get("/truth/sent?symbol=BTCUSDT"))["trade"]
            assert sent[0][0] == ids[0]
            assert sent[0][1] >= ids[-1]
            assert len(sent) == 1

    run(scenario)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "QWERTYBTC", "币安人生USDT"])
def test_closed_klines_are_what_rest_and_truth_say(symbol: str) -> None:
    async def scenario() -> None:
        stream_name = f"{symbol.lower()}@kline_1m"
        async with (
            serving(clock=fast_clock(60)) as api,
            api.socket(f"/stream?streams={stream_name}/{symbol.lower()}@trade") as stream,
        ):
            closed: list[Any] = []
            trades: list[Any] = []
            while len(closed) < 3:
                message = json.loads((await stream.receive()).data)
                if message["stream"].endswith("@trade"):
                    trades.append(message["data"])
                elif message["data"]["k"]["x"]:
                    closed.append(message["data"]["k"])
                    minute = [trade for trade in trades if trade["T"] <= closed[-1]["T"]]
                    assert not minute or not closed[-1]["n"] or minute[-1]["t"] == closed[-1]["L"]
            assert [bar["t"] for bar in closed] == [closed[0]["t"] + 60_000 * place for place in range(3)]
            assert closed[1]["n"] == sum(closed[1]["t"] <= trade["T"] <= closed[1]["T"] for trade in trades)
            rest = await api.get(f"/api/v3/klines?symbol={symbol}&interval=1m&startTime={closed[0]['t']}&limit=3")
            ours = [
                [bar[key] for key in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")] for bar in closed
            ]
            assert rest == ours
            first = closed[0]["t"] * 1000
            truth = await api.get(f"/truth/klines?symbol={symbol}&startTime={first}&endTime={first + 2 * MINUTE}")
            keys = ("o", "h", "l", "c", "v", "q", "n", "V", "Q", "f", "L")
            assert truth["rows"] == [[bar["t"] * 1000] + [bar[key] for key in keys] for bar in closed]
            sent = (await api.get(f"/truth/sent?symbol={symbol}"))["kline_1m"]
            assert sent[0][0] == first
            assert sent[0][1] >= first + 2 * MINUTE

    run(scenario)


def test_tickers_and_books_come_each_second() -> None:
    async def scenario() -> None:
        streams = "ethusdt@ticker/ethusdt@depth5/ethusdt@depth5@100ms"
        async with serving() as api, api.socket(f"/stream?streams={streams}") as stream:
            begun, counts = time.monotonic(), dict.fromkeys(streams.split("/"), 0)
            while time.monotonic() - begun < 3.2:
                message = json.loads((await stream.receive()).data)
                counts[message["stream"]] += 1
                if message["stream"].endswith("ticker"):
                    day = message["data"]
                    assert day["L"] - day["F"] + 1 == day["n"]
            assert 2 <= counts["ethusdt@ticker"] <= 5
            assert 3 <= counts["ethusdt@depth5"] <= 5
            assert 20 <= counts["ethusdt@depth5@100ms"] <= 36

    run(scenario)


def test_live_subscriptions_are_answered_and_followed() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket("/ws") as stream:
            assert await _ask(stream, method="SUBSCRIBE", params=["btcusdt@trade"], id=1) == {"result": None, "id": 1}
            assert json.loads((await stream.receive()).data)["e"] == "trade"
            await asyncio.sleep(1)
            assert await _ask(stream, method="SET_PROPERTY", params=["combined", True], id="a") == {
                "result": None,
                "id": "a",
            }
            assert json.loads((await stream.receive()).data)["stream"] == "btcusdt@trade"
            reply = await _ask(stream, method="LIST_SUBSCRIPTIONS", id=None)
            assert reply == {"result": ["btcusdt@trade"], "id": None}
            await asyncio.sleep(1)
            reply = await _ask(stream, method="UNSUBSCRIBE", params=["btcusdt@trade"], id=9)
            assert reply == {"result": None, "id": 9}
            with pytest.raises(TimeoutError):
                await stream.receive(timeout=0.5)
            sent = (await api.get("/truth/sent?symbol=BTCUSDT"))["trade"]
            assert len(sent) == 1

    run(scenario)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("{", 3, "Invalid JSON: expected value at line 1 column 2"),
        ('{"id":1}', 2, "missing field `method`"),
        ('{"method":"SUBSCRIBE","params":["btcusdt@trade"]}', 2, "request ID must be an unsigned integer"),
        ('{"method":"SUBSCRIBED","params":[],"id":1}', 2, "unknown variant `SUBSCRIBED`"),
        ('{"method":"SUBSCRIBE","params":["btcusdt"],"id":1}', 2, "Invalid request: invalid stream"),
        ('{"method":"SUBSCRIBE","params":[5],"id":1}', 2, "Invalid request: invalid stream"),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1, "Invalid value type: expected Boolean"),
        ('{"method":"GET_PROPERTY","params":["other"],"id":1}', 0, "Unknown property"),
    ],
)
def test_a_wrong_request_is_answered_with_binances_error(text: str, code: int, words: str) -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket("/stream") as stream:
            await stream.send_str(text)
            error = json.loads((await stream.receive()).data)["error"]
            assert error["code"] == code
            assert words in error["msg"]

    run(scenario)


def test_a_well_formed_stream_that_does_not_exist_is_accepted_and_silent() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket("/stream?streams=nosuchpair@trade/BTCUSDT@trade") as stream:
            with pytest.raises(TimeoutError):
                await stream.receive(timeout=0.7)

    run(scenario)


def test_a_connection_may_have_a_name_that_is_no_stream() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket("/ws/0") as socket:
            assert await _ask(socket, method="LIST_SUBSCRIPTIONS", id=1) == {"result": [], "id": 1}

    run(scenario)


def test_more_than_1024_streams_are_refused() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket("/stream") as stream:
            names = [f"x{number}usdt@kline_5m" for number in range(1_024)]
            assert (await _ask(stream, method="SUBSCRIBE", params=names, id=1))["result"] is None
            assert "error" in await _ask(stream, method="SUBSCRIBE", params=["one@more"], id=2)

    run(scenario)


def test_more_than_five_messages_a_second_end_the_connection() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket("/stream") as stream:
            for number in range(8):
                await stream.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
            kinds = [(await stream.receive()).type for _ in range(6)]
            assert kinds[-1] == aiohttp.WSMsgType.CLOSE
            assert stream.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION

    run(scenario)


def test_a_client_that_does_not_read_is_disconnected_and_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "CLIENT_BUFFER", 2 * 1024 * 1024)

    async def scenario() -> None:
        async with serving(replace(OPTIONS, rate=20_000.0, history_hours=0)) as api:
            reader, writer = await _raw_socket(api.address, "/stream?streams=btcusdt@trade")
            async with api.socket("/stream?streams=btcusdt@trade") as quick:
                last, sent = 0, [[0, 0]]
                while sent[0][1] - sent[0][0] < 60_000:
                    trade = json.loads((await quick.receive()).data)["data"]
                    assert last in (0, trade["t"] - 1)
                    last = trade["t"]
                    if last % 10_000 == 0:
                        sent = (await api.get("/truth/sent?symbol=BTCUSDT"))["trade"]
            while await reader.read(1 << 20):  # what the system had taken; then the end
                pass
            writer.close()

    run(scenario)


async def _raw_socket(address: str, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket that reads only when asked to."""
    host, _, port = address.partition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1_000)
    lines = (
        f"GET {path} HTTP/1.1", "Host: simulator", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
    )  # fmt: skip
    writer.write("\r\n".join(lines).encode())
    assert b"101" in await reader.readline()
    return reader, writer


def test_requests_are_weighed_and_too_many_are_turned_away() -> None:
    async def scenario() -> None:
        async with serving() as api:
            weights = {
                "/api/v3/ping": 1, "/api/v3/exchangeInfo": 20, "/api/v3/depth?symbol=BTCUSDT": 5,
                "/api/v3/depth?symbol=BTCUSDT&limit=1000": 50, "/api/v3/historicalTrades?symbol=BTCUSDT": 25,
                "/api/v3/klines?symbol=BTCUSDT&interval=1m": 2, "/api/v3/aggTrades?symbol=BTCUSDT": 4,
            }  # fmt: skip
            used, minute = 0, int(time.time() // 60)
            for path, weight in weights.items():
                async with api.session.get(f"http://{api.address}{path}") as reply:
                    used += weight
                    shown = int(reply.headers["X-MBX-USED-WEIGHT-1M"])
                    assert shown == used or int(time.time() // 60) > minute
            while True:
                path = "/api/v3/depth?symbol=BTCUSDT&limit=5000"
                async with api.session.get(f"http://{api.address}{path}") as reply:
                    if reply.status == 429:
                        assert 1 <= int(reply.headers["Retry-After"]) <= 60
                        assert (await reply.json())["code"] == -1003
                        break

    run(scenario)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("klines?interval=1m", -1102),
        ("klines?symbol=BTCUSDT", -1102),
        ("klines?symbol=&interval=1m", -1105),
        ("klines?symbol=btcusdt&interval=1m", -1100),
        ("klines?symbol=NOPE&interval=1m", -1121),
        ("klines?symbol=BTCUSDT&interval=7m", -1120),
        ("klines?symbol=BTCUSDT&interval=1m&startTime=x", -1100),
        ("klines?symbol=BTCUSDT&interval=1m&limit=0", -1130),
        ("trades?symbol=BTCUSDT&fromId=3", -1101),
        ("aggTrades?symbol=BTCUSDT&fromId=3&startTime=5", -1128),
        ("time?timeUnit=HOUR", -1194),
        ("exchangeInfo?symbols=[1]", -1135),
        ('exchangeInfo?symbols=["BTCUSDT","BTCUSDT"]', -1151),
    ],
)
def test_a_bad_parameter_gets_binances_error(path: str, code: int) -> None:
    async def scenario() -> None:
        async with serving() as api:
            error = await api.get(f"/api/v3/{path}", status=400)
            assert error["code"] == code
            assert error["msg"]

    run(scenario)


def test_klines_are_chosen_as_binance_chooses_them() -> None:
    async def scenario() -> None:
        async with serving() as api:
            base = "/api/v3/klines?symbol=BTCUSDT&interval=1m"
            every = await api.get(f"{base}&limit=1000")
            assert len(every) in (121, 122)
            assert await api.get(f"{base}&limit=4&startTime={every[10][0]}") == every[10:14]
            assert await api.get(f"{base}&limit=4&startTime={every[10][0] - 1}") == every[10:14]
            assert await api.get(f"{base}&limit=4&endTime={every[20][6]}") == every[17:21]
            assert await api.get(f"{base}&startTime={every[10][0]}&endTime={every[12][0]}") == every[10:13]
            assert await api.get(f"{base}&startTime={every[-1][6] + 10 * 60_000}") == []
            micro = await api.get(f"{base}&limit=1&startTime={every[10][0] * 1000}", unit="microsecond")
            assert (micro[0][0], micro[0][6]) == (every[10][0] * 1000, every[10][0] * 1000 + MINUTE - 1)
            for interval, minutes in (("3m", 3), ("5m", 5), ("15m", 15), ("1h", 60)):
                rows = await api.get(f"/api/v3/klines?symbol=BTCUSDT&interval={interval}")
                for row in rows[1:-1]:
                    parts = [bar for bar in every if row[0] <= bar[0] <= row[6]]
                    assert len(parts) == minutes
                    assert row[8] == sum(part[8] for part in parts)
                    assert float(row[5]) == pytest.approx(sum(float(part[5]) for part in parts))
                    assert row[4] == parts[-1][4]

    run(scenario)


def test_aggregate_trades_are_found_by_id_and_by_time() -> None:
    async def scenario() -> None:
        async with serving() as api:
            base = "/api/v3/aggTrades?symbol=BTCUSDT"
            some = await api.get(f"{base}&fromId=1000&limit=200")
            assert [row["a"] for row in some] == list(range(1000, 1200))
            moment = some[50]["T"]
            later = await api.get(f"{base}&startTime={moment}&limit=5")
            assert later[0]["a"] == next(row["a"] for row in some if row["T"] == moment)
            inside = await api.get(f"{base}&startTime={moment}&endTime={moment}")
            assert [row for row in some if row["T"] == moment] == inside
            recent = await api.get(base)
            assert len(recent) == 500
            assert [row["a"] for row in recent] == list(range(recent[0]["a"], recent[0]["a"] + 500))

    run(scenario)


def test_the_rest_ticker_counts_its_trades() -> None:
    async def scenario() -> None:
        async with serving() as api:
            day = await api.get("/api/v3/ticker/24hr?symbol=BTCUSDT")
            assert day["lastId"] - day["firstId"] + 1 == day["count"] > 0
            assert day["firstId"] == 1
            pair = await api.get('/api/v3/ticker/24hr?symbols=["BTCUSDT","ETHUSDT"]')
            assert [row["symbol"] for row in pair] == ["BTCUSDT", "ETHUSDT"]

    run(scenario)


def test_the_truth_tells_what_is_planted() -> None:
    async def scenario() -> None:
        async with serving(OPTIONS) as api:
            market = await api.get("/truth/market")
            start, end = market["opening"], market["opening"] + 720 * MINUTE
            found = await api.get(f"/truth/planted?startTime={start}&endTime={end}")
            assert found["lead_lag"] == planted.LEAD_LAG._asdict()
            pair = next(
                row for row in found["correlations"] if (row["symbol_a"], row["symbol_b"]) == ("BTCUSDT", "ETHUSDT")
            )
            assert pair["1m"] == pytest.approx(planted.correlation("BTCUSDT", "ETHUSDT", 60))
            now = await api.get("/api/v3/time")
            every = [
                one._asdict()
                for symbol in ("BTCUSDT", "SOLUSDT", "XRPUSDT")
                for one in planted.anomalies(market["seed"], start, symbol, start, end)
            ]
            passed = [one for one in every if one["start"] <= now["serverTime"] * 1000 - MINUTE]
            assert [one for one in passed if one not in found["anomalies"]] == []
            assert [one for one in found["anomalies"] if one not in every] == []

    run(scenario)


def test_a_restarted_simulator_serves_what_passed_and_keeps_its_record(tmp_path: Path) -> None:
    options = replace(OPTIONS, folder=tmp_path)

    async def scenario() -> None:
        async with serving(options) as api, api.socket("/stream?streams=btcusdt@trade") as stream:
            trades = [json.loads((await stream.receive()).data)["data"] for _ in range(20)]
            market = await api.get("/truth/market")
        async with serving(replace(options, history_hours=0)) as api, api.socket("/ws/btcusdt@trade") as stream:
            assert await api.get("/truth/market") == market
            next_trade = json.loads((await stream.receive()).data)
            assert next_trade["t"] > trades[-1]["t"]
            path = f"/api/v3/historicalTrades?symbol=BTCUSDT&limit=1000&fromId={trades[0]['t']}"
            missed = await api.get(path)
            assert [row["id"] for row in missed][-1] >= next_trade["t"]
            assert [[row["id"], row["price"], row["qty"]] for row in missed[:20]] == [
                [trade["t"], trade["p"], trade["q"]] for trade in trades
            ]
            sent = (await api.get("/truth/sent?symbol=BTCUSDT"))["trade"]
            assert sent[0][0] == trades[0]["t"]

    run(scenario)


def test_a_busy_port_is_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        async def scenario() -> None:
            with pytest.raises(SimulatorError, match=f"Port {port} .* SIMULATOR_PORT"):
                async with running(replace(OPTIONS, port=port)):
                    pass

        run(scenario)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_module_announces_itself_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "CRYPTO_HOME": str(tmp_path), "SIMULATOR_PORT": str(port), "CRYPTO_MODE": "demo",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }  # fmt: skip
    command = [sys.executable, "-m", "streaming.simulator"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        assert f"127.0.0.1:{port}" in process.stderr.readline()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stdout.read() == ""
        assert process.stderr.read() == ""
    assert (tmp_path / "var" / "demo" / "simulator" / "market.json").is_file()


def test_a_simulator_that_can_no_longer_send_fails_instead_of_looking_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Live) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(Live, "run", broken)

    async def scenario() -> None:
        with pytest.raises(RuntimeError, match="out of order"):
            async with running(OPTIONS):
                await asyncio.sleep(PATIENCE)

    run(scenario)
