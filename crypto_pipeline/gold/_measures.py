"""What each minute of a market is measured by, so that the unusual can be told from the usual.

All rests on the minute and the `BEFORE` hours before its own at most, however much is read: so a minute comes out the
same in a small window and in a large one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added, to_pandas
from crypto_pipeline.gold._prices import SERIES, log_returns
from crypto_pipeline.silver import completeness, ohlcv_1m, order_book_1m

SOURCES = (ohlcv_1m.TABLE, order_book_1m.TABLE, completeness.TABLE)
CARRIED = 60
"""So many proven quiet minutes at most carry a close; a market in which nothing traded for longer is not measured."""
WINDOW = 360
"""Minutes that are looked back for the begin of a stand; a longer one counts as so long."""
TRADED = "traded"
"""Beside the measures: 1 or 0 as `trades`, but for WINDOW minutes after the last trade."""
BEFORE = 2
"""Hours before the one of a minute in which all lies that its measures rest on."""


@dataclass(frozen=True)
class Measure:
    """What is measured, and how a figure of it is written."""

    name: str
    comment: str
    unit: str = ""
    """`base`: the market's base asset."""
    is_log: bool = False
    """Its logarithm is what is compared: it cannot be negative, and its noise is a factor."""
    floor: float = 0.0
    """No scale is less: a steady market's last tick is nothing unusual."""


RETURN = Measure("return", "log return of close between adjacent minutes", "%", floor=1e-4)
VOLUME = Measure("volume", "traded in the minute, in the base asset", "base", is_log=True, floor=0.1)
TRADE_SIZE = Measure("trade_size", "volume / trade_count, in the base asset", "base", is_log=True, floor=0.1)
SPREAD = Measure("spread", "time-weighted spread of the book's best level", "bps", is_log=True, floor=0.1)
IMBALANCE = Measure("imbalance", "time-weighted imbalance of the book's levels, -1 to 1", floor=0.02)
AWAY = Measure(
    "away", "ln(close in USDT / median of the base asset's markets; of two, of the other)", "bps", floor=1e-4
)
MEASURES = {one.name: one for one in (RETURN, VOLUME, TRADE_SIZE, SPREAD, IMBALANCE, AWAY)}
SHARES = {
    "trades": "share of the minutes with a trade, of those with a trade or proven to have none",
    "changes": "share of the minutes with another price than the close before, of those with a trade",
}
"""What a minute is or is not: 1 or 0."""

Wide = Mapping[str, pd.DataFrame]
"""By measure: a row a minute, a column (exchange, symbol) a market; NaN where it is not known."""
_USDT = "USDT"
_ROWS = {
    "base_asset": "string",
    "close": "double",
    "high": "double",
    "low": "double",
    "volume": "double",
    "trade_count": "double",
    "usdt_price": "double",
    "is_quiet": "boolean",
    "spread_bps": "double",
    "imbalance": "double",
}


def observed(sources: Mapping[str, DataFrame], hours: Collection[datetime]) -> DataFrame:
    """What was observed in some hours (UTC, without a zone): a row for each closed candle, quiet minute and book.

    Columns: exchange, symbol, interval_start, base_asset, and of the candle close, high, low, volume, trade_count and
    usdt_price (close, converted at that minute; null where no market converts it), `is_quiet` of a minute in which
    proven nothing traded, spread_bps and imbalance of the book; null what the row is not about. Markets without a
    candle in these hours are left out.
    """
    of_hours = in_hours("interval_start", hours)
    candles = sources["silver.ohlcv_1m"].filter("is_closed").filter(of_hours)
    # Asked first, so that the plan of all reads the candles once, and not for their markets and for their rates again.
    traded = to_pandas(candles.select(*SERIES, "base_asset", "quote_asset").distinct())
    quotes = sorted({*traded["quote_asset"].dropna()} - {_USDT})
    priced = _in_usdt(candles.select(*SERIES, "interval_start", "base_asset", "quote_asset", *_doubles()), quotes)
    names = ", ".join(f"{name} string" for name in (*SERIES, "base_asset"))
    spark = candles.sparkSession
    markets = F.broadcast(spark.createDataFrame(traded[[*SERIES, "base_asset"]].to_numpy().tolist(), names))
    quiet = sources["silver.completeness"].filter(_is_quiet()).filter(of_hours)
    books = sources["silver.order_book_1m"].filter("is_closed").filter(of_hours)
    return (
        priced.unionByName(
            added(quiet.select(*SERIES, "interval_start"), is_quiet=F.lit(True)).join(markets, SERIES),
            allowMissingColumns=True,
        )
        .unionByName(
            books.select(*SERIES, "interval_start", "spread_bps", "imbalance").join(markets, SERIES),
            allowMissingColumns=True,
        )
        .select(*SERIES, "interval_start", *[F.col(name).cast(kind).alias(name) for name, kind in _ROWS.items()])
    )


def changed_hours(changes: Mapping[str, DataFrame]) -> DataFrame:
    """The hours (`hour`) in which something that is observed is new."""
    hour = F.date_trunc("hour", F.col("interval_start")).alias("hour")
    parts = [
        changes["silver.ohlcv_1m"].filter("is_closed"),
        changes["silver.order_book_1m"].filter("is_closed"),
        changes["silver.completeness"].filter(_is_quiet()),
    ]
    hours = [part.select(hour) for part in parts]
    return hours[0].unionByName(hours[1]).unionByName(hours[2]).distinct()


def _is_quiet() -> Expression:
    return F.expr("reason = 'no_trades' and proof != 'none'")


