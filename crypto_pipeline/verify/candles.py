"""The candles of a day once more from bronze, in SQL that shares nothing with the code that made silver.

What bronze says of a minute is read in one way, or in two: where a run of ids proves a minute and no kline does, it
depends on what was known when silver looked whether it could tell. Of the two the one counts that silver has taken.
"""

# ruff: noqa: S608 (the SQL is put together of names and numbers of our own)

from crypto_pipeline.silver.candles import INTERVALS, PRICES_AND_VOLUMES
from crypto_pipeline.verify.workbench import Workbench

MINUTE = 60_000_000
"""All times here are microseconds."""
HOUR, DAY = 60 * MINUTE, 1440 * MINUTE

KEY = "exchange, symbol, minute"
ASSETS = ("base_asset", "quote_asset")
SAYS = (*ASSETS, *PRICES_AND_VOLUMES, "trade_count", "first_trade_id", "last_trade_id")
LABELS = ("is_closed", "status", "proof", "source")
CANDLE = (*SAYS, "vwap", *LABELS, "minutes_present", "minutes_expected", "interval_seconds", "interval_end")
"""What is compared of a candle; the rest is its key, its partition and bookkeeping."""

_WORST_LAST = {
    "status": ("complete", "repaired", "pending", "partial"),
    "proof": ("trade_ids", "agg", "exchange_kline", "none"),
    "source": ("websocket", "trades", "rest", "archive"),
}
_ABOUT_A_DAY = HOUR
"""So near to a day old it may have been either side of it when silver last looked."""

IN_DAY = "between getvariable('day') and getvariable('day_end') - 1"


def make(bench: Workbench) -> None:
    """Of the tables `trades`, `merged`, `klines`, `quiet_minutes` and `candles`: `judged`, a row for each minute of the
    day that has a candle or should have one (`s_` is what is stored, `e_` what is expected), and `longer_judged` beside
    `longer`.

    Minutes and intervals that still move are left out: they end after `horizon` (`longer_horizon`), or hold rows that a
    commit in `unfollowed` wrote; `moving` has the minutes of these.
    """
    for sql in (_MOVING, _OURS, _THEIRS, _READINGS, _EXPECTED, _JUDGED, _longer_expected(), _LONGER_JUDGED):
        bench.run(sql)


def make_completeness(bench: Workbench) -> None:
    """`completeness_judged`: each minute of the day that has a row of `completeness`, or a candle that is closed."""
    bench.run(_COMPLETENESS_JUDGED)


def _moving(follower: str, *tables: tuple[str, str, str]) -> str:
    """The minutes that hold rows (of a table of the bench, by its time, that lies in the lake so) not followed yet."""
    return " union ".join(
        f"select exchange, symbol, {time} // {MINUTE} * {MINUTE} as minute from {name} "
        f"where written_by in (select written_by from unfollowed where follower = '{follower}' and source = '{source}')"
        for name, time, source in tables
    )


_MOVING = "create or replace table moving as " + _moving(
    "silver.ohlcv_1m",
    ("trades", "event_time", "bronze.trades"),
    ("merged", "event_time", "bronze.agg_trades"),
    ("klines", "open_time", "bronze.klines"),
)

