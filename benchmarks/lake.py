"""How long a new process takes to a DataFrame of the running lake.

    python -m benchmarks.lake                       # a day of BTCUSDT's minutes, up to now
    python -m benchmarks.lake --days 30 --times 9

Each time is that of a whole process, with the start of Python and all imports. Beside them stands DuckDB in a process
of its own, over the same rows in a plain Parquet file on the disk.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import typer

from crypto_pipeline import lake

FEW = ("interval_start", "open", "high", "low", "close", "volume")
"""What a back-test reads."""


def seconds(script: str, times: int) -> tuple[float, float]:
    """The median and the worst of so many runs, after one that warms the disk's cache."""
    taken = []
    for _ in range(times + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", script], check=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:]), max(taken[1:])


def main(
    symbol: str = "BTCUSDT",
    days: Annotated[int, typer.Option(help="Of minutes, up to now.")] = 1,
    times: Annotated[int, typer.Option(help="How often each is run.")] = 5,
) -> None:
    """Print what was measured."""
    end = datetime.now(UTC)
    span = (end - timedelta(days=days), end)
    whole = lake.ohlcv(symbol, "1m", *span, min_status="partial").to_arrow()
    given = f"{symbol!r}, '1m', {str(span[0])!r}, {str(span[1])!r}, min_status='partial'"
    asked = "from crypto_pipeline import lake; lake.ohlcv({}).{}()"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "candles.parquet"
        pq.write_table(whole, file, compression="zstd")
        runs = {
            "lake, all columns, pandas": asked.format(given, "to_pandas"),
            "lake, six columns, pandas": asked.format(f"{given}, columns={FEW}", "to_pandas"),
            "lake, six columns, Polars": asked.format(f"{given}, columns={FEW}", "to_polars"),
            "import alone": "from crypto_pipeline import lake",
            "DuckDB, plain Parquet, six columns, pandas": (
                f"import duckdb; duckdb.read_parquet('{file}').project('{', '.join(FEW)}').df()"
            ),
        }
        typer.echo(f"{whole.num_rows} candles of {symbol}; seconds, the median and the worst of {times}")
        for name, script in runs.items():
            median, worst = seconds(script, times)
            typer.echo(f"{name:<44} {median:6.2f} {worst:6.2f}")


if __name__ == "__main__":
    typer.run(main)
