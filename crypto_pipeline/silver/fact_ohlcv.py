"""All candles of all intervals in one place."""

from crypto_pipeline.silver.candles import CANDLE_COLUMNS
from shared.tables import View

COLUMNS = tuple(column.name for column in CANDLE_COLUMNS if column.name != "month")
_TABLES = ("silver.ohlcv_1m", "silver.ohlcv")

VIEW = View(
    layer="silver",
    name="fact_ohlcv",
    grain="One row per exchange, symbol, interval (1m, 5m, 15m, 1h, 4h, 1d) and start in which something traded",
    tables=_TABLES,
    sql=" UNION ALL ".join(f"SELECT {', '.join(COLUMNS)} FROM {table}" for table in _TABLES),  # noqa: S608 (names of our own)
)