_OURS = f"""
create or replace table ours as
with ranked as (
    select exchange, symbol, event_time // {MINUTE} as in_minute, trade_id,
           row_number() over (partition by exchange, symbol, in_minute order by trade_id) as number
    from trades
    where (exchange, symbol, event_time // {MINUTE}) in (select (exchange, symbol, event_time // {MINUTE}) from merged)
), places as (
    select *, event_time // {MINUTE} as in_minute from merged
), standing as (  -- a merged fill stands for its trades where not all of them are there
    select p.* from places p
    asof left join ranked l on l.exchange = p.exchange and l.symbol = p.symbol and l.in_minute = p.in_minute
                            and p.last_trade_id >= l.trade_id
    asof left join ranked f on f.exchange = p.exchange and f.symbol = p.symbol and f.in_minute = p.in_minute
                            and p.first_trade_id > f.trade_id
    where coalesce(l.number, 0) - coalesce(f.number, 0) < p.last_trade_id - p.first_trade_id + 1
), single as (
    select t.* from (select *, event_time // {MINUTE} as in_minute from trades) t
    asof left join standing s on s.exchange = t.exchange and s.symbol = t.symbol and s.in_minute = t.in_minute
                              and t.trade_id >= s.first_trade_id
    where s.last_trade_id is null or t.trade_id > s.last_trade_id
), fills as (
    select exchange, symbol, {", ".join(ASSETS)}, in_minute, price, quantity, quote_quantity, is_buyer_maker, source,
           trade_id as first_id, trade_id as last_id, false as is_merged from single
    union all
    select exchange, symbol, {", ".join(ASSETS)}, in_minute, price, quantity, quote_quantity, is_buyer_maker, source,
           first_trade_id, last_trade_id, true from standing
)
select exchange, symbol, in_minute * {MINUTE} as minute, min(base_asset) as base_asset,
       min(quote_asset) as quote_asset, arg_min(price, first_id) as open, max(price) as high, min(price) as low,
       arg_max(price, first_id) as close, sum(quantity) as volume, sum(quote_quantity) as quote_volume,
       coalesce(sum(quantity) filter (not is_buyer_maker), 0) as taker_buy_volume,
       coalesce(sum(quote_quantity) filter (not is_buyer_maker), 0) as taker_buy_quote_volume,
       sum(last_id - first_id + 1)::bigint as trade_count, min(first_id) as first_trade_id,
       max(last_id) as last_trade_id, bool_or(source = 'rest') or min(source) <> max(source) as came_late,
       bool_or(is_merged) as is_merged
from fills group by exchange, symbol, in_minute"""

_THEIRS = f"""
create or replace table theirs as
select exchange, symbol, open_time as minute, source, {", ".join(SAYS)} from klines
where open_time {IN_DAY}
and (trade_count = 0 or (high >= greatest(open, low, close) and low <= least(open, close) and volume > 0
                         and quote_volume > 0 and taker_buy_volume between 0 and volume))
qualify row_number() over (
    partition by exchange, symbol, open_time
    order by case source when 'websocket' then 1 when 'rest' then 2 else 3 end, ordering desc) = 1"""

_READINGS = f"""
create or replace table readings as
with known as (  -- a kline by REST names no ids; the tape beside it may
    select {KEY}, coalesce(c.first_trade_id, o.first_trade_id) as first_id,
           coalesce(c.last_trade_id, o.last_trade_id) as last_id,
           coalesce(c.proof in ('trade_ids', 'agg') or c.source = 'trades', false) as has_tape
    from (select *, interval_start as minute from candles) c full join ours o using ({KEY})
), around as (  -- the trade before a minute's first, and the one after its last
    select {KEY}, lag(last_id) over beside as id_before, lead(first_id) over beside as id_after,
           lag(minute) over beside as before, lead(minute) over beside as after,
           lag(has_tape) over beside as has_tape_before, lead(has_tape) over beside as has_tape_after
    from known window beside as (partition by exchange, symbol order by minute)
), sides as (
    select {KEY}, o.trade_count is not null as has_ours, coalesce(k.trade_count > 0, false) as is_kline,
           k.source as kline_source, o.came_late, o.is_merged, o.first_trade_id, o.last_trade_id,
           coalesce(k.trade_count = o.trade_count
                    and not coalesce(k.first_trade_id <> o.first_trade_id or k.last_trade_id <> o.last_trade_id, false),
                    false) as by_kline,
           o.last_trade_id - o.first_trade_id + 1 = o.trade_count as is_contiguous
    from ours o full join theirs k using ({KEY})
    where has_ours or is_kline
), witnessed as (
    select *,
           coalesce(is_contiguous and id_before + 1 = first_trade_id and id_after = last_trade_id + 1, false) as by_ids,
           -- beyond what was brought nobody has looked; and of another day the tape is not here
           coalesce(is_contiguous, false)
           and coalesce(id_before + 1 = first_trade_id, has_tape_before, getvariable('has_earlier') = 1)
           and coalesce(id_after = last_trade_id + 1, has_tape_after, getvariable('has_later') = 1) as may_be_by_ids
    from sides left join around using ({KEY})
)
select *, by_kline or (with_ids and by_ids) as is_whole
from witnessed, (values (false), (true)) as way(with_ids)
where not with_ids or (by_ids and not by_kline)"""

