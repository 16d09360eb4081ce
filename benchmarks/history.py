"""How long six years of one-minute klines take from the archive's files to bronze.

    python -m benchmarks.history [--months 72] [--bronze]

The files are made like Binance's: monthly zips with their checksums, in milliseconds before 2025. They are checked and
read exactly, and so, for comparison, a month by Python's csv module and `Decimal`. With `--bronze` they then go into
the running deployment's bronze.klines under the symbol BENCHUSDT; run it on one whose data you do not need.
"""

import argparse
import csv
import hashlib
import io
import os
import tempfile
import time
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np

from crypto_pipeline.history import archives, layouts
from shared.symbol_manager import Symbol

SYMBOL = Symbol.model_validate({"symbol": "BENCHUSDT", "name": "made"})


def make_files(folder: Path, months: int) -> list[Path]:
    """A file a month, the last one that of 2026-10."""
    files = []
    for number in range(months):
        year, month = divmod(2026 * 12 + 9 - number, 12)
        period = f"{year}-{month + 1:02d}"
        name = f"BENCHUSDT-1m-{period}"
        path = folder / f"{name}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            file.writestr(f"{name}.csv", _klines(period, number))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}\n")
        files.append(path)
    return files


def _klines(period: str, seed: int) -> str:
    start, end = (
        int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) for day in layouts.period_of(period)
    )
    random = np.random.default_rng(seed)
    unit = 1_000 if period < "2025" else 1_000_000
    opens = np.arange(start, end, 60)
    price = 6_000_000 + np.cumsum(random.integers(-900, 901, len(opens)))
    lines = []
    for at, close, volume in zip(
        opens.tolist(), price.tolist(), random.integers(1, 10**9, len(opens)).tolist(), strict=True
    ):
        quote = f"{close * volume // 10**7}.{close * volume % 10**7:07d}"
        lines.append(
            f"{at * unit},{close / 100:.8f},{close / 100 + 9:.8f},{close / 100 - 9:.8f},{close / 100:.8f},"
            f"{volume / 10**5:.8f},{(at + 60) * unit - 1},{quote},{volume % 997 + 1},{volume / 2 / 10**5:.8f},"
            f"{quote},0"
        )
    return "\n".join(lines) + "\n"


def read_plainly(path: Path) -> int:
    """What one would write first: csv and Decimal, and no check at all."""
    with zipfile.ZipFile(path) as file, file.open(file.namelist()[0]) as stream:
        rows = [
            (int(row[0]), *map(Decimal, row[1:6]), int(row[6]), Decimal(row[7]), int(row[8]), Decimal(row[9]))
            for row in csv.reader(io.TextIOWrapper(stream))
        ]
    return len(rows)


def main() -> None:
    """Make the files, and time what is done with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=int, default=72)
    parser.add_argument("--bronze", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder), options.months)
        size = sum(path.stat().st_size for path in files) / 1e6
        print(f"{len(files)} files, {size:.0f} MB; load {os.getloadavg()[0]:.1f}")
        began, used = time.perf_counter(), time.process_time()
        checked = [archives.checked(path, "klines", "binance", SYMBOL, "BENCHUSDT") for path in files]
        rows = sum(part.rows.num_rows for archive in checked for part in archive.parts())
        took = time.perf_counter() - began
        print(f"parsed and checked: {rows:,} rows in {took:.1f} s ({time.process_time() - used:.1f} s of CPU)")
        began = time.perf_counter()
        plain = read_plainly(files[0])
        plainly = (time.perf_counter() - began) * rows / plain
        print(f"csv and Decimal, without checks: {plainly:.1f} s for as many; {plainly / took:.1f} times")
        if options.bronze:
            _into_bronze(checked)


def _into_bronze(checked: list[archives.Archive]) -> None:
    from crypto_pipeline.cli._lake import connected
    from crypto_pipeline.history.importing import import_archives
    from crypto_pipeline.history.staging import Staging
    from shared.settings import settings

    with connected(settings(), "benchmark") as lake:
        staging = Staging(settings())
        for attempt in ("new", "again"):
            began = time.perf_counter()
            done = import_archives(lake, staging, checked)
            print(
                f"in bronze ({attempt}): {done.new:,} new, {done.there:,} there, in {time.perf_counter() - began:.1f} s"
            )


if __name__ == "__main__":
    main()
