"""`anomaly`: a minute unlike what is usual for its market and hour."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import MINUTE, AskedRule, Finding, Sources, SymbolRule, listed

_ANOMALIES = """
    select exchange, symbol, kind, score, explanation, is_retracted,
           to_char(interval_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as begins,
           extract(epoch from interval_start) as start
    from gold.anomalies
    where interval_start > to_timestamp(%(since)s) and abs(score) >= threshold * %(times)s
"""


class Anomaly(AskedRule, SymbolRule):
    """Fires with each row of `gold.anomalies` whose score is `times` its threshold or more, by symbol and kind.

    Resolves where late data retracts it, else after `news_minutes`.
    """

    kind: Literal["anomaly"]
    measures: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all"
    """The kinds of `gold.anomalies`: return, volume, trade_size, spread, imbalance, away, isolation_forest, …"""
    times: Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False)] = 1
    news_minutes: Annotated[int, Field(ge=10, le=10_080)] = 60

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        since = (now - self.news_minutes * MINUTE) / 1_000_000
        for row in sources.rows(_ANOMALIES, since=since, times=self.times):
            if self.is_for(row["symbol"]) and listed(self.measures, row["kind"]):
                yield Finding(
                    f"{row['exchange']} {row['symbol']} {row['kind']}",
                    not row["is_retracted"],
                    int(row["start"] * 1_000_000) + MINUTE,
                    float(row["score"]),
                    f"{row['symbol']}, {row['begins']} UTC: {row['explanation']}",
                    row["begins"],
                )
