"""How the files of Binance's public archive are laid out, and what they are called.

https://github.com/binance/binance-public-data: CSV, daily and monthly. No Spark is imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import pyarrow as pa

Kind = Literal["trades", "agg-trades", "klines", "depth"]
"""Of `depth`, the books, no archive has files: they come from `crypto export` alone."""
DECIMAL = pa.decimal128(38, 18)
SAID = "said_quote_quantity"
"""What a file of trades says of price * quantity, to eight places."""
IGNORED = ("is_best_match", "ignore")
"""Columns that mean nothing."""
_TRADE = {"price": DECIMAL, "quantity": DECIMAL}


@dataclass(frozen=True)
class Layout:
    """One kind of file: its word in paths and names, and its columns in their order."""

    folder: str
    word: str
    columns: Mapping[str, pa.DataType]
    key: str
    time: str


LAYOUTS: Mapping[Kind, Layout] = {
    "trades": Layout(
        "trades",
        "trades",
        {"trade_id": pa.int64(), **_TRADE, SAID: DECIMAL, "event_time": pa.int64()}
        | {"is_buyer_maker": pa.bool_(), "is_best_match": pa.string()},
        key="trade_id",
        time="event_time",
    ),
    "agg-trades": Layout(
        "aggTrades",
        "aggTrades",
        {"agg_trade_id": pa.int64(), **_TRADE, "first_trade_id": pa.int64(), "last_trade_id": pa.int64()}
        | {"event_time": pa.int64(), "is_buyer_maker": pa.bool_(), "is_best_match": pa.string()},
        key="agg_trade_id",
        time="event_time",
    ),
    "klines": Layout(
        "klines",
        "1m",
        {"open_time": pa.int64(), "open": DECIMAL, "high": DECIMAL, "low": DECIMAL, "close": DECIMAL}
        | {"volume": DECIMAL, "close_time": pa.int64(), "quote_volume": DECIMAL, "trade_count": pa.int64()}
        | {"taker_buy_volume": DECIMAL, "taker_buy_quote_volume": DECIMAL, "ignore": pa.string()},
        key="open_time",
        time="open_time",
    ),
}


def file_name(native: str, word: str, period: str, suffix: str) -> str:
    """What the file of a day (`2026-11-20`) or month (`2026-11`) is called: `BTCUSDT-trades-2026-11-20.zip`."""
    return f"{native}-{word}-{period}.{suffix}"


def period_of(text: str) -> tuple[date, date]:
    """The first day of a day or month, and the first one after it."""
    if len(text) > len("2026-11"):
        day = date.fromisoformat(text)
        return day, day + timedelta(days=1)
    first = date.fromisoformat(f"{text}-01")
    return first, (first + timedelta(days=31)).replace(day=1)
