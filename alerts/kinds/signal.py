"""`signal`: a rule of `config/signals.yaml` made a signal."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import MINUTE, AskedRule, Finding, Sources, SymbolRule, listed, plain

Interval = Literal["1m", "5m", "15m", "1h", "4h", "1d"]
_SIGNALS = """
    select distinct on (exchange, symbol, "interval", interval_start, rule)
           exchange, symbol, "interval", rule, side, close, strength, is_retraction, reason,
           to_char(interval_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as begins,
           extract(epoch from interval_end) as closed
    from gold.signals
    where interval_end > to_timestamp(%(since)s)
    order by exchange, symbol, "interval", interval_start, rule, revision desc
"""


class Signal(AskedRule, SymbolRule):
    """Fires with each signal, on whose candle it counts the cool-down.

    Resolves where late data retracts it, else `news_minutes` after its candle's close.
    """

    kind: Literal["signal"]
    rules: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all"
    intervals: Literal["all"] | Annotated[tuple[Interval, ...], Field(min_length=1)] = "all"
    side: Literal["buy", "sell", "any"] = "any"
    news_minutes: Annotated[int, Field(ge=10, le=10_080)] = 60

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        for row in sources.rows(_SIGNALS, since=(now - self.news_minutes * MINUTE) / 1_000_000):
            wanted = self.is_for(row["symbol"]) and listed(self.rules, row["rule"])
            if not wanted or not listed(self.intervals, row["interval"]) or self.side not in ("any", row["side"]):
                continue
            said = f"Retracted ({row['reason']})" if row["is_retraction"] else row["side"].capitalize()
            text = (
                f"{said}: {row['rule']} on {row['symbol']} {row['interval']} of {row['begins']} UTC, "
                f"close {plain(row['close'])}."
            )
            yield Finding(
                f"{row['exchange']} {row['symbol']} {row['interval']} {row['rule']}",
                not row["is_retraction"],
                int(row["closed"] * 1_000_000),
                float(row["strength"]),
                text,
                row["begins"],
            )
