"""`silver.completeness` by the hour: minutes by status and by reason, trades, and what others cover.

The columns are those of `silver.completeness_daily`, which says what each means. A condition on `month` spares reading
the others.
"""

from crypto_pipeline.silver.rollup import COMMENTS, rolled_up
from shared.tables import View

SPAN = ("date_trunc('hour', interval_start)", "hour_start")
"""How a span begins, in SQL, and the column that says it."""
VIEW = View(
    layer="silver",
    name="completeness_hourly",
    grain="One row per exchange, symbol and hour of which a minute stands in silver.completeness",
    tables=("silver.completeness",),
    sql=rolled_up(*SPAN),
    comments={"hour_start": "UTC, inclusive", **COMMENTS},
)