_EXPECTED = f"""
create or replace table expected as
with labelled as (
    select *, case when is_kline and kline_source = 'websocket' then 'websocket'
                   when is_whole and not is_merged then 'trades'
                   when is_kline then kline_source else 'trades' end as source,
           case when is_whole and not is_merged then 'trade_ids' when is_whole then 'agg'
                when is_kline then 'exchange_kline' else 'none' end as proof
    from readings
)
select l.exchange, l.symbol, l.minute, l.proof, l.source, l.by_kline, l.by_ids, l.may_be_by_ids, l.is_kline,
       l.is_merged, l.with_ids, l.has_ours, l.before, l.after,
       l.has_tape_before and l.has_tape_after as has_tape_around,
       {", ".join(f"if(l.source = 'trades', o.{name}, k.{name}) as {name}" for name in SAYS)},
       true as is_closed,
       case when l.proof <> 'none' and (l.source = 'rest' or (coalesce(l.came_late, false) and l.is_whole))
            then 'repaired'
            when l.proof <> 'none' then 'complete'
            when l.minute < getvariable('as_of') - {DAY + _ABOUT_A_DAY} then 'partial'
            when l.minute > getvariable('as_of') - {DAY - _ABOUT_A_DAY} then 'pending' end as status,
       1 as minutes_present, 1 as minutes_expected, 60 as interval_seconds, l.minute + {MINUTE} as interval_end
from labelled l
left join ours o using ({KEY})
left join theirs k using ({KEY})"""

_STORED = ", ".join(f"s.{name} as s_{name}" for name in CANDLE)
_MADE = ", ".join(
    f"vwap(e.quote_volume::decimal(38, 18), e.volume::decimal(38, 18)) as e_{name}"
    if name == "vwap"
    else f"e.{name} as e_{name}"
    for name in CANDLE
)
_DIFFERENCES = ", ".join(
    f"if({f'e_{name} is not null and ' if name == 'status' else ''}s_{name} is distinct from e_{name}, '{name}', null)"
    for name in CANDLE
)

_JUDGED = f"""
create or replace table judged as
with stored as (
    select *, interval_start as minute from candles where interval_start {IN_DAY}
), minutes as (
    select {KEY} from expected union select {KEY} from stored
), settled as (
    select {KEY} from minutes where minute < getvariable('horizon') except select {KEY} from moving
), paired as (
    select {KEY}, s.exchange is not null as is_stored, e.exchange is not null as is_expected, s.written_by,
           {_STORED}, {_MADE}, e.by_kline, e.by_ids, e.may_be_by_ids, e.is_kline, e.is_merged, e.has_ours, e.before,
           e.after, e.has_tape_around
    from settled
    left join stored s using ({KEY})
    left join expected e using ({KEY})
    qualify row_number() over (
        partition by {KEY} order by coalesce(s.source = e.source and s.proof = e.proof, false) desc, e.with_ids desc
    ) = 1
)
select *, concat_ws(', ', {_DIFFERENCES}) as differences from paired"""


