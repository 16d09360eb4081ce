"""`drawdown`: a portfolio lies far below its peak."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import AskedRule, Finding, Percent, Sources, listed
from alerts.kinds._portfolios import VALUED_NOW

_LATEST = f"""
    with {VALUED_NOW}
    select portfolio, value_now as value, least((1 + drawdown) * (value_now / value_then)::float8 - 1, 0) as drawdown
    from valued_now
    where drawdown is not null
"""  # noqa: S608 (our own words)


class Drawdown(AskedRule):
    """Fires where a portfolio's value lies `percent` or more below its highest; resolves when it does not.

    The value is that of the newest candles, the highest that of `gold.portfolio_performance`.
    """

    kind: Literal["drawdown"]
    percent: Percent = 10
    portfolios: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all"

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        for row in sources.rows(_LATEST):
            if listed(self.portfolios, row["portfolio"]):
                down = -100 * float(row["drawdown"])
                text = f"{row['portfolio']} lies {down:.2f} % below its peak; its value is {row['value']:,.2f} USDT."
                yield Finding(f"portfolio {row['portfolio']}", down >= self.percent, now, down, text)
