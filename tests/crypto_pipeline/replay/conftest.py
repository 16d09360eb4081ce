"""A stored range of two hours: the first as received, the second as rows of bronze alone."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import zstandard

from crypto_pipeline import utc
from crypto_pipeline.reader import NotThereYetError, Snapshot
from crypto_pipeline.replay import stored as stored_module
from crypto_pipeline.replay.server import Options, serve
from crypto_pipeline.replay.stored import MINUTE, Stored, Wanted
from shared.events import exact_product
from shared.settings import Settings
from shared.tables import Table
from streaming.archive import HOUR, encoded, place, raw_folder
from tests.crypto_pipeline.engines import candle, minute
from tests.crypto_pipeline.stored_tables import Tables
from tests.servers import MinioServer

START = utc.micros(minute(600))
"""10:00 of the day on which the tables of `engines` begin."""
TRADES = 240
"""Two a minute."""
NAME = "BTCUSDT"
Look = Callable[..., Stored]


def moments(number: int) -> int:
    """When a trade happens: 20 ms before it is received."""
    return START + number * MINUTE // 2 + 5_000_000


def trade_row(number: int, **changes: Any) -> dict[str, Any]:
    at = utc.moment_of(moments(number))
    price, quantity = Decimal("63000.10") + number, Decimal("0.00512") * (number % 7 + 1)
    row = {
        "exchange": "binance", "symbol": NAME, "base_asset": "BTC", "quote_asset": "USDT", "event_time": at,
        "published_at": at + timedelta(milliseconds=1), "received_at": at + timedelta(milliseconds=20),
        "source": "websocket", "trade_id": 900 + number, "price": price, "quantity": quantity,
        "quote_quantity": exact_product(price, quantity), "is_buyer_maker": number % 3 == 0,
    }  # fmt: skip
    return row | {"date": f"{at:%Y-%m-%d}", "hour": f"{at:%H}"} | changes


def body(stream: str, **data: Any) -> bytes:
    """A frame as Binance writes it."""
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":"), ensure_ascii=False).encode()


def trade_frame(number: int) -> bytes:
    row = trade_row(number)
    return body(
        "btcusdt@trade", e="trade", E=utc.micros(row["published_at"]), s=NAME, t=row["trade_id"],
        p=f"{row['price']:.8f}", q=f"{row['quantity']:.8f}", T=utc.micros(row["event_time"]),
        m=row["is_buyer_maker"], M=True,
    )  # fmt: skip


def kline_row(number: int, **changes: Any) -> dict[str, Any]:
    """The exchange's candle of a minute, closed."""
    opens = utc.moment_of(START + number * MINUTE)
    prices = {name: Decimal("63000.10") + 2 * number + more for name, more in (("open", 0), ("low", 0), ("high", 1))}
    volumes = dict.fromkeys(("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"), Decimal("1.5"))
    row = {
        "exchange": "binance", "symbol": NAME, "interval": "1m", "open_time": opens,
        "close_time": opens + timedelta(microseconds=MINUTE - 1), **prices, "close": prices["high"], **volumes,
        "trade_count": 2, "first_trade_id": 900 + 2 * number, "last_trade_id": 901 + 2 * number, "is_closed": True,
        "event_time": opens + timedelta(seconds=60), "published_at": opens + timedelta(seconds=60),
        "received_at": opens + timedelta(seconds=60, milliseconds=30), "source": "websocket",
    }  # fmt: skip
    return row | {"month": f"{opens:%Y-%m}"} | changes


def kline_frame(number: int) -> bytes:
    row = kline_row(number)
    opens = utc.micros(row["open_time"])
    candle_ = {
        "t": opens, "T": opens + MINUTE - 1, "s": NAME, "i": "1m", "f": row["first_trade_id"],
        "L": row["last_trade_id"],
        **{letter: f"{row[name]:.8f}" for letter, name in (("o", "open"), ("c", "close"), ("h", "high"), ("l", "low"))},
        "v": "1.50000000", "n": 2, "x": True, "q": "1.50000000", "V": "1.50000000", "Q": "1.50000000", "B": "0",
    }  # fmt: skip
    return body("btcusdt@kline_1m", e="kline", E=opens + MINUTE, s=NAME, k=candle_)


def book_row(number: int, **changes: Any) -> dict[str, Any]:
    """The book at the whole minute."""
    at = utc.moment_of(START + number * MINUTE)
    sides = {
        side: [
            {"price": Decimal(63000 + sign * (level + 1) + number), "quantity": Decimal("0.5")} for level in range(5)
        ]
        for side, sign in (("bids", -1), ("asks", 1))
    }
    row = {
        "exchange": "binance", "symbol": NAME, "event_time": None, "received_at": at, "source": "websocket",
        "update_id": 7000 + number, "levels": 5, **sides,
    }  # fmt: skip
    return row | {"date": f"{at:%Y-%m-%d}", "hour": f"{at:%H}"} | changes


