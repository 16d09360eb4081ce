"""Hours of made markets, and a store in memory, for the tests of forecasts."""

import numpy as np
import pandas as pd

from crypto_pipeline.gold._model_store import ModelError

FIRST = pd.Timestamp("2026-10-01")
HOUR = pd.Timedelta(hours=1)


class MemoryStore(dict[str, bytes]):
    """Bytes by name."""

    def put(self, name: str, body: bytes) -> str:
        self[name] = body
        return name

    def get(self, uri: str) -> bytes:
        if uri not in self:
            raise ModelError(f"{uri} is not there")
        return self[uri]


def market(hours: int, symbol: str = "BTCUSDT", seed: int = 0, persistence: float = 0.9) -> pd.DataFrame:
    """Hours of a market whose ln(variance) is autoregressive, as rows of `gold.forecast_inputs`."""
    rng = np.random.default_rng(seed)
    logs = np.zeros(hours)
    for hour in range(1, hours):
        logs[hour] = persistence * logs[hour - 1] + 0.4 * rng.normal()
    variance = 1e-5 * np.exp(logs)
    closes = 100 * np.exp(np.cumsum(rng.normal(size=hours) * np.sqrt(variance)))
    return pd.DataFrame(
        {
            "exchange": "binance",
            "symbol": symbol,
            "interval_start": pd.date_range(FIRST, periods=hours, freq="h"),
            "close": closes,
            "high": closes * (1 + np.sqrt(variance)),
            "low": closes * (1 - np.sqrt(variance)),
            "realised_variance": variance * rng.chisquare(60, hours) / 60,
            "quote_volume": rng.gamma(2, 1e5, hours),
            "taker_buy_quote_volume": rng.gamma(2, 1e4, hours),
            "trade_count": rng.integers(1, 1000, hours),
        }
    )
