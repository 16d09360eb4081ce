"""`anomaly`: a minute unlike what is usual for its market and hour."""

import json
from collections.abc import Iterator, Mapping
from math import exp, expm1
from typing import Annotated, Any, Literal

from pydantic import Field

from alerts.kinds._kind import MINUTE, AskedRule, Finding, Sources, SymbolRule, listed

THRESHOLDS = {"return": 10.0, "volume": 6.0, "trade_size": 6.0}
"""What a candle alone tells, and from which robust z-score on it is unusual: as `gold.anomalies` has them."""
_AHEAD = 120
"""Minutes: by then a run of gold has judged a candle."""

_ANOMALIES = """
    select exchange, symbol, kind, score, explanation, is_retracted,
           to_char(interval_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as begins,
           extract(epoch from interval_start) as start
    from gold.anomalies
    where interval_start > to_timestamp(%(since)s) and abs(score) >= threshold * %(times)s
"""
_CANDLES = """
    with minutes as (
        select exchange, symbol, interval_start, close::float8 as close, volume::float8 as volume, trade_count,
               lag(close::float8) over market as close_before, lag(interval_start) over market as start_before
        from silver.fact_ohlcv
        where "interval" = '1m' and is_closed and interval_start > to_timestamp(%(since)s)
        window market as (partition by exchange, symbol order by interval_start)
    ),
    measured as (
        select exchange, symbol, interval_start, measure, figure
        from minutes
        cross join lateral (values
            ('return', case when start_before = interval_start - interval '1 minute' then ln(close / close_before) end),
            ('volume', ln(nullif(volume, 0))),
            ('trade_size', ln(nullif(volume, 0) / nullif(trade_count, 0)))
        ) as figures(measure, figure)
    )
    select exchange, symbol, measure as kind, (figure - median) / scale as score, figure, median, observations,
           to_char(interval_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as begins,
           extract(epoch from interval_start) as start
    from measured
    join gold.anomaly_baselines using (exchange, symbol, measure)
    where hour_start = date_trunc('hour', interval_start, 'UTC') and median is not null
      and abs(figure - median) / scale >= %(times)s * (%(thresholds)s::jsonb ->> measure)::float8
"""


class Anomaly(AskedRule, SymbolRule):
    """Fires with each row of `gold.anomalies` whose score is `times` its threshold or more, by symbol and kind.

    Of what a candle alone tells (return, volume, trade_size) it does not wait for that row: it takes the candle and
    the baseline of its hour, where that is there, and the same formula. Resolves where late data retracts it, else
    after `news_minutes`.
    """

    kind: Literal["anomaly"]
    measures: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all"
    """The kinds of `gold.anomalies`: return, volume, trade_size, spread, imbalance, away, isolation_forest, …"""
    times: Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False)] = 1
    news_minutes: Annotated[int, Field(ge=10, le=10_080)] = 60

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        found = sources.rows(_ANOMALIES, since=self._since(now, self.news_minutes), times=self.times)
        told = {_what(row) for row in found}
        ahead = [row for row in self._of_candles(sources, now) if _what(row) not in told]
        for row in [*found, *ahead]:
            if self.is_for(row["symbol"]) and listed(self.measures, row["kind"]):
                yield Finding(
                    f"{row['exchange']} {row['symbol']} {row['kind']}",
                    not row["is_retracted"],
                    int(row["start"] * 1_000_000) + MINUTE,
                    float(row["score"]),
                    f"{row['symbol']}, {row['begins']} UTC: {row['explanation']}",
                    row["begins"],
                )

    def _of_candles(self, sources: Sources, now: int) -> list[dict[str, Any]]:
        since, thresholds = self._since(now, min(self.news_minutes, _AHEAD)), json.dumps(THRESHOLDS)
        rows = sources.rows(_CANDLES, since=since, times=self.times, thresholds=thresholds)
        return [{**row, "is_retracted": False, "explanation": _explained(row)} for row in rows]

    def _since(self, now: int, minutes: int) -> float:
        return (now - minutes * MINUTE) / 1_000_000


def _what(row: Mapping[str, Any]) -> tuple[str, ...]:
    return row["exchange"], row["symbol"], row["kind"], row["begins"]


def _explained(row: Mapping[str, Any]) -> str:
    """A sentence; a return is a logarithm of prices, the others are logarithms of what they measure."""
    if row["kind"] == "return":
        what = f"return {100 * expm1(row['figure']):+.3g} % in the minute"
    else:
        times = exp(row["figure"] - row["median"])
        what = f"{row['kind'].replace('_', ' ')} {times:.3g} times the median in the minute"
    return f"{what} (robust z {row['score']:+,.1f} by {row['observations']} minutes that are usual for the hour)"