def _longer_expected() -> str:
    """Every longer interval of the day, summed up from the stored minutes."""
    longer = ", ".join(f"('{name}', {seconds}::bigint)" for name, seconds in INTERVALS.items() if name != "1m")
    start = "// (seconds * 1000000) * (seconds * 1000000)"
    worst = {
        name: f"list_extract({list(order)}, max(list_position({list(order)}, {name})))"
        for name, order in _WORST_LAST.items()
    }
    return f"""
create or replace table longer_expected as
with intervals(longer, seconds) as (values {longer}),
minutes as (
    select *, interval_start as minute, interval_start {start} as start from candles, intervals
    where interval_start {IN_DAY}
), quiet as (
    select exchange, symbol, longer, open_time {start} as start, count(distinct open_time) as quiet
    from klines, intervals where trade_count = 0 and open_time {IN_DAY} group by all
), summed as (
    select exchange, symbol, longer, start, any_value(seconds) as interval_seconds,
           first(base_asset order by minute) as base_asset, first(quote_asset order by minute) as quote_asset,
           first(open order by minute) as open, max(high) as high, min(low) as low,
           last(close order by minute) as close,
           sum(volume) as volume, sum(quote_volume) as quote_volume, sum(taker_buy_volume) as taker_buy_volume,
           sum(taker_buy_quote_volume) as taker_buy_quote_volume, sum(trade_count)::bigint as trade_count,
           first(first_trade_id order by minute) as first_trade_id,
           last(last_trade_id order by minute) as last_trade_id,
           count(*) as minutes_present, count(first_trade_id + last_trade_id) as minutes_with_ids,
           {", ".join(f"{sql} as worst_{name}" for name, sql in worst.items())}
    from minutes group by exchange, symbol, longer, start
), whole as (
    select *, minutes_present + coalesce(quiet, 0) >= interval_seconds // 60
              and (minutes_with_ids < minutes_present
                   or coalesce(last_trade_id - first_trade_id + 1 = trade_count, false)) as is_whole
    from summed left join quiet using (exchange, symbol, longer, start)
)
select *, if(is_whole, worst_status, 'partial') as status, worst_source as source,
       if(is_whole and worst_status in ('complete', 'repaired'), worst_proof, 'none') as proof, true as is_closed,
       interval_seconds // 60 as minutes_expected, start + interval_seconds * 1000000 as interval_end
from whole"""


_LONGER_JUDGED = f"""
create or replace table longer_judged as
with moving_minutes as (
    {
    _moving(
        "silver.ohlcv",
        ("candles", "interval_start", "silver.ohlcv_1m"),
        ("quiet_minutes", "interval_start", "silver.quiet_intervals"),
    )
}
    union {_moving("silver.quiet_intervals", ("klines", "open_time", "bronze.klines"))}
), stored as (
    select *, interval as longer, interval_start as start from longer where interval_start {IN_DAY}
), paired as (
    select exchange, symbol, longer, start, coalesce(e.interval_end, s.interval_end) as ends,
           s.interval_end is not null as is_stored, e.interval_end is not null as is_expected, {_STORED}, {_MADE}
    from stored s full join longer_expected e using (exchange, symbol, longer, start)
)
select *, concat_ws(', ', {_DIFFERENCES}) as differences from paired p
where ends <= getvariable('longer_horizon')
and not exists (from moving_minutes m where m.exchange = p.exchange and m.symbol = p.symbol
                and m.minute >= p.start and m.minute < p.ends)"""

_COMPLETENESS_JUDGED = f"""
create or replace table completeness_judged as
with moving_minutes as (
    {
    _moving(
        "silver.completeness",
        ("trades", "event_time", "bronze.trades"),
        ("klines", "open_time", "bronze.klines"),
        ("candles", "interval_start", "silver.ohlcv_1m"),
    )
}
), stored as (
    select *, interval_start as minute from completeness where interval_start {IN_DAY}
), closed as (
    select exchange, symbol, interval_start as minute, status as candle_status
    from candles where is_closed and interval_start {IN_DAY}
), settled as (
    select {KEY} from (select {KEY} from stored union select {KEY} from closed)
    where minute < getvariable('completeness_horizon') except select {KEY} from moving_minutes
)
select {KEY}, s.status is not null as is_stored, s.status, s.reason, c.candle_status is not null as has_candle,
       c.candle_status
from settled left join stored s using ({KEY}) left join closed c using ({KEY})"""
