"""What candles and indicators cost by our functions, beside DuckDB and Polars on the same Parquet with two threads.

    python benchmarks/candles.py [--trades 10000000] [--runs 5]
    python benchmarks/candles.py --timeframes [--days 30] [--runs 5]
    python benchmarks/candles.py --large [--trades 55000000] [--runs 5]

The first makes one-minute candles of the trades of 20 symbols: `ohlcv_1m.from_fills` on Spark, set as the Connect
server is. The second makes the five longer candles of days of minutes, writes them to Parquet, and computes every
indicator of all six: the candles by `ohlcv.from_minutes`, by DuckDB or by Polars, the indicators by the same TA-Lib
functions of ours (`over_series`), in Spark's Python workers or in two threads. The third is the first with
Spark's driver and executor in JVMs of their own, whose heaps are bounded; it ends with 1 where the driver took more
than a gigabyte of memory or the executor more than two.

The data is made from a seed and written once, with the columns and decimals of the tables. Each engine has a process of
its own. Its first run is not timed and gives the result, and all results must be equal, exactly (indicators to 1e-9),
or it ends with 1. A timed run computes every column. Peak memory is the greatest that each process ever held.
"""
# ruff: noqa: S608 (the names and paths in the queries are our own)

import argparse
import multiprocessing
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added
from crypto_pipeline.indicators._file import plan
from crypto_pipeline.indicators._series import Stretch, over_series
from crypto_pipeline.silver import indicators, ohlcv, ohlcv_1m, quiet_intervals
from crypto_pipeline.silver.candle_frames import in_every_interval
from crypto_pipeline.silver.candles import LONGER as LONGER_INTERVALS
from crypto_pipeline.silver.candles import PRICES_AND_VOLUMES

THREADS = 2
SYMBOLS = [f"BENCH{number}USDT" for number in range(20)]
START = datetime(2026, 10, 1, tzinfo=UTC)
DAY = 86_400
TRADES_A_DAY = 10_000_000
PART = 500_000
"""Rows of a row group."""
MICROS = 1_000_000
DRIVER_MB, EXECUTOR_MB = 768, 1024
"""Heaps of the large run; a JVM holds some hundred MB beside."""
BOUNDS = {"driver": 1_000, "executor": 2_000}
"""MB that they may hold."""
JVMS = {"executor": "CoarseGrainedExecutorBackend", "driver": "SparkSubmit"}
MARKET = ("exchange", "symbol", "base_asset", "quote_asset")
CANDLE = (*PRICES_AND_VOLUMES, "trade_count", "first_trade_id", "last_trade_id")

Integers = np.ndarray[Any, np.dtype[np.int64]]
Step = Callable[[], object]


class Measured(NamedTuple):
    """What one engine took."""

    seconds: list[list[float]]
    """Of each run its steps."""
    peaks: dict[str, int]
    """MB of memory that each kind of process held at most."""


# --- the data


def decimals(values: Integers, places: int) -> pa.Array:
    """Whole numbers of a unit of so many places, as the tables' decimals."""
    words = np.stack([values, values >> 63], axis=1)
    narrow = pa.Array.from_buffers(pa.decimal128(19, places), len(values), [None, pa.py_buffer(words)])
    return narrow.cast(pa.decimal128(38, 18))


def moments(micros: Integers) -> pa.Array:
    """Microseconds as instants."""
    return pa.array(micros).cast(pa.timestamp("us", tz="UTC"))


def always(value: str, count: int) -> pa.Array:
    """The same text in every row."""
    return pa.array([value]).dictionary_encode().take(pa.array(np.zeros(count, dtype=np.int32)))


def market(symbols: Integers) -> dict[str, pa.Array]:
    """The columns that follow from the symbol, by its number."""
    number = pa.array(symbols.astype(np.int32))
    bases = [symbol.removesuffix("USDT") for symbol in SYMBOLS]
    return {
        "exchange": always("binance", len(symbols)),
        "symbol": pa.DictionaryArray.from_arrays(number, pa.array(SYMBOLS)),
        "base_asset": pa.DictionaryArray.from_arrays(number, pa.array(bases)),
        "quote_asset": always("USDT", len(symbols)),
    }