def ticker_row(number: int, **changes: Any) -> dict[str, Any]:
    at = utc.moment_of(START + number * MINUTE)
    names = (
        "last_price", "last_quantity", "open_price", "high_price", "low_price", "price_change", "price_change_percent",
        "weighted_average_price", "volume", "quote_volume", "bid_price", "bid_quantity", "ask_price", "ask_quantity",
    )  # fmt: skip
    row = {
        "exchange": "binance", "symbol": NAME, "event_time": at, "received_at": at + timedelta(milliseconds=5),
        "source": "websocket", **{name: Decimal(place + number) for place, name in enumerate(names)},
        "open_time": at - timedelta(days=1), "close_time": at, "first_trade_id": 1, "last_trade_id": 900,
        "trade_count": 900,
    }  # fmt: skip
    return row | {"date": f"{at:%Y-%m-%d}", "hour": f"{at:%H}"} | changes


FRAMES = sorted(
    [
        *((moments(number) + 20_000, trade_frame(number)) for number in range(TRADES // 2)),
        *((START + (number + 1) * MINUTE + 30_000, kline_frame(number)) for number in range(TRADES // 4 - 1)),
    ],
    key=lambda frame: frame[0],
)
"""What was received in the first hour, in order."""


def archive(
    settings: Settings, frames: Sequence[tuple[int, bytes]], symbol: str = NAME, name: str = "000000-0"
) -> None:
    """Files of the raw archive, of each hour one, in whole zstd frames of 50."""
    for hour in {at // HOUR for at, _ in frames}:
        path = raw_folder(settings) / place("binance", symbol, hour) / f"{name}.jsonl.zst"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [encoded(frame, at, "c1") for at, frame in frames if at // HOUR == hour]
        pieces = [b"".join(lines[begin : begin + 50]) for begin in range(0, len(lines), 50)]
        path.write_bytes(b"".join(map(zstandard.ZstdCompressor().compress, pieces)))


@pytest.fixture
def settings(minio_server: MinioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    yield minio_server.settings
    minio_server.clear()


@pytest.fixture
def lake(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> Tables:
    """The tables of the two hours, and of the hour before them candles alone."""
    monkeypatch.setattr(stored_module, "open_table", tables.open)
    tables.has("bronze.trades", [trade_row(number) for number in range(TRADES)])
    tables.has("bronze.klines", [kline_row(number) for number in range(-60, TRADES // 2)])
    tables.has("bronze.depth", [book_row(number) for number in range(120)])
    tables.has("bronze.tickers", [ticker_row(number) for number in range(120)])
    days = [candle(0, 1, "1d", symbol=symbol) for symbol in (NAME, "ETHUSDT")]
    tables.has("silver.ohlcv", [*days, *(candle(5 * number, 1, "5m") for number in range(110, 150))])
    names = {"exchange": "binance", "symbol": NAME, "valid_from": minute(0), "status": "TRADING"}
    steps = {"tick_size": Decimal("0.01"), "step_size": Decimal("0.00001"), "min_notional": Decimal(5)}
    tables.has("silver.instruments", [names | steps])
    holes = [{"interval_start": minute(600 + number), "status": "partial", "month": "2026-08"} for number in (3, 4)]
    tables.has("silver.completeness", [{"exchange": "binance", "symbol": NAME} | hole for hole in holes])
    return tables


@pytest.fixture
def no_lake(monkeypatch: pytest.MonkeyPatch) -> None:
    """No table has been made yet."""

    def opened(table: Table, settings: Settings) -> Snapshot:
        raise NotThereYetError(table.full_name)

    monkeypatch.setattr(stored_module, "open_table", opened)


@pytest.fixture
def looked(settings: Settings, lake: Tables) -> Look:
    """What there is of a range, of the two hours where none is given."""

    def look(start: int = START, end: int = START + 2 * HOUR, *symbols: str) -> Stored:
        stored = Stored(settings, Wanted(start, end, symbols))
        stored.look()
        return stored

    return look


Playing = Callable[[Stored], AbstractContextManager[str]]


@pytest.fixture
def playing() -> Playing:
    """Plays in a thread, as fast as it is read; gives the address."""

    @contextmanager
    def play(stored: Stored) -> Iterator[str]:
        address: Future[str] = Future()
        loop = asyncio.new_event_loop()
        task = loop.create_task(serve(stored, Options("127.0.0.1", 0, None), address.set_result))

        def run() -> None:
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

        thread = Thread(target=run)
        thread.start()
        try:
            yield address.result(10)
        finally:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(task.cancel)
            thread.join(20)

    return play
