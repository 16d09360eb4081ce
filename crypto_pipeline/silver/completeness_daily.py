"""`silver.completeness` by the UTC day, with the condition of each symbol's data.

`minutes` are those that are over by now: 1440 when the day is. `minutes_expected` leaves out those that are
`not_expected`. `percent_proven`: of the expected minutes, those that are complete or repaired. `percent_received`: of
the expected trades, as far as something tells how many, those in `bronze.trades`. With a book or a ticker known in each
second, `depth_seconds` and `ticker_seconds` are 60 times `minutes`; the longest silence is that within a minute.

`condition` is the first of these that holds:

- `available`: every expected minute is complete or repaired
- `missing`: every expected minute is missing
- `degraded`: a minute is partial or missing
- `pending`: a minute is not proven yet, and something may still come
"""

from crypto_pipeline.silver.rollup import COMMENTS, rolled_up
from shared.tables import View

SPAN = ("CAST(interval_start AS date)", "day")
"""How a span begins, in SQL, and the column that says it."""
VIEW = View(
    layer="silver",
    name="completeness_daily",
    grain="One row per exchange, symbol and day of which a minute stands in silver.completeness",
    tables=("silver.completeness",),
    sql=rolled_up(*SPAN),
    comments={"day": "UTC", **COMMENTS},
)
