"""python-binance and ccxt, in an environment of their own, run docs/recipes/test-a-bot.md as it stands there."""

import re
import subprocess
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest

from crypto_pipeline.replay.messages import places
from shared.settings import PROJECT, Settings
from streaming.archive import HOUR
from tests.crypto_pipeline.replay.conftest import FRAMES, START, Look, Playing, archive, kline_row, trade_row
from tests.venvs import python_with

SNIPPETS = re.findall(r"^```python\n(.*?)^```$", (PROJECT / "docs/recipes/test-a-bot.md").read_text(), re.DOTALL | re.M)
TRADES = [trade_row(number) for number in range(100)]


@pytest.fixture
def printed(settings: Settings, looked: Look, playing: Playing) -> Any:
    """What a bot prints of the first hour, line by line."""
    archive(settings, FRAMES)
    python = python_with(Path(__file__).with_name("bots.txt"))

    def run(script: str) -> list[Any]:
        with playing(looked(START, START + HOUR)) as address:
            command = [str(python), "-I", "-c", script.replace("127.0.0.1:8110", address)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return [literal_eval(line) for line in done.stdout.splitlines()]

    return run


def test_python_binance_reads_candles_and_the_trades(printed: Any) -> None:
    candles, *trades = printed(SNIPPETS[0])
    assert [candle[1] for candle in candles[:2]] == [places(kline_row(number)["open"]) for number in (-2, -1)]
    assert [(trade["t"], trade["p"]) for trade in trades] == [(row["trade_id"], places(row["price"])) for row in TRADES]


def test_ccxt_reads_candles_and_the_trades(printed: Any) -> None:
    candles, *trades = printed(SNIPPETS[1])
    assert [candle[1] for candle in candles[:2]] == [float(kline_row(number)["open"]) for number in (-2, -1)]
    names = ("id", "timestamp", "price", "amount", "side")
    assert [tuple(trade[name] for name in names) for trade in trades[:100]] == [
        (
            str(row["trade_id"]),
            int(row["event_time"].timestamp() * 1000),
            float(row["price"]),
            float(row["quantity"]),
            "sell" if row["is_buyer_maker"] else "buy",
        )
        for row in TRADES
    ]
