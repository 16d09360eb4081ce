"""Each fault, seen by a real client over a real port. A test's name begins with the kind of fault that it sees."""

import asyncio
import hashlib
import io
import json
import re
import time
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streaming.simulator.clock import utc_now
from streaming.simulator.controller import described
from streaming.simulator.faults import STRANGER, kinds
from streaming.simulator.market import MINUTE
from tests.streaming.simulator.client import OPTIONS, Api, fast_clock, run, serving, until

QUICK = replace(OPTIONS, rate=4.0)
"""For a clock that runs sixty times as fast."""
TRADES = "/stream?streams=btcusdt@trade&timeUnit=MICROSECOND"


@pytest.mark.parametrize("kind", [*kinds()])
def test_every_kind_is_described_and_has_a_test(kind: str) -> None:
    description = described()[kind]
    assert all(description[name] for name in ("what", "recorded", "repair"))
    assert any(name.startswith(f"test_{kind}_") for name in globals())
    decisions = (Path(__file__).parents[3] / "docs" / "decisions" / "simulator.md").read_text(encoding="utf-8")
    assert f"| `{kind}` | {' '.join(description['what'].split())} | {description['recorded']} |" in decisions


async def _data(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[Any]:
    return [json.loads((await socket.receive()).data)["data"] for _ in range(count)]


async def _ids(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[int]:
    return [trade["t"] for trade in await _data(socket, count)]


async def _done(api: Api, number: int) -> Any:
    """The account of a fault once it is over."""
    while True:
        note = (await api.get("/truth/faults"))["faults"][number - 1]
        if note["to"] is not None:
            assert note["from"] <= note["to"]
            return note
        await asyncio.sleep(0.05)


async def _end_of(socket: aiohttp.ClientWebSocketResponse) -> aiohttp.WSMessage:
    while True:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            return message


def _statuses(info: Any) -> dict[str, str]:
    return {row["symbol"]: row["status"] for row in info["symbols"]}


# --- connections


def test_cut_ends_connections_and_refuses_new_ones_while_rest_answers() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket(TRADES) as stream, api.socket("/ws/ethusdt@trade") as other:
            await _data(stream, 3)
            begun = await api.post("/faults", {"kind": "cut", "symbol": "BTCUSDT", "seconds": 1.5})
            assert (begun["kind"], begun["connections"], begun["streams"]) == ("cut", 1, ["btcusdt@trade"])
            assert (await _end_of(stream)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
            with pytest.raises(aiohttp.WSServerHandshakeError):
                async with api.socket(TRADES):
                    pass
            await api.get("/api/v3/historicalTrades?symbol=BTCUSDT")
            assert (await other.receive()).type is aiohttp.WSMsgType.TEXT
            note = await _done(api, begun["id"])
            assert note["to"] - note["from"] >= 1_500_000
            async with api.socket(TRADES) as again:
                await _data(again, 3)

    run(scenario)


def test_cut_in_the_middle_of_a_frame_leaves_half_a_message() -> None:
    async def scenario() -> None:
        async with serving() as api:
            host, _, port = api.address.partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            lines = (
                "GET /ws/btcusdt@ticker HTTP/1.1", "Host: simulator", "Upgrade: websocket", "Connection: Upgrade",
                "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
            )  # fmt: skip
            writer.write("\r\n".join(lines).encode())
            await reader.readuntil(b"\r\n\r\n")
            await api.post("/faults", {"kind": "cut", "mid_frame": True, "seconds": 0})
            tail = (await reader.read())[-100:]
            size = int.from_bytes(tail[tail.index(b"\x81\x7e\x01\x00") + 2 :][:2], "big")
            assert len(tail) - tail.index(b"\x81\x7e\x01\x00") - 4 < size
            writer.close()

    run(scenario)


def test_silence_of_one_stream_ends_with_a_hole_and_a_new_connection_has_all() -> None:
    async def scenario() -> None:
        streams = "/stream?streams=btcusdt@trade/ethusdt@trade"
        async with serving() as api, api.socket(streams) as stream:
            await until(stream, lambda message: message["stream"] == "btcusdt@trade")
            begun = await api.post(
                "/faults", {"kind": "silence", "symbol": "BTCUSDT", "stream": "trade", "seconds": 2.0}
            )
            assert begun["streams"] == ["btcusdt@trade"]
            last = 0
            while True:  # what was on its way, then the other one alone
                message = json.loads((await stream.receive()).data)
                if message["stream"] == "btcusdt@trade":
                    if message["data"]["E"] * 1000 > begun["from"] + 500_000:
                        break
                    last = message["data"]["t"]
                elif not last:
                    last = -1
            note = await _done(api, begun["id"])
            assert message["data"]["E"] * 1000 >= note["to"]
            assert message["data"]["t"] > last + 1

    run(scenario)


def test_silence_of_a_whole_connection_is_that_of_its_answers_too() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket(TRADES) as stream:
            await _data(stream, 3)
            begun = await api.post("/faults", {"kind": "silence", "seconds": 0})
            await stream.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            async with api.socket(TRADES) as fresh:
                await _data(fresh, 30)
            quiet = False
            while not quiet:  # but for what was on its way
                try:
                    assert "data" in json.loads((await stream.receive(timeout=0.5)).data)
                except TimeoutError:
                    quiet = True
            await api.post("/faults/end", {"id": begun["id"]})
            assert "stream" in json.loads((await stream.receive()).data)

    run(scenario)


def test_server_shutdown_is_announced_before_the_end() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket(TRADES) as stream:
            await api.post("/faults", {"kind": "server_shutdown", "seconds": 1.0})
            said = (await until(stream, lambda message: message["stream"] == "!serverShutdown"))[-1]
            assert said["data"]["e"] == "serverShutdown"
            async with api.socket(TRADES) as fresh:
                await _data(fresh, 3)
                assert (await _end_of(stream)).data == aiohttp.WSCloseCode.GOING_AWAY
                await _data(fresh, 3)

    run(scenario)


def test_rotate_closes_as_after_a_day() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket(TRADES) as stream:
            await api.post("/faults", {"kind": "rotate"})
            end = await _end_of(stream)
            assert (end.type, end.data, end.extra) == (aiohttp.WSMsgType.CLOSE, 1001, "24 hours")

    run(scenario)


# --- messages


def test_repeat_sends_each_message_again() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket(TRADES) as stream:
            await api.post("/faults", {"kind": "repeat", "symbol": "BTCUSDT", "copies": 2, "seconds": 5})
            ids = await _ids(stream, 60)
            middle = ids[30]
            assert ids.count(middle) == 3 or ids.count(middle + 1) == 3
            assert sorted(set(ids)) == list(range(min(ids), max(ids) + 1))

    run(scenario)


def test_reorder_mixes_and_loses_nothing() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket(TRADES) as stream:
            begun = await api.post("/faults", {"kind": "reorder", "window": 10, "seconds": 60})
            ids: list[int] = []
            while ids == sorted(ids):
                ids += await _ids(stream, 10)
            await api.post("/faults/end", {})
            ids += await _ids(stream, 30)
            assert sorted(ids) == list(range(min(ids), max(ids) + 1))
            assert begun["skipped"] == {}

    run(scenario)


def test_delay_keeps_the_order_also_when_it_ends() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket(TRADES) as stream:
            await api.post("/faults", {"kind": "delay", "by": 1.0, "seconds": 1.0})
            ids, late = [], []
            for _ in range(80):
                [trade] = await _data(stream, 1)
                ids.append(trade["t"])
                late.append(utc_now() - trade["E"])
            assert ids == list(range(ids[0], ids[0] + 80))
            assert max(late) > 950_000
            assert late[-1] < 500_000

    run(scenario)


def test_skip_leaves_trades_out_that_rest_and_truth_have() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket(TRADES) as stream:
            await _data(stream, 5)
            begun = await api.post("/faults", {"kind": "skip", "symbol": "BTCUSDT", "count": 7})
            note = await _done(api, begun["id"])
            [[first, last]] = note["skipped"]["BTCUSDT"]["trade"]
            assert last - first == 6
            ids = [message["data"]["t"] for message in await until(stream, lambda message: message["data"]["t"] > last)]
            assert not set(ids) & set(range(first, last + 1))
            rest = await api.get(f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={first}&limit=7")
            assert [row["id"] for row in rest] == list(range(first, last + 1))
            sent = (await api.get("/truth/sent?symbol=BTCUSDT"))["trade"]
            assert [sent[0][1], sent[1][0]] == [first - 1, last + 1]

    run(scenario)


async def _closed(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[list[Any]]:
    """Closed candles, each with the messages since the last one."""
    return [await until(socket, lambda message: message["data"]["k"]["x"]) for _ in range(count)]


def test_late_kline_comes_after_those_of_the_next_minute() -> None:
    async def scenario() -> None:
        async with serving(QUICK, fast_clock(60)) as api, api.socket("/stream?streams=btcusdt@kline_1m") as stream:
            await _closed(stream, 1)
            await api.post("/faults", {"kind": "late_kline", "symbol": "BTCUSDT", "by": 0.6})
            messages = [message["data"]["k"]["t"] for message in (await _closed(stream, 1))[0]]
            assert max(messages) > messages[-1]

    run(scenario)


def test_no_kline_leaves_a_minute_without_its_closed_candle() -> None:
    async def scenario() -> None:
        async with serving(QUICK, fast_clock(60)) as api, api.socket("/stream?streams=btcusdt@kline_1m") as stream:
            await _closed(stream, 1)
            begun = await api.post("/faults", {"kind": "no_kline", "symbol": "BTCUSDT"})
            opens = [part[-1]["data"]["k"]["t"] for part in await _closed(stream, 3)]
            [[first, last]] = (await _done(api, begun["id"]))["skipped"]["BTCUSDT"]["kline_1m"]
            assert first == last
            assert first * 60_000 not in opens
            [row] = await api.get(f"/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={first * 60_000}&limit=1")
            assert row[0] == first * 60_000
            sent = (await api.get("/truth/sent?symbol=BTCUSDT"))["kline_1m"]
            assert not any(begin <= first * MINUTE <= end for begin, end in sent)

    run(scenario)


def test_broken_json_comes_in_the_place_of_messages() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket(TRADES) as stream:
            await _data(stream, 3)
            begun = await api.post("/faults", {"kind": "broken_json", "symbol": "BTCUSDT", "count": 2})
            broken: list[str] = []
            while len(broken) < 2:
                text = (await stream.receive()).data
                try:
                    json.loads(text)
                except ValueError:
                    broken.append(text)
            [[first, last]] = (await _done(api, begun["id"]))["skipped"]["BTCUSDT"]["trade"]
            assert last - first == 1
            assert (await _ids(stream, 1)) == [last + 1]

    run(scenario)


def test_unknown_event_comes_in_a_known_stream() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket(TRADES) as stream:
            await api.post("/faults", {"kind": "unknown_event"})
            message = (await until(stream, lambda message: message["data"]["e"] != "trade"))[-1]
            assert message["stream"] == "btcusdt@trade"

    run(scenario)


def test_non_ascii_is_a_trade_of_a_symbol_that_nobody_asked_for() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket(TRADES) as stream:
            await api.post("/faults", {"kind": "non_ascii"})
            message = (await until(stream, lambda message: message["stream"] != "btcusdt@trade"))[-1]
            assert message["stream"] == f"{STRANGER.lower()}@trade"
            assert message["data"]["s"] == STRANGER

    run(scenario)


def test_milliseconds_come_though_microseconds_were_asked_for() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket(TRADES) as stream:
            assert len(str((await _data(stream, 1))[0]["T"])) == 16
            begun = await api.post("/faults", {"kind": "milliseconds", "where": "both", "seconds": 0})
            await until(stream, lambda message: len(str(message["data"]["T"])) == 13)
            rows = await api.get("/api/v3/trades?symbol=BTCUSDT&limit=1", unit="MICROSECOND")
            assert len(str(rows[0]["time"])) == 13
            await api.post("/faults/end", {"id": begun["id"]})
            await until(stream, lambda message: len(str(message["data"]["T"])) == 16)

    run(scenario)


def test_skew_puts_the_clock_wrong_and_never_back() -> None:
    async def scenario() -> None:
        async with serving() as api, api.socket(TRADES) as stream:

            async def ahead() -> float:
                return float((await api.get("/api/v3/time"))["serverTime"]) / 1e3 - time.time()

            begun = await api.post("/faults", {"kind": "skew", "by": 3.0, "seconds": 0})
            assert 2.5 < await ahead() < 3.5
            await api.post("/faults/end", {"id": begun["id"]})
            moments = [trade["E"] for trade in await _data(stream, 80)]
            assert moments == sorted(moments)
            while await ahead() > 0.5:
                await asyncio.sleep(0.1)

    run(scenario)


# --- REST


@pytest.mark.parametrize("status", [418, 429, 503])
def test_rest_error_says_when_to_come_again(status: int) -> None:
    async def scenario() -> None:
        async with serving() as api:
            asked = {"kind": "rest_error", "status": status, "retry_after": 2, "endpoints": ["klines"], "seconds": 0}
            begun = await api.post("/faults", asked)
            path = f"http://{api.address}/api/v3/klines?symbol=BTCUSDT&interval=1m"
            async with api.session.get(path) as reply:
                assert (reply.status, reply.headers["Retry-After"]) == (status, "2")
            await api.get("/api/v3/trades?symbol=BTCUSDT")
            await api.post("/faults/end", {"id": begun["id"]})
            await api.get("/api/v3/klines?symbol=BTCUSDT&interval=1m")
            assert (await _done(api, begun["id"]))["details"] == {"klines": 1}

    run(scenario)


@pytest.mark.parametrize("endpoint", ["historicalTrades", "trades", "aggTrades", "klines"])
def test_refuse_forbids_one_call_alone(endpoint: str) -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.post("/faults", {"kind": "refuse", "endpoints": [endpoint], "status": 403})
            for name in ("historicalTrades", "trades", "aggTrades", "klines"):
                path = f"http://{api.address}/api/v3/{name}?symbol=BTCUSDT" + "&interval=1m" * (name == "klines")
                async with api.session.get(path) as reply:
                    assert reply.status == (403 if name == endpoint else 200)
            assert await api.post("/faults/end", {}) == {"ended": 1}
            await api.get(f"/api/v3/{endpoint}?symbol=BTCUSDT" + "&interval=1m" * (endpoint == "klines"))

    run(scenario)


# --- public files


def _today(what: str = "trades") -> str:
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"/data/spot/daily/{what}/BTCUSDT/BTCUSDT-{what}-{day}.zip"


async def _bytes(api: Api, path: str) -> tuple[int, bytes]:
    async with api.session.get(f"http://{api.address}{path}") as reply:
        return reply.status, await reply.read()


def test_archive_now_gives_the_file_of_today() -> None:
    async def scenario() -> None:
        async with serving(replace(OPTIONS, history_hours=1)) as api:
            assert (await _bytes(api, _today()))[0] == 404
            await api.post("/faults", {"kind": "archive_now", "symbol": "BTCUSDT"})
            status, content = await _bytes(api, _today())
            assert status == 200
            [name] = zipfile.ZipFile(io.BytesIO(content)).namelist()
            assert name.startswith("BTCUSDT-trades-")
            said = (await _bytes(api, _today() + ".CHECKSUM"))[1].decode()
            assert said == f"{hashlib.sha256(content).hexdigest()}  {name.replace('.csv', '.zip')}\n"

    run(scenario)


def test_archive_absent_is_a_404() -> None:
    async def scenario() -> None:
        async with serving(replace(OPTIONS, history_hours=1)) as api:
            await api.post("/faults", {"kind": "archive_now"})
            begun = await api.post("/faults", {"kind": "archive_absent", "symbol": "BTCUSDT"})
            assert (await _bytes(api, _today()))[0] == 404
            await api.post("/faults/end", {"id": begun["id"]})
            assert (await _bytes(api, _today()))[0] == 200

    run(scenario)


def test_archive_checksum_is_that_of_another_file() -> None:
    async def scenario() -> None:
        async with serving(replace(OPTIONS, history_hours=1)) as api:
            await api.post("/faults", {"kind": "archive_now"})
            await api.post("/faults", {"kind": "archive_checksum"})
            content = (await _bytes(api, _today()))[1]
            assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
            said = (await _bytes(api, _today() + ".CHECKSUM"))[1].decode()
            assert re.fullmatch(r"[0-9a-f]{64}  BTCUSDT-trades-[0-9-]{10}\.zip\n", said)
            assert said[:64] != hashlib.sha256(content).hexdigest()

    run(scenario)


def test_archive_corrupt_is_no_zip_though_its_checksum_is_right() -> None:
    async def scenario() -> None:
        async with serving(replace(OPTIONS, history_hours=1)) as api:
            await api.post("/faults", {"kind": "archive_now"})
            await api.post("/faults", {"kind": "archive_corrupt"})
            content = (await _bytes(api, _today()))[1]
            with pytest.raises(zipfile.BadZipFile):
                zipfile.ZipFile(io.BytesIO(content))
            said = (await _bytes(api, _today() + ".CHECKSUM"))[1].decode()
            assert said[:64] == hashlib.sha256(content).hexdigest()

    run(scenario)


# --- the market


def test_halt_leaves_whole_minutes_without_trades_and_candles() -> None:
    async def scenario() -> None:
        async with (
            serving(QUICK, fast_clock(60)) as api,
            api.socket("/stream?streams=btcusdt@trade/btcusdt@kline_1m") as stream,
        ):
            before = (await until(stream, lambda message: message["data"]["e"] == "trade"))[-1]["data"]["t"]
            begun = await api.post("/faults", {"kind": "halt", "symbol": "BTCUSDT", "status": "BREAK", "minutes": 3})
            start, end = begun["details"]["minutes"]
            assert end - start == 3 * MINUTE
            while (await api.get("/api/v3/time"))["serverTime"] * 1000 < start + MINUTE:
                await asyncio.sleep(0.02)
            assert _statuses(await api.get("/api/v3/exchangeInfo"))["BTCUSDT"] == "BREAK"
            messages = await until(stream, lambda message: message["data"].get("T", 0) * 1000 >= end)
            trades = [message["data"] for message in messages if message["data"]["e"] == "trade"]
            candles = [message["data"]["k"] for message in messages if message["data"]["e"] == "kline"]
            assert not [trade for trade in trades if start <= trade["T"] * 1000 < end]
            assert not [bar for bar in candles if start <= bar["t"] * 1000 < end]
            ids = [trade["t"] for trade in trades]
            assert ids == list(range(before + 1, before + 1 + len(ids)))
            rows = await api.get(
                f"/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={start // 1000 - 60_000}&limit=2"
            )
            assert [row[0] * 1000 for row in rows] == [start - MINUTE, end]
            truth = await api.get(f"/truth/klines?symbol=BTCUSDT&startTime={start}&endTime={end - MINUTE}")
            assert truth["rows"] == []
            assert _statuses(await api.get("/api/v3/exchangeInfo"))["BTCUSDT"] == "TRADING"

    run(scenario)


def test_halt_outlives_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock, options = fast_clock(60), replace(QUICK, folder=tmp_path)
        async with serving(options, clock) as api:
            begun = await api.post("/faults", {"kind": "halt", "symbol": "BTCUSDT", "minutes": 2})
            start, end = begun["details"]["minutes"]
            await _done(api, begun["id"])
            path = f"/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={start // 1000 - 60_000}&limit=1"
            rows = await api.get(path)
        async with serving(options, clock) as api:
            assert await api.get(path) == rows
            truth = await api.get(f"/truth/klines?symbol=BTCUSDT&startTime={start}&endTime={end - MINUTE}")
            assert truth["rows"] == []

    run(scenario)


def test_list_brings_a_symbol_that_was_not_there() -> None:
    async def scenario() -> None:
        name = STRANGER.lower()
        async with serving(QUICK, fast_clock(60)) as api, api.socket(f"/ws/{name}@trade") as stream:
            begun = await api.post("/faults", {"kind": "list"})
            assert STRANGER not in _statuses(await api.get("/api/v3/exchangeInfo"))
            assert (await api.get(f"/api/v3/exchangeInfo?symbol={STRANGER}", status=400))["code"] == -1121
            first = json.loads((await stream.receive()).data)
            assert first["t"] == 1
            assert first["T"] * 1000 >= begun["details"]["minute"]
            assert _statuses(await api.get("/api/v3/exchangeInfo"))[STRANGER] == "TRADING"
            error = await api.post("/faults", {"kind": "list"}, status=400)
            assert "listed already" in error["error"]

    run(scenario)


def test_list_in_a_schedule_means_that_it_is_not_there_before() -> None:
    async def scenario() -> None:
        async with serving(QUICK, fast_clock(60)) as api:
            asked = {"kind": "list", "symbol": "QWERTYUSDT", "at": 3600}
            assert [one["at"] for one in (await api.post("/faults", asked))["planned"]] == [3600]
            assert (await api.get("/api/v3/exchangeInfo?symbol=QWERTYUSDT", status=400))["code"] == -1121
            assert await api.get("/api/v3/trades?symbol=QWERTYUSDT") == []

    run(scenario)


def test_delist_takes_a_symbol_away_for_good() -> None:
    async def scenario() -> None:
        async with serving(QUICK, fast_clock(60)) as api:
            begun = await api.post("/faults", {"kind": "delist", "symbol": "ETHUSDT"})
            start, end = (await _done(api, begun["id"]))["details"]["minutes"]
            assert end is None
            assert "ETHUSDT" not in _statuses(await api.get("/api/v3/exchangeInfo"))
            assert "ETHUSDT" not in [row["symbol"] for row in await api.get("/api/v3/ticker/24hr")]
            rows = await api.get("/api/v3/trades?symbol=ETHUSDT&limit=1")
            assert rows[0]["time"] * 1000 < start

    run(scenario)


def test_relist_is_another_asset_under_the_same_name() -> None:
    async def scenario() -> None:
        async with serving(QUICK, fast_clock(60)) as api:
            begun = await api.post(
                "/faults", {"kind": "relist", "symbol": "ETHUSDT", "minutes": 1, "price_factor": 0.01}
            )
            start, end = begun["details"]["minutes"]
            while (await api.get("/api/v3/time"))["serverTime"] * 1000 < start:
                await asyncio.sleep(0.02)
            assert "ETHUSDT" not in _statuses(await api.get("/api/v3/exchangeInfo"))
            await _done(api, begun["id"])
            while (await api.get("/api/v3/trades?symbol=ETHUSDT&limit=1"))[0]["time"] * 1000 < end:
                await asyncio.sleep(0.02)
            assert _statuses(await api.get("/api/v3/exchangeInfo"))["ETHUSDT"] == "TRADING"
            path = f"/api/v3/klines?symbol=ETHUSDT&interval=1m&startTime={start // 1000 - 60_000}&limit=2"
            old, new = await api.get(path)
            assert (old[0] * 1000, new[0] * 1000) == (start - MINUTE, end)
            assert float(new[1]) == pytest.approx(float(old[4]) / 100, rel=0.1)

    run(scenario)


def test_venue_gap_is_in_nobodys_trades() -> None:
    async def scenario() -> None:
        async with serving(QUICK, fast_clock(60)) as api, api.socket(TRADES) as stream:
            await _data(stream, 1)
            begun = await api.post("/faults", {"kind": "venue_gap", "symbol": "BTCUSDT", "count": 4})
            first, last = begun["details"]["ids"]
            messages = await until(stream, lambda message: message["data"]["t"] > last)
            ids = [message["data"]["t"] for message in messages]
            assert ids[-2:] == [first - 1, last + 1]
            rows = await api.get(f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={first - 1}&limit=2")
            assert [row["id"] for row in rows] == [first - 1, last + 1]
            truth = await api.get(f"/truth/trades?symbol=BTCUSDT&fromId={first}&limit=1")
            assert truth["rows"][0][0] == last + 1
            await _done(api, begun["id"])
            sent = (await api.get("/truth/sent?symbol=BTCUSDT"))["trade"]
            assert [sent[0][1], sent[1][0]] == [first - 1, last + 1]
            start = rows[0]["time"] // 60_000 * MINUTE
            bars = (await api.get(f"/truth/klines?symbol=BTCUSDT&startTime={start}&endTime={start + MINUTE}"))["rows"]
            inside = [bar[11] - bar[10] + 1 - bar[7] for bar in bars]
            assert inside[0] == 4 or inside == [0, 0]

    run(scenario)


# --- asking


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"kind": "flood"}, "is no fault"),
        ({"kind": "cut", "second": 5}, "second"),
        ({"kind": "halt", "symbol": "NOPAIR"}, "no pair"),
        ({"kind": "chaos", "kinds": ["halt"]}, "halt"),
        ([], "is no fault"),
        ("x", "is no fault"),
    ],
)
def test_a_wrong_request_is_refused_with_the_reason(asked: object, words: str) -> None:
    async def scenario() -> None:
        async with serving() as api:
            assert words in (await api.post("/faults", asked, status=400))["error"]
            assert (await api.get("/truth/faults"))["faults"] == []
            assert (await api.post("/faults/end", {"id": 5}, status=404))["error"]

    run(scenario)


def test_a_market_that_is_halted_is_not_halted_again() -> None:
    async def scenario() -> None:
        async with serving() as api:
            await api.post("/faults", {"kind": "halt", "symbol": "BTCUSDT", "minutes": 5})
            error = await api.post("/faults", {"kind": "halt", "symbol": "BTCUSDT"}, status=400)
            assert "already" in error["error"]

    run(scenario)
