"""What all candle tables share: the columns, the intervals, and what a version of a candle is. No Spark is imported."""

from shared.tables import DECIMAL, Column

INTERVALS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14400, "1d": 86400}
"""Seconds of each interval. All start at 00:00 UTC."""
LONGER = {name: seconds for name, seconds in INTERVALS.items() if name != "1m"}

SERIES = ("exchange", "symbol", "base_asset", "quote_asset")
PRICES_AND_VOLUMES = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
VALUES = (*PRICES_AND_VOLUMES, "trade_count", "vwap", "first_trade_id", "last_trade_id")
"""What a candle says; another value in a closed candle is a new revision."""

STATUSES = ("complete", "repaired", "pending", "partial")
"""From the best to the worst."""

CANDLE_COLUMNS = (
    Column("exchange", "string", "the market: binance is Binance spot"),
    Column("symbol", "string", "canonical: base and quote in upper case, joined"),
    Column("base_asset", "string", "what is traded"),
    Column("quote_asset", "string", "what it is priced in"),
    Column("interval", "string", "1m, 5m, 15m, 1h, 4h or 1d"),
    Column("interval_seconds", "int", "length of the interval"),
    Column("interval_start", "timestamp", "UTC, inclusive; a candle is named by it"),
    Column("interval_end", "timestamp", "UTC, exclusive"),
    Column("open", DECIMAL, "price of the first trade by trade id"),
    Column("high", DECIMAL, "highest price"),
    Column("low", DECIMAL, "lowest price"),
    Column("close", DECIMAL, "price of the last trade by trade id"),
    Column("volume", DECIMAL, "traded, in the base asset"),
    Column("quote_volume", DECIMAL, "traded, in the quote asset: the sum of price * quantity"),
    Column("trade_count", "bigint", "number of trades"),
    Column("vwap", DECIMAL, "quote_volume / volume, 18 places, half up; null when nothing traded"),
    Column("taker_buy_volume", DECIMAL, "bought by takers, in the base asset"),
    Column("taker_buy_quote_volume", DECIMAL, "bought by takers, in the quote asset"),
    Column("first_trade_id", "bigint", "id of the first trade; null where the exchange's kline does not say"),
    Column("last_trade_id", "bigint", "id of the last trade; null where the exchange's kline does not say"),
    Column("is_closed", "boolean", "the interval is over"),
    Column("status", "string", "complete, repaired, pending or partial; of several minutes the worst"),
    Column(
        "proof", "string", "what it rests on: trade_ids, agg, exchange_kline or none; of several minutes the weakest"
    ),
    Column(
        "source",
        "string",
        "what made it: websocket, trades, rest or archive; of several minutes the last in this order",
    ),
    Column("minutes_present", "int", "minutes of the interval with a candle; one where nothing traded has none"),
    Column("minutes_expected", "int", "minutes of the interval"),
    Column("revision", "int", "1 at first; counts up when a closed candle's values change"),
    Column("known_at", "timestamp", "when this version became known"),
    Column("ingestion_ts", "timestamp", "when the row was written"),
    Column("month", "string", "partition: UTC month of interval_start, yyyy-MM"),
)
RULES = {
    "high_is_highest": "high >= open and high >= close and high >= low",
    "low_is_lowest": "low <= open and low <= close and low <= high",
    "volumes_are_positive": "volume > 0 and quote_volume > 0 and trade_count > 0",
    "takers_bought_no_more_than_was_traded": "taker_buy_volume between 0 and volume",
    "it_starts_on_its_grid": "unix_seconds(interval_start) % interval_seconds = 0",
    "status_is_known": "status in ('complete', 'repaired', 'partial', 'pending')",
}
BOOKKEEPING = ("revision", "known_at", "ingestion_ts", "superseded")
"""What a candle says of itself, not of the market: a rebuilt one may differ in it."""

_TYPES = {column.name: column.type for column in CANDLE_COLUMNS}
KEPT = (*VALUES, "status", "proof", "source", "minutes_present", "revision")
_MOMENTS = ("known_at", "ingestion_ts", "known_to")
VERSION = {name: _TYPES[name] for name in KEPT} | dict.fromkeys(_MOMENTS, "bigint")
"""What is kept of a version that was superseded, with its type. Times are microseconds since 1970: hudi-rs 0.5 cannot
read timestamps within an array."""
SUPERSEDED = Column(
    "superseded",
    f"array<struct<{', '.join(f'{name}:{kind}' for name, kind in VERSION.items())}>>",
    "the earlier versions of the closed candle, the first one first, as silver.ohlcv_revisions shows them; null: none",
)
"""A candle bears its earlier versions itself: so both are in one commit, and what is never revised costs nothing."""
