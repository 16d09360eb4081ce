"""Every series without a gap, from its first to its latest candle: where there is no candle, the last close goes on.

A filled interval has the close before it as its prices, volume 0 and no vwap, and `is_filled`. `fill_reason` is what
`silver.completeness` says of its minutes, of several the one that stands last here: `no_trades`, `not_listed`, `halt`,
`venue_gap`, `not_collected`, `expired`, `our_outage`; `unknown` where it does not account for each of them. Where the
ids of the trades around it follow each other it is `no_trades`, unless the exchange says why.
"""

from crypto_pipeline.silver import fact_ohlcv
from crypto_pipeline.silver.candles import INTERVALS
from shared.tables import DECIMAL, View

_ZERO = f"CAST(0 AS {DECIMAL})"
_FILLED = {
    **{name: name for name in ("exchange", "symbol", "base_asset", "quote_asset", "interval", "interval_seconds")},
    "interval_start": "timestamp_seconds(start)",
    "interval_end": "timestamp_seconds(start + interval_seconds)",
    **dict.fromkeys(("open", "high", "low", "close"), "close"),
    **dict.fromkeys(("volume", "quote_volume"), _ZERO),
    "trade_count": "0",
    "vwap": "NULL",
    **dict.fromkeys(("taker_buy_volume", "taker_buy_quote_volume"), _ZERO),
    "is_closed": "true",
    "is_filled": "true",
    "fill_reason": "CASE WHEN is_quiet AND coalesce(reason, '') NOT IN ('halt', 'not_listed') THEN 'no_trades' "
    "ELSE coalesce(reason, 'unknown') END",
}
"""The columns, and what a filled interval has in them."""
_CANDLE = {"is_filled": "false", "fill_reason": "NULL"}
_WORST_LAST = ("no_trades", "not_listed", "halt", "venue_gap", "not_collected", "expired", "our_outage")
_RANK = " ".join(f"WHEN '{reason}' THEN {rank}" for rank, reason in enumerate(_WORST_LAST))

_SERIES = "exchange, symbol, base_asset, quote_asset, interval, interval_seconds"
_CANDLES = f"({fact_ohlcv.VIEW.sql})"
_GAPS = f"""
    SELECT {_SERIES}, close, is_quiet, interval_seconds AS seconds, start + place * interval_seconds AS start
    FROM (
        SELECT *, explode(sequence(1, CAST((next_start - start) / interval_seconds AS bigint) - 1)) AS place
        FROM (
            SELECT {_SERIES}, close, unix_seconds(interval_start) AS start,
                lead(unix_seconds(interval_start)) OVER series AS next_start,
                coalesce(lead(first_trade_id) OVER series = last_trade_id + 1, false) AS is_quiet
            FROM {_CANDLES}
            WINDOW series AS (PARTITION BY exchange, symbol, interval ORDER BY interval_start)
        )
        WHERE next_start - start > interval_seconds
    )
"""  # noqa: S608 (names of our own)
"""SQL: the intervals without a candle, by their `start` in seconds, with the close before them."""
_REASONS = f"""
    SELECT exchange, symbol, seconds, start,
        CASE WHEN count(*) = max(seconds) / 60 THEN max_by(reason, badness) END AS reason
    FROM (
        SELECT exchange, symbol, seconds, reason, CASE reason {_RANK} ELSE {len(_WORST_LAST)} END AS badness,
            unix_seconds(interval_start) - unix_seconds(interval_start) % seconds AS start
        FROM silver.completeness
        CROSS JOIN (VALUES {", ".join(f"({seconds})" for seconds in INTERVALS.values())}) AS lengths(seconds)
        WHERE reason IS NOT NULL
    )
    GROUP BY exchange, symbol, seconds, start
"""  # noqa: S608 (names of our own)
"""SQL: the worst reason in an interval of any length of which every minute has one."""

VIEW = View(
    layer="silver",
    name="ohlcv_filled",
    grain="One row per exchange, symbol, interval and start, from the first candle of the series to its latest",
    tables=("silver.ohlcv_1m", "silver.ohlcv", "silver.completeness"),
    sql=f"""
    SELECT {", ".join(f"{_CANDLE.get(name, name)} AS {name}" for name in _FILLED)} FROM {_CANDLES}
    UNION ALL
    SELECT {", ".join(f"{text} AS {name}" for name, text in _FILLED.items())}
    FROM ({_GAPS}) LEFT JOIN ({_REASONS}) USING (exchange, symbol, seconds, start)
    """,  # noqa: S608 (names of our own)
    comments={
        "is_filled": "there is no candle: the last close goes on",
        "fill_reason": "why there is none, or unknown; null where there is one",
    },
)
