"""What the correlations of every pair of symbols cost, beside pandas.

    python benchmarks/correlations.py [--symbols 500] [--days 30] [--runs 3]

Hourly returns with a common factor and some missing values, other ones in each symbol, from a seed. Timed: all that
`gold.correlations` computes of one `as_of` (Pearson, Spearman, their intervals, and the lead-lag of ten lags), and by
itself Pearson and Spearman beside `pandas.DataFrame.corr`, which must be equal to 1e-9 or it ends with 1. The aim is
30 s or less for 500 symbols; it ends with 1 above.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from crypto_pipeline.gold._pairs import Floats, pearson, spearman
from crypto_pipeline.gold.correlations import WINDOWS, of_returns

AIM = 30.0
MISSING = 0.01


def main() -> int:
    """Measures, prints and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    random = np.random.default_rng(7)
    shape = (24 * asked.days, asked.symbols)
    returns = random.normal(size=(shape[0], 1)) * 0.005 + random.normal(size=shape) * 0.006
    returns[random.random(shape) < MISSING] = np.nan
    names = [f"S{number:04}USDT" for number in range(asked.symbols)]
    window = next(one for one in WINDOWS if one.return_interval == "1h")
    pairs = asked.symbols * (asked.symbols - 1) // 2
    print(f"{asked.symbols} symbols, {pairs} pairs, {shape[0]} returns each, {MISSING:.0%} of them missing")

    whole = _timed(lambda: of_returns(returns, names, window), asked.runs)
    print(f"{'all of one as_of':<22} {whole:8.2f} s")
    frame, is_equal = pd.DataFrame(returns, columns=names), True
    ours: dict[str, Callable[[Floats], Floats]] = {"pearson": pearson, "spearman": spearman}
    for method, function in ours.items():
        mine = _timed(lambda function=function: function(returns), asked.runs)  # type: ignore[misc]
        theirs = _timed(lambda method=method: frame.corr(method=method), 1)  # type: ignore[misc]
        same = np.allclose(function(returns), frame.corr(method=method).to_numpy(), rtol=0, atol=1e-9)  # type: ignore[arg-type]
        is_equal &= same
        print(f"{method:<22} {mine:8.2f} s   pandas {theirs:8.2f} s   {theirs / mine:6.1f} times   equal: {same}")
    return 0 if whole <= AIM and is_equal else 1


def _timed(work: Callable[[], object], runs: int) -> float:
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    sys.exit(main())
