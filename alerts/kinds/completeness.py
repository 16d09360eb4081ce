"""`completeness`: less of the data is proven complete than wanted."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import MINUTE, AskedRule, Finding, Sources, SymbolRule, market, plain

SETTLING = 15 * MINUTE
"""An hour counts so long after its end: completeness is made each five minutes, and repairs take some."""
_HOURS = """
    select exchange, symbol, sum(minutes_expected) as expected, sum(minutes_complete + minutes_repaired) as proven
    from silver.completeness_hourly
    where hour_start > to_timestamp(%(first)s) and hour_start <= to_timestamp(%(last)s)
    group by exchange, symbol
    having sum(minutes_expected) > 0
"""


class Completeness(AskedRule, SymbolRule):
    """Fires where less than `percent` of the expected minutes of the last `hours` that are over is proven complete."""

    kind: Literal["completeness"]
    percent: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 99
    hours: Annotated[int, Field(ge=1, le=168)] = 1

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        last = (now - SETTLING) // 1_000_000 - 3600
        for row in sources.rows(_HOURS, first=last - 3600 * self.hours, last=last):
            if self.is_for(row["symbol"]):
                expected, proven = int(row["expected"]), int(row["proven"])
                percent = 100 * proven / expected
                text = (
                    f"{row['symbol']} of {row['exchange']}: {plain(percent)} % of the minutes are proven complete "
                    f"({proven} of {expected}; wanted: {plain(self.percent)} %)."
                )
                subject = market(row["exchange"], row["symbol"])
                yield Finding(subject, percent < self.percent, now, percent, text)
