"""How long after a disconnect of a minute every trade of it is in bronze again.

    python benchmarks/repair.py [--seconds 60] [--runs 3]

It runs on a healthy demo, whose simulated exchange cuts every connection and refuses new ones for `--seconds`. From the
moment on at which connections are let in again it counts: until `bronze.trades` has every id of the minutes that were
closed by then, until no gap of trades or klines is open, and until silver has proven these minutes.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from crypto_pipeline.catalog import tables
from crypto_pipeline.lake_sql import Lake
from crypto_pipeline.reader import open_table
from deployment import probes
from shared.settings import settings

MINUTE = 60_000_000
GIVEN_UP_AFTER = 600
SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT")
TABLES = ("bronze.trades", "bronze.gaps", "silver.ohlcv_1m")
OPEN = "select count(*) as n from bronze.gaps where status = 'open' and gap_stream in ('trade', 'kline_1m')"
PRESENT = "select count(distinct trade_id) as n from bronze.trades where symbol = '{}' and trade_id between {} and {}"
UNPROVEN = """select count(*) as n from silver.ohlcv_1m where interval_start >= {} and interval_start < {}
              and status not in ('complete', 'repaired')"""


def simulator(path: str, posted: object = None) -> Any:
    """What the simulated exchange answers."""
    body = None if posted is None else json.dumps(posted).encode()
    return json.loads(probes.get(f"{settings().simulator_url}{path}", body))


def lake(sql: str) -> int:
    """The one number of a query."""
    wanted = {name: tables()[name] for name in TABLES}
    with Lake(wanted, {}, lambda table: open_table(table, settings())) as session:
        return int(session.query(sql).to_pylist()[0]["n"])


def until(condition: Callable[[], bool], began: float) -> float:
    """Seconds since `began` when the condition holds."""
    while not condition():
        if time.time() - began > GIVEN_UP_AFTER:
            raise SystemExit(f"not within {GIVEN_UP_AFTER} s: is everything healthy?")
        time.sleep(1)
    return time.time() - began


def text(moment: int) -> str:
    """Microseconds as SQL."""
    return f"timestamptz '{datetime.fromtimestamp(moment / 1e6, UTC).isoformat()}'"


def main() -> None:
    """Cut, wait, and print what was found."""
    parser = argparse.ArgumentParser(description="How long a repair takes.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    if asked.seconds < 60:
        parser.error("--seconds must be 60 or more, so that a minute is closed meanwhile")
    found = []
    for number in range(1, asked.runs + 1):
        start = time.time_ns() // 1000 // MINUTE * MINUTE
        note = simulator("/faults", {"kind": "cut", "seconds": asked.seconds, "mid_frame": False})
        time.sleep(asked.seconds)
        began = time.time()
        end = time.time_ns() // 1000 // MINUTE * MINUTE
        made = {}
        for symbol in SYMBOLS:
            rows = simulator(f"/truth/klines?symbol={symbol}&startTime={start}&endTime={end - 1}")
            columns = rows["columns"]
            first, last = columns.index("first_trade_id"), columns.index("last_trade_id")
            traded = [row for row in rows["rows"] if row[last] >= 0]
            made[symbol] = (min(row[first] for row in traded), max(row[last] for row in traded))

        def whole(made: dict[str, tuple[int, int]] = made) -> bool:
            return all(
                lake(PRESENT.format(symbol, first, last)) == last - first + 1 for symbol, (first, last) in made.items()
            )

        in_bronze = until(whole, began)
        settled = until(lambda: lake(OPEN) == 0, began)
        proven = until(lambda start=start, end=end: lake(UNPROVEN.format(text(start), text(end))) == 0, began)
        found.append((in_bronze, settled, proven))
        print(
            f"{number}: fault {note['id']}; every trade in bronze after {in_bronze:.0f} s, no gap open after "
            f"{settled:.0f} s, every minute proven after {proven:.0f} s",
            flush=True,
        )
    medians = [statistics.median(values) for values in zip(*found, strict=True)]
    print(f"medians of {len(found)}: bronze {medians[0]:.0f} s, gaps {medians[1]:.0f} s, silver {medians[2]:.0f} s")


if __name__ == "__main__":
    main()
