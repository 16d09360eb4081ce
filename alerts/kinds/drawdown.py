"""`drawdown`: a portfolio lies far below its peak."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import AskedRule, Finding, Percent, Sources, listed

_LATEST = """
    select distinct on (portfolio) portfolio, drawdown, value
    from gold.portfolio_performance
    where asset = 'TOTAL' and drawdown is not null
    order by portfolio, day desc
"""


class Drawdown(AskedRule):
    """Fires where a portfolio's value lies `percent` or more below its highest; resolves when it does not."""

    kind: Literal["drawdown"]
    percent: Percent = 10
    portfolios: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all"

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        for row in sources.rows(_LATEST):
            if listed(self.portfolios, row["portfolio"]):
                down = -100 * float(row["drawdown"])
                text = f"{row['portfolio']} lies {down:.2f} % below its peak; its value is {row['value']:,.2f} USDT."
                yield Finding(f"portfolio {row['portfolio']}", down >= self.percent, now, down, text)
