"""freqtrade's loader and NautilusTrader's catalog, in environments of their own, see the same candles and trades."""

import json
import subprocess
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from crypto_pipeline import utc
from tests.crypto_pipeline.export.conftest import Exporting, rows_of
from tests.crypto_pipeline.stored_tables import Tables
from tests.venvs import python_with

HERE = Path(__file__).parent


def answer(tool: str, script: str, folder: Path) -> Any:
    """What a script prints as JSON in the environment of a tool; its first argument is the folder."""
    command = [str(python_with(HERE / f"{tool}.txt")), "-I", "-c", script, str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


NAUTILUS = """
import json, sys
from nautilus_trader.persistence.catalog import ParquetDataCatalog

catalog = ParquetDataCatalog(sys.argv[1])
bars = catalog.bars(bar_types=["BTCUSDT.BINANCE-5-MINUTE-LAST-EXTERNAL"])
ticks = catalog.trade_ticks(instrument_ids=["BTCUSDT.BINANCE"])
numbers = lambda one, names: [str(getattr(one, name).as_decimal()) for name in names]
print(json.dumps({
    "bars": [[bar.ts_event, bar.ts_init, *numbers(bar, ["open", "high", "low", "close", "volume"])] for bar in bars],
    "ticks": [
        [tick.ts_event, str(tick.trade_id), tick.aggressor_side.name, *numbers(tick, ["price", "size"])]
        for tick in ticks
    ],
    "precisions": [ticks[0].price.precision, ticks[0].size.precision],
}))
"""

FREQTRADE = """
import json, sys
from pathlib import Path
from freqtrade.data.history.datahandlers import get_datahandler
from freqtrade.enums import CandleType, TradingMode

handler = get_datahandler(Path(sys.argv[1]), "feather")
found = handler.ohlcv_get_available_data(Path(sys.argv[1]), TradingMode.SPOT)
candles = handler.ohlcv_load("BTC/USDT", "5m", CandleType.SPOT, fill_missing=False)
filled = handler.ohlcv_load("BTC/USDT", "5m", CandleType.SPOT)
trades = handler.trades_load("BTC/USDT", TradingMode.SPOT)
print(json.dumps({
    "found": [[pair, timeframe] for pair, timeframe, _ in found],
    "candles": [[date.isoformat(), *values] for date, *values in candles.itertuples(index=False)],
    "filled": len(filled),
    "trades": trades[["timestamp", "id", "side", "price", "amount", "cost"]].values.tolist(),
}))
"""


def test_the_catalog_of_nautilus_trader_sees_the_same_bars_and_ticks_exact(
    exporting: Exporting, market: Tables, tmp_path: Path
) -> None:
    exporting("nautilus")
    exporting("nautilus", "trades")
    read = answer("nautilus", NAUTILUS, tmp_path)
    candles, trades = rows_of(market, "silver.ohlcv"), rows_of(market, "bronze.trades")
    names = ("open", "high", "low", "close", "volume")
    assert [(at, *map(Decimal, values)) for at, _, *values in read["bars"]] == [
        (nanoseconds(row["interval_end"]), *(row[name] for name in names)) for row in candles
    ]
    assert all(event == init for event, init, *_ in read["bars"])
    assert [(at, number, side, *map(Decimal, values)) for at, number, side, *values in read["ticks"]] == [
        (
            nanoseconds(row["event_time"]),
            str(row["trade_id"]),
            "SELLER" if row["is_buyer_maker"] else "BUYER",
            row["price"],
            row["quantity"],
        )
        for row in trades
    ]
    assert read["precisions"] == [2, 8]


def test_the_loader_of_freqtrade_sees_the_same_candles_and_trades(
    exporting: Exporting, market: Tables, tmp_path: Path
) -> None:
    exporting("freqtrade")
    exporting("freqtrade", "trades")
    read = answer("freqtrade", FREQTRADE, tmp_path)
    candles, trades = rows_of(market, "silver.ohlcv"), rows_of(market, "bronze.trades")
    assert read["found"] == [["BTC/USDT", "5m"]]
    names = ("open", "high", "low", "close", "volume")
    assert read["candles"] == [
        [row["interval_start"].isoformat(), *(float(row[name]) for name in names)] for row in candles
    ]
    assert read["filled"] == (candles[-1]["interval_start"] - candles[0]["interval_start"]) // timedelta(minutes=5) + 1
    assert read["trades"] == [
        [
            nanoseconds(row["event_time"]) // 1_000_000,
            str(row["trade_id"]),
            "sell" if row["is_buyer_maker"] else "buy",
            *(float(row[name]) for name in ("price", "quantity", "quote_quantity")),
        ]
        for row in trades
    ]


def nanoseconds(at: datetime) -> int:
    return utc.micros(at) * 1000