def make_trades(folder: Path, count: int) -> None:
    """A file a day of trades as they lie in `bronze.trades`, by time; the ids of a symbol rise by one."""
    random = np.random.default_rng(7)
    next_id = np.ones(len(SYMBOLS), dtype=np.int64)
    cents = random.integers(10**6, 10**7, len(SYMBOLS))
    for day, first in enumerate(range(0, count, TRADES_A_DAY)):
        size = min(TRADES_A_DAY, count - first)
        write(folder / f"{day}.parquet", trades_of_day(random, day, size, next_id, cents))


def trades_of_day(
    random: np.random.Generator, day: int, size: int, next_id: Integers, cents: Integers
) -> Iterator[pa.Table]:
    """In parts. The next id and the last price of each symbol are moved on."""
    symbols = random.integers(0, len(SYMBOLS), size)
    at = np.sort(random.integers(0, DAY * MICROS, size)) + (int(START.timestamp()) + day * DAY) * MICROS
    ids, price = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
    for symbol in range(len(SYMBOLS)):
        [mine] = np.nonzero(symbols == symbol)
        ids[mine] = next_id[symbol] + np.arange(len(mine))
        price[mine] = np.maximum(cents[symbol] + np.cumsum(random.integers(-3, 4, len(mine))), 1)
        next_id[symbol] += len(mine)
        cents[symbol] = price[mine[-1]] if len(mine) else cents[symbol]
    quantity = random.integers(1, 10**6, size)
    is_buyer_maker = random.integers(0, 2, size).astype(bool)
    for start in range(0, size, PART):
        part = slice(start, start + PART)
        yield pa.table(
            market(symbols[part])
            | {
                "event_time": moments(at[part]),
                "source": always("websocket", len(at[part])),
                "trade_id": pa.array(ids[part]),
                "price": decimals(price[part], 2),
                "quantity": decimals(quantity[part], 5),
                "quote_quantity": decimals(price[part] * quantity[part], 7),
                "is_buyer_maker": pa.array(is_buyer_maker[part]),
            }
        )


def make_minutes(folder: Path, days: int) -> None:
    """One-minute candles as they lie in `silver.ohlcv_1m`, all closed and proven, without a quiet minute."""
    random = np.random.default_rng(7)
    write(folder / "minutes.parquet", (minutes_of(random, number, days * 1440) for number in range(len(SYMBOLS))))


