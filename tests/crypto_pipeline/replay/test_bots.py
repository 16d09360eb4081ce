"""python-binance and ccxt, in an environment of their own, read candles and a stream with just the address changed."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crypto_pipeline.replay.messages import places
from shared.settings import Settings
from streaming.archive import HOUR
from tests.crypto_pipeline.replay.conftest import FRAMES, START, Look, Playing, archive, kline_row, trade_row
from tests.venvs import python_with

PYTHON_BINANCE = """
import asyncio, json, sys
from binance import AsyncClient, BinanceSocketManager

async def main():
    client = await AsyncClient.create()
    candles = await client.get_klines(symbol="BTCUSDT", interval="1m", limit=3)
    trades = []
    async with BinanceSocketManager(client).trade_socket("BTCUSDT") as stream:
        while len(trades) < 120:
            trades.append(await stream.recv())
    await client.close_connection()
    print(json.dumps({"candles": candles, "trades": trades}))

address = sys.argv[1]
AsyncClient.API_URL = f"http://{address}/api"
BinanceSocketManager.STREAM_URL = f"ws://{address}/"
asyncio.run(main())
"""

CCXT = """
import asyncio, json, sys
import ccxt.pro

async def main():
    exchange = ccxt.pro.binance({"newUpdates": True, "options": {"fetchMarkets": {"types": ["spot"]}}})
    address = sys.argv[1]
    exchange.urls["api"]["public"] = f"http://{address}/api/v3"
    exchange.urls["api"]["ws"]["spot"] = f"ws://{address}/ws"
    candles = await exchange.fetch_ohlcv("BTC/USDT", "1m", limit=3)
    trades = []
    while len(trades) < 120:
        trades += await exchange.watch_trades("BTC/USDT")
    await exchange.close()
    fields = ("id", "timestamp", "price", "amount", "side")
    print(json.dumps({"candles": candles, "trades": [[trade[name] for name in fields] for trade in trades]}))

asyncio.run(main())
"""


@pytest.fixture
def answer(settings: Settings, looked: Look, playing: Playing) -> Any:
    """What a bot prints of the first hour."""
    archive(settings, FRAMES)
    python = python_with(Path(__file__).with_name("bots.txt"))

    def ask(script: str) -> Any:
        with playing(looked(START, START + HOUR)) as address:
            done = subprocess.run(
                [str(python), "-I", "-c", script, address], capture_output=True, text=True, timeout=60
            )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return ask


def test_python_binance_reads_candles_and_the_trades(answer: Any) -> None:
    read = answer(PYTHON_BINANCE)
    assert read["candles"][0][1] == places(kline_row(-2)["open"])
    rows = [trade_row(number) for number in range(120)]
    assert [(trade["t"], trade["p"]) for trade in read["trades"]] == [
        (row["trade_id"], places(row["price"])) for row in rows
    ]


def test_ccxt_reads_candles_and_the_trades(answer: Any) -> None:
    read = answer(CCXT)
    assert read["candles"][0][1] == float(kline_row(-2)["open"])
    assert read["trades"] == [
        [
            str(row["trade_id"]),
            int(row["event_time"].timestamp() * 1000),
            float(row["price"]),
            float(row["quantity"]),
            "sell" if row["is_buyer_maker"] else "buy",
        ]
        for row in (trade_row(number) for number in range(120))
    ]
