"""A recording is sent again exactly."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streaming.simulator import SimulatorError
from streaming.simulator.replay import Recording
from streaming.simulator.server import Options, running

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
