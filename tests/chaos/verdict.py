"""What follows from what was made, sent and done: what each minute must say, and what must be on record as missing."""

from tests.chaos.facts import MINUTE, Facts

LOSSY = ("kill of streaming", "cut", "silence", "server_shutdown", "rotate")
"""What may lose messages that the simulator has sent: its record of what was sent proves nothing then."""
MARGIN = 15_000_000
"""Within so much of a loss, what was sent may not have come; and a closed candle comes so late at most."""
KAFKA_AWAY = 60_000_000
"""What Kafka could not take while it was down is lost with the streaming service: its loss reaches back so far."""


def prepare(facts: Facts) -> None:
    """Define, beside the facts: `unsent` trades, those of which only `merged` fills could be had, `losses` of what had
    been sent, and `expected`, a row for each minute that is judged."""
    facts.define(
        "unsent",
        """
        select m.* from made_trades m join judged using (symbol)
        where m.trade_id >= first_id and not exists (
            from sent s where s.symbol = m.symbol and s.stream = 'trade' and m.trade_id between s.first and s.last
        )""",
    )
    facts.define(
        "merged",
        f"""
        select u.* from unsent u
        where exists (from done d where d.kind = 'refuse' and d.symbol = u.symbol
                      and u.time between d.start - {MARGIN} and d.stop)
        and exists (from agg_trades a where a.symbol = u.symbol
                    and u.trade_id between a.first_trade_id and a.last_trade_id)
        and not exists (from trades t where t.symbol = u.symbol and t.trade_id = u.trade_id)""",
    )
    lossy = ", ".join(f"'{kind}'" for kind in LOSSY)
    facts.define(
        "losses",
        f"""
        select l.symbol, l.kind, l.is_outage, l.stop + {MARGIN} as stop,
               least(l.start, coalesce((
                   select min(k.start) from done k where k.kind = 'kill of kafka'
                   and k.symbol = l.symbol and k.start between l.start - {KAFKA_AWAY} and l.start
               ), l.start)) - {MARGIN} as start
        from done l where l.kind in ({lossy})""",
    )
    facts.define(
        "expected",
        f"""
        with minutes as (
            select k.*, k.open_time as minute from made_klines k join judged using (symbol)
            where k.open_time >= since and k.open_time < until
        ), seen as (
            select m.*,
                   exists (from unsent u where u.symbol = m.symbol and u.time // {MINUTE} * {MINUTE} = minute)
                   as has_unsent,
                   exists (from sent s where s.symbol = m.symbol and s.stream = 'kline_1m'
                           and minute between s.first and s.last) as is_kline_sent,
                   exists (from losses l where l.symbol = m.symbol
                           and l.start < minute + {MINUTE} and l.stop > minute) as may_lose_trades,
                   exists (from losses l where l.symbol = m.symbol
                           and l.start < minute + {MINUTE} + {MARGIN} and l.stop > minute + {MINUTE})
                   as may_lose_kline,
                   exists (from merged f where f.symbol = m.symbol and f.time // {MINUTE} * {MINUTE} = minute)
                   as has_merged
            from minutes m
        )
        select *,
               case when has_unsent then ['repaired'] when may_lose_trades then ['complete', 'repaired']
                    else ['complete'] end as statuses,
               case when not is_kline_sent then [if(has_merged, 'rest', 'trades')]
                    when may_lose_kline then ['websocket', 'trades'] else ['websocket'] end as sources,
               case when has_merged then 'agg' else 'trade_ids' end as proof
        from seen""",
    )
