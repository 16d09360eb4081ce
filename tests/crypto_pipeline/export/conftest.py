"""A small market for exports: two days of candles, trades and books of BTCUSDT, with awkward digits."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crypto_pipeline.export import _export, _reading, format_of
from crypto_pipeline.export._format import Data, Range
from shared.events import exact_product
from tests.crypto_pipeline.engines import candle, minute
from tests.crypto_pipeline.stored_tables import Tables

TWO_DAYS = Range(minute(0), minute(2 * 1440))
Exporting = Callable[..., _export.Done]


def trade(number: int, **changes: Any) -> dict[str, Any]:
    """A trade each three hours, from midnight on; its price and quantity have as many places as Binance's may have."""
    at = minute(180 * number) + timedelta(microseconds=1_234_567 + number)
    price, quantity = Decimal("63000.12") + number, Decimal("0.00512345") * (number + 1)
    row = {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "event_time": at,
        "published_at": at,
        "received_at": at + timedelta(milliseconds=40),
        "ingested_at": at + timedelta(seconds=5),
        "source": "websocket",
        "connection_id": "one",
        "trade_id": 900 + number,
        "price": price,
        "quantity": quantity,
        "quote_quantity": exact_product(price, quantity),
        "is_buyer_maker": number % 2 == 1,
        "broken_rules": [],
    }
    return row | {"date": f"{at:%Y-%m-%d}", "hour": f"{at:%H}"} | changes


def book(number: int, best: str = "63000.12", levels: int = 5, **changes: Any) -> dict[str, Any]:
    """A snapshot of the book each three hours, half a second after the trade. Binance gives it no time."""
    at = minute(180 * number) + timedelta(microseconds=1_734_567)
    steps = [Decimal("0.01") * level for level in range(levels)]
    row = {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "event_time": None,
        "received_at": at,
        "update_id": 7000 + number,
        "levels": 5,
        "bids": [{"price": Decimal(best) - step, "quantity": Decimal("1.5") + step} for step in steps],
        "asks": [{"price": Decimal(best) + 1 + step, "quantity": Decimal("0.25")} for step in steps],
    }
    return row | {"date": f"{at:%Y-%m-%d}", "hour": f"{at:%H}"} | changes


def half_hourly(number: int, interval: str = "5m", **changes: Any) -> dict[str, Any]:
    """A candle each half hour, with as many digits as one may have."""
    prices = {"open": "63000.1", "high": f"63{100 + number}.25", "low": "62999.99", "close": "63000.12345678"}
    values = {name: Decimal(text) for name, text in prices.items()}
    volumes = {"volume": Decimal("0.12345") + number, "quote_volume": Decimal("7777.123456789012")}
    return candle(30 * number, 1, interval, **values, **volumes, **changes)


@pytest.fixture
def market(tables: Tables) -> Tables:
    """The tables of the lake, with two days of all that is exported."""
    ether = {"symbol": "ETHUSDT", "base_asset": "ETH"}
    days = [candle(1440 * day, 1, "1d", **changes) for day in (0, 1) for changes in ({}, ether)]
    others = [half_hourly(n, **ether) for n in range(3)]
    tables.has("silver.ohlcv", [*days, *(half_hourly(n) for n in range(96)), *others])
    tables.has("silver.ohlcv_1m", [half_hourly(n, "1m") for n in range(96)])
    tables.has("bronze.trades", [*(trade(n) for n in reversed(range(16))), trade(3, symbol="ETHUSDT")])
    tables.has("bronze.depth", [book(n) for n in range(16)])
    names = {"exchange": "binance", "symbol": "BTCUSDT", "valid_from": minute(0)}
    tables.has("silver.instruments", [names | {"tick_size": Decimal("0.01"), "step_size": Decimal("0.00001")}])
    return tables


@pytest.fixture
def exporting(market: Tables, tmp_path: Path) -> Exporting:
    """Exports BTCUSDT of the market into `tmp_path`."""

    def export(name: str, data: Data = "candles", interval: str = "5m", asked: Range = TWO_DAYS) -> _export.Done:
        assert data in format_of(name).data
        return _export.export(name, _reading.wanted("BTCUSDT", "binance", data, interval, asked), tmp_path)

    return export


def rows_of(market: Tables, name: str) -> list[dict[str, Any]]:
    """The rows of BTCUSDT in time, and of candles those of 5m."""
    mine = [row for row in market.stored[name].rows if row["symbol"] == "BTCUSDT" and row.get("interval") != "1d"]
    return sorted(mine, key=lambda row: row.get("interval_start") or row.get("event_time") or row["received_at"])