def in_hours(column: str, hours: Collection[datetime]) -> Expression:
    """The time lies in one of these hours (UTC, without a zone): a range for those that follow each other."""
    if not hours:
        return F.lit(False)
    wanted = np.array(sorted({int(pd.Timestamp(hour).timestamp()) // 3600 for hour in hours}))
    runs = np.split(wanted, np.where(np.diff(wanted) > 1)[0] + 1)
    number = f"unix_seconds({column}) div 3600"
    # As text: Spark Connect refuses an expression that is nested more than a hundred deep.
    return F.expr(" or ".join(f"{number} between {run[0]} and {run[-1]}" for run in runs))


def _doubles() -> list[Expression]:
    names = ("close", "high", "low", "volume", "trade_count")
    return [F.col(name).cast("double").alias(name) for name in names]


def _in_usdt(candles: DataFrame, quotes: Sequence[str]) -> DataFrame:
    """With `usdt_price`: the close times what a unit of the quote asset costs in USDT by the closes of that minute.

    `quotes`: the quote assets that there are beside USDT.
    """
    if not quotes:
        return added(candles, usdt_price=F.col("close"))
    direct = candles.filter(F.col("quote_asset") == _USDT).select(
        "interval_start", F.col("base_asset").alias("quote_asset"), F.col("close").alias("rate")
    )
    inverse = candles.filter(F.col("base_asset") == _USDT).select(
        "interval_start", "quote_asset", (1 / F.col("close")).alias("rate")
    )
    rates = (
        direct.unionByName(inverse)
        .filter(F.col("quote_asset").isin(*quotes))
        .groupBy("interval_start", "quote_asset")
        # Not the mean: it would depend on the order in which Spark sums.
        .agg(F.percentile_approx("rate", 0.5, 1_000_000).alias("rate"))
    )
    converted = candles.join(rates, on=["interval_start", "quote_asset"], how="left")
    rate = F.when(F.col("quote_asset") == _USDT, F.lit(1.0)).otherwise(F.col("rate"))
    return added(converted, usdt_price=F.col("close") * rate).select(*candles.columns, "usdt_price")


def measured(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The MEASURES, SHARES and TRADED of each minute and market of `observed` rows, logarithms where one is.

    `away` needs all markets of a base asset.
    """
    candles = rows[rows["close"].notna()]
    quiet = rows[rows["is_quiet"].eq(True)]
    markets = pd.MultiIndex.from_frame(candles[SERIES].drop_duplicates().sort_values(SERIES))
    times = pd.DatetimeIndex([], name="interval_start")
    if len(candles):
        start = rows["interval_start"]
        times = pd.date_range(start.min(), start.max(), freq="min", name="interval_start")

    def wide(part: pd.DataFrame, name: str) -> pd.DataFrame:
        table = part.pivot(index="interval_start", columns=SERIES, values=name)
        return table.reindex(index=times, columns=markets).astype(float)

    close = wide(candles, "close")
    is_quiet = wide(quiet.assign(one=1.0), "one").eq(1.0) & close.isna()
    since = _since(close.notna().to_numpy())
    prices = _carried(close, is_quiet).where(since <= CARRIED)
    before = prices.shift(1)
    stands = (wide(candles, "high") == before) & (wide(candles, "low") == before)
    volume = wide(candles, "volume")
    trades = close.notna().astype(float).where(close.notna() | is_quiet)
    books = rows[rows["spread_bps"].notna() | rows["imbalance"].notna()]
    return {
        "return": log_returns(prices),
        "volume": volume.apply(np.log),
        "trade_size": (volume / wide(candles, "trade_count")).apply(np.log),
        "spread": wide(books, "spread_bps").apply(np.log).where(since <= CARRIED),
        "imbalance": wide(books, "imbalance").where(since <= CARRIED),
        "away": away(wide(candles, "usdt_price"), bases(candles)),
        "trades": trades.where(since <= CARRIED),
        "changes": (~stands).astype(float).where(close.notna() & before.notna()),
        TRADED: trades.where(since <= WINDOW),
    }


def _carried(close: pd.DataFrame, is_quiet: pd.DataFrame) -> pd.DataFrame:
    """The closes, carried over quiet minutes and over nothing else, as `_prices.grid` does between candles."""
    is_there = close.notna()
    breaks = (~is_there & ~is_quiet).cumsum()
    return close.ffill().where(breaks == breaks.where(is_there).ffill())


def away(prices: pd.DataFrame, base_of: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """ln(price / median of the prices of all markets of the base asset); of two markets, ln(price / the other's).

    NaN where there is no other one in that minute.
    """
    result = pd.DataFrame(np.nan, index=prices.index, columns=prices.columns)
    markets: list[Any] = list(prices.columns)
    for base in sorted(set(base_of.values())):
        mine = prices[[market for market in markets if base_of[market] == base]]
        if mine.shape[1] < 2:
            continue
        count = mine.notna().sum(axis=1)
        for market in mine.columns:
            other = mine.drop(columns=[market]).median(axis=1).where(count == 2, mine.median(axis=1))
            result[market] = np.log(mine[market] / other.where(count >= 2))
    return result


def bases(candles: pd.DataFrame) -> dict[tuple[str, str], str]:
    """The base asset of each market (exchange, symbol)."""
    markets = candles.drop_duplicates(SERIES)
    return {
        (exchange, symbol): base for exchange, symbol, base in markets[[*SERIES, "base_asset"]].itertuples(index=False)
    }


def _since(is_there: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many rows ago there was one, by column; more than there are rows before the first."""
    number = np.arange(len(is_there))[:, None]
    last = np.maximum.accumulate(np.where(is_there, number, -len(is_there) - CARRIED), axis=0)
    ago: NDArray[np.int64] = number - last
    return ago
