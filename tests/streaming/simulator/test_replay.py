"""A recording is sent again exactly."""

import asyncio
import contextlib
import gzip
import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streaming.simulator import SimulatorError
from streaming.simulator.replay import Recording
from streaming.simulator.server import Options, running
from tests.streaming.simulator.client import run, serving

TRADE = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":%d,"p":"61837.63000000",'
    '"q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
)


def _files(recorded: Path) -> list[Path]:
    return sorted((recorded / "binance-spot-recording").glob("*.gz"))


def _lines(path: Path) -> list[str]:
    with gzip.open(path, "rt") as lines:
        return [line.rstrip("\n").split(" ", 1)[1] for line in lines]


async def _replayed(options: Options, path: str, count: int) -> tuple[list[str], dict[str, Any]]:
    """The first messages that a client gets, and what the simulator then says of BTCUSDT."""
    async with asyncio.timeout(60), running(options) as address, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"ws://{address}{path}") as stream:
            texts = [(await stream.receive()).data for _ in range(count)]
        said = {}
        paths = ("/truth/sent?symbol=BTCUSDT", "/truth/trades?symbol=BTCUSDT", "/api/v3/depth?symbol=BTCUSDT&limit=3")
        for asked in paths:
            async with session.get(f"http://{address}{asked}") as reply:
                said[asked.partition("?")[0]] = await reply.json()
        return texts, said


def test_a_recording_is_sent_word_for_word_and_in_order(recorded: Path) -> None:
    files = _files(recorded)
    real = [text for text in _lines(files[0]) if "@trade" in text or "@bookTicker" in text]
    path = "/stream?streams=btcusdt@trade/btcusdt@bookTicker"
    texts, said = asyncio.run(_replayed(Options(port=0, recordings=files, speed=0), path, len(real)))
    assert texts == real
    trades = [json.loads(text)["data"] for text in real if "@trade" in text]
    assert len(trades) == 9_757
    assert said["/truth/sent"]["trade"] == [[trades[0]["t"], trades[-1]["t"]]]
    assert said["/truth/trades"]["rows"] == [
        [trade["t"], trade["p"], trade["q"], trade["T"] * 1000, trade["m"]] for trade in trades
    ]
    assert said["/api/v3/depth"]["lastUpdateId"] == 50093239218
    assert len(said["/api/v3/depth"]["bids"]) == 3


def test_files_are_merged_by_the_recorders_clock(recorded: Path) -> None:
    recording = Recording.load(_files(recorded))
    received = [message.received for message in recording.messages]
    assert received == sorted(received)
    assert {message.symbol for message in recording.messages} == {"BTCUSDT", "ETHUSDT"}
    assert {symbol: len(tape) for symbol, tape in recording.tapes.items()} == {"BTCUSDT": 9_757, "ETHUSDT": 6_106}


