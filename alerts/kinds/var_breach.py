"""`var_breach`: a loss is greater than the value at risk that was foretold."""

from collections.abc import Iterator
from typing import Literal

from alerts.kinds._kind import AskedRule, Finding, Sources, SymbolRule, listed, market
from alerts.kinds._portfolios import VALUED_NOW

_LOSSES = f"""
    with {VALUED_NOW},
    foretold as (
        select distinct on (exchange, subject_kind, subject)
               exchange, subject_kind, subject, as_of, value, horizon
        from gold.risk_metrics
        where metric = %(metric)s and confidence = %(confidence)s and value is not null
          and horizon = case subject_kind when 'symbol' then '1h' else '1d' end
        order by exchange, subject_kind, subject, as_of desc
    )
    select f.*, to_char(f.as_of at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as begins,
           coalesce(1 - newest.close / nullif(base.close, 0),
                    1 - (1 + day.return_day) * coalesce(moved.value_now / moved.value_then, 1)::float8) as loss
    from foretold as f
    left join lateral (
        select close from silver.fact_ohlcv as c
        where f.subject_kind = 'symbol' and c.exchange = f.exchange and c.symbol = f.subject and c."interval" = '1m'
          and c.interval_start < f.as_of and c.interval_start >= f.as_of - interval '1 hour'
        order by c.interval_start desc limit 1
    ) as base on true
    left join lateral (
        select close from silver.fact_ohlcv as c
        where f.subject_kind = 'symbol' and c.exchange = f.exchange and c.symbol = f.subject and c."interval" = '1m'
          and c.interval_start >= f.as_of and c.interval_start < f.as_of + interval '1 hour'
        order by c.interval_start desc limit 1
    ) as newest on true
    left join gold.portfolio_performance as day
        on f.subject_kind = 'portfolio' and day.portfolio = f.subject and day.asset = 'TOTAL' and day.day = f.as_of
    left join valued_now as moved on moved.portfolio = day.portfolio and moved.day = day.day and not moved.is_closed
"""  # noqa: S608 (our own words)


class VarBreach(AskedRule, SymbolRule):
    """Fires where what was lost since the end of the window of the newest value at risk is greater than that.

    Of a symbol: within the next hour, by its candles of a minute. Of a portfolio: within the next UTC day, by the
    newest candles of what it holds. Each hour or day is told by itself, and resolves when the loss is no longer
    greater, or the next value at risk is there.
    """

    kind: Literal["var_breach"]
    confidence: Literal[95, 99] = 99
    method: Literal["historical", "parametric"] = "historical"
    portfolios: Literal["all"] | tuple[str, ...] = "all"

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        for row in sources.rows(_LOSSES, metric=f"{self.method}_var", confidence=self.confidence):
            is_symbol = row["subject_kind"] == "symbol"
            if not (self.is_for(row["subject"]) if is_symbol else listed(self.portfolios, row["subject"])):
                continue
            loss, foretold = row["loss"], float(row["value"])
            lost = 100 * float(loss or 0)
            text = (
                f"{row['subject']} lost {lost:.2f} % since {row['begins']} UTC; the {self.method} value at risk of "
                f"{row['horizon']} at {self.confidence} % is {100 * foretold:.2f} %."
            )
            subject = market(row["exchange"], row["subject"]) if is_symbol else f"portfolio {row['subject']}"
            holds = None if loss is None else float(loss) > foretold
            yield Finding(subject, holds, now, lost, text, row["begins"])
