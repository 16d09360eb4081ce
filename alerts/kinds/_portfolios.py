"""What portfolios are worth by the newest candles: from one run of gold to the next prices move."""

VALUED_NOW = """
    last_valued as (
        select distinct on (portfolio) portfolio, day, as_of, is_closed, value, drawdown
        from gold.portfolio_performance
        where asset = 'TOTAL' and value > 0
        order by portfolio, day desc
    ),
    valued_now as (
        select l.portfolio, l.day, l.is_closed, l.drawdown,
               case when count(*) = count(held.value)
                    then sum(coalesce(held.units * newest.close, held.value)) else l.value end as value_now,
               l.value as value_then
        from last_valued as l
        left join gold.portfolio_performance as held
            on held.portfolio = l.portfolio and held.day = l.day and held.asset <> 'TOTAL'
        left join lateral (
            select close from silver.fact_ohlcv as c
            where c.exchange = held.exchange and c.symbol = held.asset || 'USDT' and c."interval" = '1m'
              and c.is_closed and c.interval_start >= l.as_of
            order by c.interval_start desc limit 1
        ) as newest on true
        group by l.portfolio, l.day, l.is_closed, l.drawdown, l.value
    )
"""
"""Two steps of a query: each portfolio as gold valued it last, and what the same units are worth now.

A price that no candle has since stays; so does the value where one of a portfolio's rows has none. What is traded or
paid in since then is in the next valuation.
"""