def test_a_replay_keeps_the_recorded_pace(tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text("".join(f"{number * 400_000_000} {TRADE % number}\n" for number in range(4)))

    async def timed() -> float:
        begun = asyncio.get_running_loop().time()
        await _replayed_texts(Options(port=0, recordings=[file], speed=2.0), 4)
        return asyncio.get_running_loop().time() - begun

    assert asyncio.run(timed()) >= 0.6


async def _replayed_texts(options: Options, count: int) -> list[str]:
    async with (
        asyncio.timeout(20),
        running(options) as address,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://{address}/ws/btcusdt@trade") as stream,
    ):
        return [(await stream.receive()).data for _ in range(count)]


def test_a_raw_connection_gets_the_recorded_data_alone(tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text(f"5 {TRADE % 1}\n")
    texts = asyncio.run(_replayed_texts(Options(port=0, recordings=[file], speed=0), 1))
    assert texts == [(TRADE % 1)[len('{"stream":"btcusdt@trade","data":') : -1]]


@pytest.mark.parametrize("text", ["no recording\n", "5 {}x\n", "x " + TRADE % 1 + "\n", '5 {"lastUpdateId":1}\n', ""])
def test_a_file_that_is_no_recording_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "wrong.txt"
    file.write_text(text)
    with pytest.raises(SimulatorError, match=r"wrong\.txt"):
        Recording.load([file])


def test_a_missing_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match=r"away\.gz"):
        Recording.load([tmp_path / "away.gz"])


def test_rest_has_the_recorded_trades_and_whole_minutes_also_after_cuts(recorded: Path) -> None:
    async def scenario() -> None:
        files = _files(recorded)
        real = [json.loads(text)["data"] for text in _lines(files[0]) if "@trade" in text]
        options = Options(port=0, recordings=files, speed=200.0)
        async with serving(options) as api:
            async with api.socket("/ws/btcusdt@trade") as stream:
                first = json.loads((await stream.receive()).data)["t"]
            found = {}
            while len(found) < len(real) - (first - real[0]["t"]):
                missing = next(number for number in range(first, first + len(real)) if number not in found)
                path = f"/api/v3/historicalTrades?symbol=BTCUSDT&limit=1000&fromId={missing}"
                found |= {row["id"]: row for row in await api.get(path)}
                with contextlib.suppress(aiohttp.WSServerHandshakeError):
                    async with api.socket("/ws/btcusdt@trade") as stream:
                        await api.post("/faults", {"kind": "cut", "seconds": 0.1})
                while (await api.get("/truth/faults"))["faults"][-1]["to"] is None:
                    await asyncio.sleep(0.02)
            ours = [[trade[key] for key in ("t", "p", "q", "T", "m")] for trade in real if trade["t"] >= first]
            keys = ("id", "price", "qty", "time", "isBuyerMaker")
            assert [[found[number][key] for key in keys] for number in sorted(found)] == ours
            rows = await api.get("/api/v3/klines?symbol=BTCUSDT&interval=1m")
            assert [row[0] for row in rows] == [1723161300000 + 60_000 * place for place in range(5)]
            for row in rows:
                inside = [trade for trade in real if row[0] <= trade["T"] <= row[6]]
                prices = [Decimal(trade["p"]) for trade in inside]
                assert [Decimal(value) for value in row[1:5]] == [prices[0], max(prices), min(prices), prices[-1]]
                assert Decimal(row[5]) == sum(Decimal(trade["q"]) for trade in inside)
                assert Decimal(row[7]) == sum(Decimal(trade["q"]) * Decimal(trade["p"]) for trade in inside)
                assert row[8] == len(inside)
            merged = await api.get(f"/api/v3/aggTrades?symbol=BTCUSDT&startTime={real[0]['T']}&limit=1000")
            assert merged[0]["f"] == real[0]["t"]
            assert all(one["l"] + 1 == other["f"] for one, other in itertools.pairwise(merged))
            info = await api.get("/api/v3/exchangeInfo")
            assert [row["symbol"] for row in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
            error = await api.post("/faults", {"kind": "halt", "symbol": "BTCUSDT"}, status=400)
            assert "replay" in error["error"]

    run(scenario)


def test_rest_does_not_tell_what_is_still_to_come(tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text(
        "".join(f"{number * 10**12} {TRADE % number}\n".replace("255342", f"{number}00000") for number in (1, 2))
    )

    async def scenario() -> None:
        async with serving(Options(port=0, recordings=[file])) as api:
            assert await api.get("/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1") == []
            async with api.socket("/ws/btcusdt@trade") as stream:
                await stream.receive()
                rows = await api.get("/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1")
                assert [row["id"] for row in rows] == [1]

    run(scenario)


@pytest.mark.parametrize(
    "content",
    [
        b"1 " + b"[" * 100_000,
        b'1 {"stream":5,"data":{}}',
        b'1 {"stream":"a@trade","data":7}',
        b"1 \xff\xfe",
        gzip.compress(b"1 {}" * 100)[:20],
        gzip.compress(b"1 {}" * 100)[:12] + b"\xff" * 20,
    ],
    # A name that holds the second in which it was packed is not the same in two workers, and pytest ends.
    ids=["deep", "no stream", "no data", "no text", "cut off", "damaged"],
)
def test_a_file_that_is_no_recording_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / ("mine.gz" if content.startswith(b"\x1f\x8b") else "mine.txt")
    file.write_bytes(content + b"\n" if file.suffix == ".txt" else content)
    with pytest.raises(SimulatorError, match="mine"):
        Recording.load([file])