def minutes_of(random: np.random.Generator, symbol: int, count: int) -> pa.Table:
    """Of one symbol."""
    close = np.maximum(10**7 + np.cumsum(random.integers(-900, 901, count)), 10**5)
    opens = np.concatenate([close[:1], close[:-1]])
    volume, trade_count = random.integers(2, 10**8, count), random.integers(1, 400, count)
    last_id = np.cumsum(trade_count)
    values = {
        "open": decimals(opens, 2),
        "high": decimals(np.maximum(opens, close) + random.integers(0, 500, count), 2),
        "low": decimals(np.minimum(opens, close) - random.integers(0, 500, count), 2),
        "close": decimals(close, 2),
        "volume": decimals(volume, 5),
        "quote_volume": decimals(close * volume, 7),
        "taker_buy_volume": decimals(volume // 2, 5),
        "taker_buy_quote_volume": decimals(close * (volume // 2), 7),
        "trade_count": pa.array(trade_count),
        "first_trade_id": pa.array(last_id - trade_count + 1),
        "last_trade_id": pa.array(last_id),
    }
    labels = {"interval": "1m", "status": "complete", "proof": "trade_ids", "source": "websocket"}
    return pa.table(
        market(np.full(count, symbol))
        | {name: always(value, count) for name, value in labels.items()}
        | {
            "interval_seconds": pa.array(np.full(count, 60, dtype=np.int32)),
            "interval_start": moments((int(START.timestamp()) + np.arange(count) * 60) * MICROS),
            "is_closed": pa.array(np.full(count, True)),
        }
        | values
    )


def write(path: Path, tables: Iterator[pa.Table]) -> None:
    """One file of them, a row group each."""
    first = next(tables)
    with pq.ParquetWriter(path, first.schema, store_schema=False) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


# --- Spark, with the functions of the pipeline


def session(*, is_large: bool = False) -> SparkSession:
    """Set as the Connect server is; everything in one JVM, or driver and executor each in one of its own."""
    where = f"local-cluster[1,{THREADS},{EXECUTOR_MB}]" if is_large else f"local[{THREADS}]"
    options = {
        "spark.driver.memory": f"{DRIVER_MB}m" if is_large else "2g",
        "spark.executor.memory": f"{EXECUTOR_MB}m",
        "spark.driver.extraJavaOptions": "-Duser.timezone=UTC -XX:+UseSerialGC",
        "spark.executor.extraJavaOptions": "-Duser.timezone=UTC -XX:+UseSerialGC",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.decimalOperations.allowPrecisionLoss": "false",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    }
    spark = SparkSession.builder.master(where).config(map=options).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def consume(rows: DataFrame) -> None:
    """Compute every column of every row."""
    rows.write.format("noop").mode("overwrite").save()


def spark_minutes(data: Path, result: Path, *, is_large: bool = False) -> list[Step]:
    """`ohlcv_1m.from_fills`."""
    spark = session(is_large=is_large)

    def candles() -> DataFrame:
        fills = added(
            spark.read.parquet(str(data)),
            interval_start=ohlcv_1m.minute_of("event_time"),
            first_id=F.col("trade_id"),
            last_id=F.col("trade_id"),
            is_merged=F.lit(False),
        )
        return ohlcv_1m.from_fills(fills)

    candles().write.parquet(str(result / "candles"))
    return [lambda: consume(candles())]


def spark_timeframes(data: Path, result: Path) -> list[Step]:
    """`ohlcv.from_minutes`, and `silver/indicators.py`, which calls `over_series` for each whole series."""
    spark = session()
    now = datetime(2100, 1, 1, tzinfo=UTC)

    def longer() -> None:
        minutes = in_every_interval(spark.read.parquet(str(data)), ohlcv.SUMMED)
        quiet = minutes.select(*ohlcv.TABLE.key).limit(0)
        candles = ohlcv.from_minutes(minutes, quiet, now)
        candles.write.mode("overwrite").parquet(str(result / "candles"))

    def values() -> DataFrame:
        names = ("silver.ohlcv_1m", "silver.ohlcv")
        sources = {
            name: spark.read.parquet(str(path)) for name, path in zip(names, (data, result / "candles"), strict=True)
        }
        nothing = sources["silver.ohlcv_1m"].limit(0)
        sources["silver.quiet_intervals"] = nothing.select(*quiet_intervals.TABLE.key)
        # By way of this process, as `refresh` does it; what a series rests on before its first candle is nothing.
        stretches = indicators.touched(sources, nothing, now).toPandas()
        first, last = stretches["interval_start"], stretches["last_changed"]
        of_each = zip(stretches["symbol"], stretches["interval"], stretches["interval_seconds"], strict=True)
        lookback = [plan().lookback(*series) for series in of_each]
        keys = stretches.assign(until=pd.NaT, lookback=lookback, needed_from=first, reaches_to=last)
        return indicators.build(spark.createDataFrame(keys), sources, nothing, now)

    longer()
    values().write.parquet(str(result / "indicators"))
    return [longer, lambda: consume(values())]


# --- DuckDB

MINUTES = """
    select exchange, symbol, base_asset, quote_asset,
        make_timestamptz(epoch_us(event_time) // 60000000 * 60000000) as interval_start,
        arg_min(price, trade_id) as open, max(price) as high, min(price) as low, arg_max(price, trade_id) as close,
        sum(quantity) as volume, sum(quote_quantity) as quote_volume, count(*) as trade_count,
        coalesce(sum(quantity) filter (not is_buyer_maker), 0) as taker_buy_volume,
        coalesce(sum(quote_quantity) filter (not is_buyer_maker), 0) as taker_buy_quote_volume,
        min(trade_id) as first_trade_id, max(trade_id) as last_trade_id,
        bool_or(source = 'rest') or min(source) <> max(source) as came_late
    from '{data}/*.parquet' group by all"""
LONGER = """
    select exchange, symbol, base_asset, quote_asset, '{name}' as interval, {seconds} as interval_seconds,
        make_timestamptz(epoch_us(m.interval_start) // {seconds}000000 * {seconds}000000) as interval_start,
        arg_min(open, m.interval_start) as open, max(high) as high, min(low) as low,
        arg_max(close, m.interval_start) as close, sum(volume) as volume, sum(quote_volume) as quote_volume,
        sum(trade_count)::bigint as trade_count, sum(taker_buy_volume) as taker_buy_volume,
        sum(taker_buy_quote_volume) as taker_buy_quote_volume, min(first_trade_id) as first_trade_id,
        max(last_trade_id) as last_trade_id, bool_and(is_closed) as is_closed
    from '{data}/*.parquet' as m group by all"""


def duck() -> duckdb.DuckDBPyConnection:
    """With as many threads as the others, in UTC."""
    lake = duckdb.connect(config={"threads": THREADS, "enable_progress_bar": False})
    lake.execute("set timezone = 'UTC'")
    return lake


def duckdb_minutes(data: Path, result: Path) -> list[Step]:
    """One query."""
    lake, query = duck(), MINUTES.format(data=data)
    (result / "candles").mkdir()
    lake.sql(query).write_parquet(str(result / "candles" / "all.parquet"))
    return [lambda: lake.sql(query).to_arrow_table()]


def duckdb_timeframes(data: Path, result: Path) -> list[Step]:
    """A query for the longer candles, and one to read all of them for the indicators."""
    lake = duck()
    candles = result / "candles" / "all.parquet"
    candles.parent.mkdir()
    of_each = " union all ".join(
        LONGER.format(data=data, name=name, seconds=seconds) for name, seconds in LONGER_INTERVALS.items()
    )
    names = ", ".join([*MARKET, "interval", "interval_seconds", "is_closed", *CANDLE[-3:]])
    numbers = ", ".join(f"{name}::double as {name}" for name in PRICES_AND_VOLUMES)
    # In UTC without saying so, as Spark gives it to `over_series` too.
    rows = f"select {names}, {numbers}, interval_start::timestamp as interval_start"
    both = " union all ".join(f"{rows} from '{path}'" for path in (f"{data}/*.parquet", candles))

    def longer() -> None:
        lake.sql(of_each).write_parquet(str(candles))

    def values() -> pd.DataFrame:
        return of_every_series(lake.sql(both).df())

    longer()
    keep(values(), result)
    return [longer, values]


def of_every_series(candles: pd.DataFrame) -> pd.DataFrame:
    """The indicators of candles, a series at a time, in threads."""
    series = [rows for _, rows in candles.groupby(["exchange", "symbol", "interval"], sort=False)]

    def one(rows: pd.DataFrame) -> pd.DataFrame:
        whole = rows.assign(is_quiet=False).sort_values("interval_start")
        start, named = whole["interval_start"], whole.iloc[0]
        symbol, interval, seconds = named["symbol"], named["interval"], int(named["interval_seconds"])
        lookback = plan().lookback(symbol, interval, seconds)
        changed = start.iloc[0], start.iloc[-1]
        return over_series(
            whole, Stretch(named["exchange"], symbol, interval, seconds, *changed, pd.NaT, lookback), plan()
        )

    with ThreadPoolExecutor(THREADS) as pool:
        return pd.concat(pool.map(one, series), ignore_index=True)


def keep(values: pd.DataFrame, result: Path) -> None:
    """As a result to compare."""
    (result / "indicators").mkdir()
    values.to_parquet(result / "indicators" / "all.parquet", index=False)


# --- Polars


def polars_minutes(data: Path, result: Path) -> list[Step]:
    """One lazy frame."""
    import polars as pl  # it takes the threads that its process is told, so no earlier

    bought = ~pl.col("is_buyer_maker")
    candles = (
        pl.scan_parquet(data / "*.parquet")
        .group_by(*MARKET, pl.col("event_time").dt.truncate("1m").alias("interval_start"))
        .agg(
            open=pl.col("price").get(pl.col("trade_id").arg_min()),
            high=pl.col("price").max(),
            low=pl.col("price").min(),
            close=pl.col("price").get(pl.col("trade_id").arg_max()),
            volume=pl.col("quantity").sum(),
            quote_volume=pl.col("quote_quantity").sum(),
            trade_count=pl.len(),
            taker_buy_volume=pl.col("quantity").filter(bought).sum(),
            taker_buy_quote_volume=pl.col("quote_quantity").filter(bought).sum(),
            first_trade_id=pl.col("trade_id").min(),
            last_trade_id=pl.col("trade_id").max(),
            came_late=(pl.col("source") == "rest").any() | (pl.col("source").n_unique() > 1),
        )
    )
    (result / "candles").mkdir()
    candles.collect().write_parquet(result / "candles" / "all.parquet")
    return [candles.collect]


def polars_timeframes(data: Path, result: Path) -> list[Step]:
    """A lazy frame for the longer candles, and one to read all of them for the indicators."""
    import polars as pl  # it takes the threads that its process is told, so no earlier

    path = result / "candles" / "all.parquet"
    path.parent.mkdir()
    minutes = pl.scan_parquet(data / "*.parquet")
    names = [*MARKET, "interval", "interval_seconds", "interval_start", "is_closed", *CANDLE]

    def longer_of(name: str, seconds: int) -> pl.LazyFrame:
        summed = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trade_count")
        start = pl.col("interval_start").dt.truncate(name)
        candles = minutes.with_columns(minute="interval_start", interval_start=start).group_by(
            *MARKET, "interval_start"
        )
        return (
            candles.agg(
                pl.col("open").get(pl.col("minute").arg_min()),
                pl.col("high").max(),
                pl.col("low").min(),
                pl.col("close").get(pl.col("minute").arg_max()),
                pl.col(*summed).sum(),
                pl.col("first_trade_id").min(),
                pl.col("last_trade_id").max(),
                pl.col("is_closed").all(),
            )
            .with_columns(interval=pl.lit(name), interval_seconds=pl.lit(seconds, dtype=pl.Int32))
            .select(names)
        )

    def longer() -> None:
        pl.concat([longer_of(name, seconds) for name, seconds in LONGER_INTERVALS.items()]).collect().write_parquet(
            path
        )

    def values() -> pd.DataFrame:
        numbers = pl.col(*PRICES_AND_VOLUMES).cast(pl.Float64)
        start = pl.col("interval_start").dt.replace_time_zone(None)
        both = [rows.select(names).with_columns(numbers, start) for rows in (minutes, pl.scan_parquet(path))]
        return of_every_series(pl.concat(both).collect().to_pandas())

    longer()
    keep(values(), result)
    return [longer, values]


# --- measuring

Prepare = Callable[[Path, Path], list[Step]]
"""Given the data and a folder for the result: write that, and give the steps that are to be timed."""
ENGINES: dict[str, tuple[Prepare, Prepare]] = {
    "Spark": (spark_minutes, spark_timeframes),
    "DuckDB": (duckdb_minutes, duckdb_timeframes),
    "Polars": (polars_minutes, polars_timeframes),
}


def measured(prepare: Prepare, data: Path, result: Path, runs: int) -> Measured:
    """What an engine takes, in this process, which is its own."""
    steps = prepare(data, result)
    seconds = []
    for _ in range(runs):
        seconds.append([])
        for step in steps:
            began = time.perf_counter()
            step()
            seconds[-1].append(time.perf_counter() - began)
    found = Measured(seconds, peaks())
    spark = SparkSession.getActiveSession()
    if spark:
        spark.stop()
    return found


def peaks() -> dict[str, int]:
    """MB that this process and those beneath it ever held, by what they are."""
    held: dict[str, int] = {}
    mine = psutil.Process()
    for process in (mine, *mine.children(recursive=True)):
        if process.status() == psutil.STATUS_ZOMBIE:
            continue
        line = " ".join(process.cmdline())
        kind = next((name for name, part in JVMS.items() if part in line), "python")
        [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        held[kind] = held.get(kind, 0) + int(peak) // 1000
    return held


def candles_that_differ(one: Path, other: Path, names: Sequence[str]) -> int:
    """How many candles are in one result and not, exactly so, in the other."""
    left, right = (f"select {', '.join(names)} from '{path}/candles/*.parquet'" for path in (one, other))
    query = f"select count(*) from (({left} except all {right}) union all ({right} except all {left}))"
    [[count]] = duck().sql(query).fetchall()
    return int(count)


def indicators_that_differ(one: Path, other: Path) -> int:
    """How many rows are in one result alone, or have a value that differs by 1e-9 of itself or of the price."""
    names = ["close", *plan().columns]
    rows = [
        f"(select exchange, symbol, interval, epoch_us(interval_start) as moment, bridged, {', '.join(names)} "
        f"from '{path}/indicators/*.parquet')"
        for path in (one, other)
    ]
    is_alike = [
        f"(l.{name} is null and r.{name} is null "
        f"or abs(l.{name} - r.{name}) <= 1e-9 * greatest(abs(l.{name}), l.close))"
        for name in names
    ]
    query = (
        f"select count(*) from {rows[0]} as l full join {rows[1]} as r using (exchange, symbol, interval, moment) "
        f"where coalesce(l.bridged <> r.bridged or not ({' and '.join(is_alike)}), true)"
    )
    [[count]] = duck().sql(query).fetchall()
    return int(count)


def rows_of(path: Path) -> int:
    """How many rows lie in a folder."""
    [[count]] = duck().sql(f"select count(*) from '{path}/*.parquet'").fetchall()
    return int(count)


def tell(name: str, took: Measured, spark: Measured) -> None:
    """A line of what an engine took."""
    totals = [sum(steps) for steps in took.seconds]
    middle = statistics.median(totals)
    steps = [statistics.median(step) for step in zip(*took.seconds, strict=True)]
    parts = f" ({' + '.join(f'{step:.2f}' for step in steps)})" if len(steps) > 1 else ""
    times = statistics.median(sum(steps) for steps in spark.seconds) / middle
    ratio = "" if took is spark else f"Spark takes {times:.1f} times as long; "
    memory = ", ".join(f"{kind} {peak:,} MB" for kind, peak in took.peaks.items())
    print(
        f"{name:7} {middle:7.2f} s{parts}, {min(totals):.2f} to {max(totals):.2f} s; {ratio}peak memory {memory}",
        flush=True,
    )


def main() -> int:
    """Make the data, measure, compare; 1 where results differ or a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trades", type=int)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--runs", type=int, default=5)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--timeframes", action="store_true")
    which.add_argument("--large", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, spark_home = Path(folder) / "data", Path(folder) / "spark_home"
        data.mkdir()
        surroundings = {
            "POLARS_MAX_THREADS": str(THREADS),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        if asked.large:
            # A worker keeps what its executors log below SPARK_HOME: then not in the installed package.
            spark_home.mkdir()
            for part in Path(pyspark.__path__[0]).iterdir():
                (spark_home / part.name).symlink_to(part)
            surroundings["SPARK_HOME"] = str(spark_home)
        os.environ.update(surroundings)  # noqa: TID251 (Spark and Polars read them from nowhere else)
        if asked.timeframes:
            make_minutes(data, asked.days)
        else:
            make_trades(data, asked.trades or (55_000_000 if asked.large else 10_000_000))
        size = sum(path.stat().st_size for path in data.iterdir()) / 1e6
        print(
            f"{rows_of(data):,} rows of {len(SYMBOLS)} symbols, {size:,.0f} MB; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        found: dict[str, Measured] = {}
        for name, prepares in ENGINES.items():
            prepare = prepares[asked.timeframes]
            if name == "Spark" and asked.large:
                prepare = partial(spark_minutes, is_large=True)
            result = Path(folder) / name
            result.mkdir()
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                found[name] = process.submit(measured, prepare, data, result, asked.runs).result()
            tell(name, found[name], found["Spark"])
        return judged(Path(folder), found, asked.timeframes, asked.large)


def judged(folder: Path, found: dict[str, Measured], is_longer: bool, is_large: bool) -> int:
    """Say whether all results are equal and the bounds are kept; 0 where so."""
    status = 0
    spark = folder / "Spark"
    names = [*MARKET, "epoch_us(interval_start)", *CANDLE, "interval" if is_longer else "came_late"]
    others = [name for name in found if name != "Spark"]
    for name in others:
        differing = candles_that_differ(spark, folder / name, names)
        if is_longer:
            differing += indicators_that_differ(spark, folder / name)
        if differing:
            print(f"{differing:,} rows of {name} are not Spark's")
            status = 1
    made = f"{rows_of(spark / 'candles'):,} candles"
    if is_longer:
        made += f" and {rows_of(spark / 'indicators'):,} rows of {len(plan().columns)} indicator columns"
    print(f"{made}{'' if status else ', the same from ' + ' and '.join(found)}")
    for kind, bound in BOUNDS.items() if is_large else ():
        if found["Spark"].peaks[kind] > bound:
            print(f"the {kind} took more than {bound:,} MB")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
