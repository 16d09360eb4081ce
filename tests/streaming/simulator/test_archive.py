"""Public files say what REST says."""

import csv
import hashlib
import io
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streaming.simulator.market import MINUTE
from tests.streaming.simulator.client import OPTIONS, Api, run, serving

QUIET = replace(OPTIONS, rate=0.5, history_hours=24 * 40)
DAY = 24 * 60 * MINUTE


def _yesterday() -> datetime:
    now = datetime.now(UTC)
    return now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


async def _rows(api: Api, path: str) -> list[list[str]]:
    """The lines of a file whose checksum is right."""
    async with api.session.get(f"http://{api.address}/data/spot/{path}") as reply:
        assert reply.status == 200
        content = await reply.read()
    async with api.session.get(f"http://{api.address}/data/spot/{path}.CHECKSUM") as reply:
        assert await reply.text() == f"{hashlib.sha256(content).hexdigest()}  {path.rpartition('/')[2]}\n"
    packed = zipfile.ZipFile(io.BytesIO(content))
    [name] = packed.namelist()
    assert name == path.rpartition("/")[2].replace(".zip", ".csv")
    return list(csv.reader(io.StringIO(packed.read(name).decode())))


def _texts(rows: Iterator[list[Any]] | list[list[Any]]) -> list[list[str]]:
    return [[str(value) for value in row] for row in rows]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "币安人生USDT"])
def test_files_of_a_day_equal_rest_row_for_row(symbol: str) -> None:
    async def scenario() -> None:
        day = _yesterday()
        start = int(day.timestamp()) * 1_000_000
        name = f"{symbol}-{{}}-{day:%Y-%m-%d}.zip"
        async with serving(QUIET) as api:
            trades = await _rows(api, f"daily/trades/{symbol}/{name.format('trades')}")
            assert start <= int(trades[0][4]) <= int(trades[-1][4]) < start + DAY
            first = int(trades[0][0])
            rest = await api.get(
                f"/api/v3/historicalTrades?symbol={symbol}&fromId={first}&limit=1000", unit="MICROSECOND"
            )
            assert _texts([list(row.values()) for row in rest])[: len(trades)] == trades[:1000]
            merged = await _rows(api, f"daily/aggTrades/{symbol}/{name.format('aggTrades')}")
            path = f"/api/v3/aggTrades?symbol={symbol}&fromId={merged[0][0]}&limit=1000"
            rest = await api.get(path, unit="MICROSECOND")
            assert _texts([list(row.values()) for row in rest])[: len(merged)] == merged[:1000]
            assert (merged[0][3], merged[-1][4]) == (trades[0][0], trades[-1][0])
            candles = await _rows(api, f"daily/klines/{symbol}/1m/{name.format('1m')}")
            path = f"/api/v3/klines?symbol={symbol}&interval=1m&limit=1000&startTime={start}"
            rest = await api.get(path, unit="MICROSECOND")
            assert len(candles) == 1440
            assert _texts(rest) == candles[:1000]
            assert sum(int(row[8]) for row in candles) == len(trades)

    run(scenario)


def test_a_month_is_its_days() -> None:
    async def scenario() -> None:
        async with serving(QUIET) as api:
            last = datetime.now(UTC).replace(day=1) - timedelta(days=1)
            month = await _rows(api, f"monthly/klines/DOTUSDT/1m/DOTUSDT-1m-{last:%Y-%m}.zip")
            day = await _rows(api, f"daily/klines/DOTUSDT/1m/DOTUSDT-1m-{last:%Y-%m-%d}.zip")
            assert month[-1440:] == day

    run(scenario)


def test_what_is_not_over_or_was_never_is_not_there() -> None:
    async def scenario() -> None:
        today, month = datetime.now(UTC), datetime.now(UTC).strftime("%Y-%m")
        async with serving(replace(QUIET, history_hours=24)) as api:
            for path in (
                f"daily/trades/BTCUSDT/BTCUSDT-trades-{today:%Y-%m-%d}.zip",
                f"monthly/trades/BTCUSDT/BTCUSDT-trades-{month}.zip",
                f"daily/trades/BTCUSDT/BTCUSDT-trades-{today - timedelta(days=5):%Y-%m-%d}.zip",
                f"daily/trades/BTCUSDT/ETHUSDT-trades-{_yesterday():%Y-%m-%d}.zip",
                f"daily/klines/BTCUSDT/BTCUSDT-1m-{_yesterday():%Y-%m-%d}.zip",
                f"daily/trades/NOPE/NOPE-trades-{_yesterday():%Y-%m-%d}.zip",
                "daily/trades/BTCUSDT/BTCUSDT-trades-2026-02-31.zip",
                "../market.json",
            ):
                async with api.session.get(f"http://{api.address}/data/spot/{path}") as reply:
                    assert reply.status == 404

    run(scenario)


def test_a_page_of_old_candles_comes_at_once_however_busy_the_market_is_now() -> None:
    async def scenario() -> None:
        async with serving(replace(OPTIONS, rate=20_000.0, history_hours=400 * 24)) as api:
            start = (time.time_ns() // 1000 - 399 * DAY) // 1000
            begun = time.monotonic()
            rows = await api.get(f"/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1000&startTime={start}")
            assert len(rows) == 1000
            assert time.monotonic() - begun < 2.0  # 0.05 s where nothing else runs

    run(scenario)
