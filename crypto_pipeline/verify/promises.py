"""The promises, and for each the queries that look for what breaks it.

A query of offenders gives a row for each: `exchange`, `symbol`, `moment` (microseconds), and `says`, what is wrong in
words. The tables that it asks are those that `verdict.py` brings and `candles.py` makes.
"""

# ruff: noqa: S608 (the SQL is put together of names and numbers of our own)

from dataclasses import dataclass
from typing import Literal

from crypto_pipeline.verify.candles import DAY, HOUR, IN_DAY

PROMISES = {
    1: "A trade is in bronze exactly once",
    2: "One candle a minute, exactly where something traded",
    3: "The better source makes the candle",
    4: "Complete means proven",
    5: "Longer candles are their minutes; revisions count",
    6: "Absence is explained",
    7: "Holes are repaired",
    8: "Connections overlap; nothing is doubled",
    9: "Reading stays cheap",
    10: "Silver made again is equal",
}

LONGEST_OPEN = 2 * DAY
"""A hole that REST cannot fill waits for the archive of its day, which comes the next."""
MANY_LOG_FILES = 100
"""Maintenance merges a file's log files from 20 on, each quarter of an hour, and a pass adds one."""
_LIFETIME = DAY
"""The exchange cuts a connection that is older."""
_REPAIRABLE = "gap_stream in ('trade', 'kline_1m') and exchange <> 'kafka'"
_IN_RANGE = "event_time between getvariable('start') and getvariable('stop') - 1"
_REASONS = ("no_trades", "halt", "not_listed", "our_outage", "expired", "venue_gap", "not_collected")


@dataclass(frozen=True)
class Check:
    """One way to break a promise."""

    promise: int
    sentence: str
    unit: str
    """What is counted: `trades`."""
    each: Literal["day", "month", "range"]
    """When it is asked: after each day, or the days of a month, or at the end."""
    looked_at: str
    """SQL: how many were looked at."""
    offenders: str


def _doubled(table: str, key: str, time: str, what: str, where: str = "true") -> str:
    return (
        f"select exchange, symbol, {time} as moment, {what} || ' stands ' || count(*) || ' times' as says "
        f"from {table} where {where} group by {key} having count(*) > 1"
    )


def _of_day(columns: str) -> str:
    """These columns of all candles of the day."""
    return " union all ".join(
        f"select exchange, symbol, interval, interval_start, {columns} from {table} where interval_start {IN_DAY}"
        for table in ("candles", "longer")
    )


_IN_DAY = f"interval_start {IN_DAY}"
_STORED = "select count(*) from judged where is_stored"
_LONGER = "select count(*) from longer_judged where is_stored"
_TRADES = "select coalesce(sum(last_id - first_id + 1), 0)::bigint from runs"

CHECKS = (
    Check(
        1,
        "a trade stands once",
        "trades",
        "day",
        "select count(*) from trades",
        _doubled("trades", "exchange, symbol, trade_id", "min(event_time)", "'trade ' || trade_id"),
    ),
    Check(
        1,
        "nor on another day",
        "trades",
        "range",
        _TRADES,
        """
        select exchange, symbol, first_time as moment,
               'trade ' || first_id || ' of ' || strftime(make_timestamp(first_time), '%Y-%m-%d')
               || ' stands also on ' || strftime(make_timestamp(time_before), '%Y-%m-%d') as says
        from (select *, max(last_id) over before as last_before, arg_max(first_time, last_id) over before as time_before
              from runs window before as (partition by exchange, symbol order by first_id, last_id
                                          rows between unbounded preceding and 1 preceding))
        where first_id <= last_before""",
    ),
    Check(
        1,
        "it lies in the partition of its time",
        "trades",
        "day",
        "select count(*) from trades",
        """
        select exchange, symbol, event_time as moment,
               'trade ' || trade_id || ' lies in date=' || date || '/hour=' || hour as says
        from trades where strftime(make_timestamp(event_time), '%Y-%m-%d %H') <> date || ' ' || hour""",
    ),
    Check(
        1,
        "a kline stands once a source",
        "klines",
        "month",
        "select count(*) from klines",
        _doubled("klines", "exchange, symbol, open_time, source", "open_time", "'the closed kline (' || source || ')'"),
    ),
    Check(
        1,
        "Kafka's offsets are in the table's commits",
        "tables",
        "range",
        "select count(*) from bronze",
        "select '' as exchange, '' as symbol, 0 as moment, name || ' has rows and no offsets' as says "
        "from bronze where has_rows and not has_offsets",
    ),
    Check(
        2,
        "a minute, and an interval, has one candle at most",
        "candles",
        "day",
        f"select count(*) from ({_of_day('month')})",
        _doubled("candles", "exchange, symbol, interval_start", "interval_start", "'its candle'", _IN_DAY)
        + " union all "
        + _doubled(
            "longer", "exchange, symbol, interval, interval_start", "interval_start", "'its ' || interval", _IN_DAY
        ),
    ),
    Check(
        2,
        "a minute in which something traded has a candle",
        "minutes",
        "day",
        "select count(*) from judged where is_expected",
        "select exchange, symbol, minute as moment, "
        "e_trade_count || ' trades by ' || e_source || ', and no candle' as says "
        "from judged where is_expected and not is_stored",
    ),
    Check(
        2,
        "one in which nothing did has none",
        "minutes",
        "day",
        _STORED,
        "select exchange, symbol, minute as moment, "
        "'a candle of ' || s_trade_count || ' trades by ' || s_source || ' that bronze does not know' as says "
        "from judged where is_stored and not is_expected",
    ),
    Check(
        2,
        "candles start and end on their grid",
        "candles",
        "day",
        f"select count(*) from ({_of_day('month')})",
        f"""
        select exchange, symbol, interval_start as moment, 'its ' || interval || ' is off the grid' as says
        from ({_of_day("interval_end, interval_seconds")})
        where interval_start % (interval_seconds::bigint * 1000000) <> 0
           or interval_end <> interval_start + interval_seconds::bigint * 1000000""",
    ),
    Check(
        3,
        "the WebSocket's closed kline, else all our trades, else the kline by REST or of the archive, else some trades",
        "minutes",
        "day",
        "select count(*) from judged where is_stored and is_expected",
        "select exchange, symbol, minute as moment, 'made by ' || s_source || ', where there is ' || e_source as says "
        "from judged where is_stored and is_expected and s_source is distinct from e_source",
    ),
    Check(
        4,
        "what a minute's proof says is there",
        "minutes",
        "day",
        _STORED,
        """
        select exchange, symbol, minute as moment,
               'says ' || s_status || ' by ' || s_proof || ', and neither a kline nor the ids show it' as says
        from judged where is_stored and not coalesce(
            case s_proof when 'trade_ids' then (by_kline or may_be_by_ids) and has_ours and not is_merged
                         when 'agg' then (by_kline or may_be_by_ids) and is_merged
                         when 'exchange_kline' then is_kline
                         when 'none' then true end, false)""",
    ),
    Check(
        4,
        "nothing says complete or repaired without a proof",
        "candles",
        "day",
        f"select ({_STORED}) + ({_LONGER})",
        """
        select exchange, symbol, moment, 'says ' || s_status || ' with proof ' || s_proof as says
        from (select exchange, symbol, minute as moment, s_status, s_proof from judged where is_stored
              union all select exchange, symbol, start, s_status, s_proof from longer_judged where is_stored)
        where (s_status in ('complete', 'repaired')) <> (s_proof <> 'none')""",
    ),
    Check(
        4,
        "a longer candle is no better than its minutes",
        "candles",
        "day",
        _LONGER,
        """
        select exchange, symbol, start as moment,
               longer || ' says ' || s_status || ', and its minutes ' || e_status as says
        from longer_judged where is_stored and is_expected and s_status in ('complete', 'repaired')
        and e_status not in ('complete', 'repaired')""",
    ),
    Check(
        5,
        "a longer candle is there where its minutes are",
        "candles",
        "day",
        "select count(*) from longer_judged",
        """
        select exchange, symbol, start as moment,
               longer || if(is_stored, ' without a minute', ' is not there; its minutes are ' || e_minutes_present)
               as says
        from longer_judged where is_stored <> is_expected""",
    ),
    Check(
        5,
        "and equals them in every field",
        "candles",
        "day",
        _LONGER,
        "select exchange, symbol, start as moment, longer || ' has another ' || differences as says "
        "from longer_judged where is_stored and is_expected and differences <> ''",
    ),
    Check(
        5,
        "revisions count from 1, each with when it was known",
        "candles",
        "day",
        f"select count(*) from ({_of_day('month')})",
        f"""
        select exchange, symbol, interval_start as moment,
               'its ' || interval || ' is of revision ' || coalesce(revision::varchar, 'null')
               || if(known_at is null, ', and nobody knows since when', '') as says
        from ({_of_day("revision, known_at")}) where coalesce(revision < 1, true) or known_at is null""",
    ),
    Check(
        5,
        "the versions before it are kept, each until the next was known",
        "candles",
        "day",
        f"select count(*) from ({_of_day('month')})",
        f"""
        select exchange, symbol, interval_start as moment,
               'its ' || interval || ' is of revision ' || revision || ', and keeps ' || coalesce(len(superseded), 0)
               || ' before it' as says
        from ({_of_day("revision, known_at, superseded")})
        where revision <> coalesce(len(superseded), 0) + 1
        or list_transform(superseded, lambda v: v.known_to)
           <> list_append(list_transform(superseded[2:], lambda v: v.known_at), known_at)""",
    ),
    Check(
        6,
        "every minute of a symbol has a row that says how it is",
        "minutes",
        "day",
        "select count(*) from completeness_judged",
        f"""
        select exchange, symbol, moment, says from (
            select exchange, symbol, minute as moment, 'a candle, and no word on the minute' as says
            from completeness_judged where not is_stored
            union all
            select exchange, symbol, before + 60000000, 'no word on ' || ((interval_start - before) // 60000000 - 1)
                   || ' minutes' from (
                select exchange, symbol, interval_start,
                       lag(interval_start) over (partition by exchange, symbol order by interval_start) as before
                from completeness)
            where interval_start - before > 60000000 and interval_start {IN_DAY})""",
    ),
    Check(
        6,
        "where there is no candle, it says why",
        "minutes",
        "day",
        "select count(*) from completeness_judged where is_stored and not has_candle",
        f"""
        select exchange, symbol, minute as moment,
               'no candle, ' || status || ', because of ' || coalesce(reason, 'nothing') as says
        from completeness_judged where is_stored and not has_candle
        and case when reason is null then status <> 'pending' else reason not in {_REASONS} end""",
    ),
    Check(
        6,
        "where something traded, it does not say that nothing did, and says what the candle says",
        "minutes",
        "day",
        "select count(*) from completeness_judged where is_stored and has_candle",
        """
        select exchange, symbol, minute as moment, 'says ' || status || coalesce(' (' || reason || ')', '')
               || ', and its candle ' || candle_status as says
        from completeness_judged where is_stored and has_candle
        and (reason = 'no_trades' or status <> candle_status)""",
    ),
    Check(
        6,
        "ids that one connection left out are on record",
        "trades",
        "range",
        _TRADES,
        """
        select exchange, symbol, time_before as moment,
               'ids ' || (last_before + 1) || ' to ' || (first_id - 1) || ' are missing, and on no record' as says
        from (select *, lag(last_id) over beside as last_before, lag(last_time) over beside as time_before,
                     lag(last_connection) over beside as connection_before from runs
              window beside as (partition by exchange, symbol order by first_id)) r
        where first_id - last_before - 1 > (
            select count(*) from refused q where q.exchange = r.exchange and q.symbol = r.symbol
            and q.trade_id between r.last_before + 1 and r.first_id - 1)
        and first_connection = connection_before and first_connection <> ''
        and first_time < getvariable('horizon')
        and not exists (from gaps g where g.exchange = r.exchange and g.symbol = r.symbol and g.gap_stream = 'trade'
                        and g.first_missing < r.first_id and coalesce(g.last_missing, r.first_id) > r.last_before)""",
    ),
    Check(
        7,
        "no hole of trades or klines stays open for two days",
        "holes",
        "range",
        f"select count(*) from gaps where {_REPAIRABLE} and {_IN_RANGE}",
        f"""
        select exchange, symbol, event_time as moment,
               gap_stream || ' open for ' || ((getvariable('as_of') - event_time) // {HOUR}) || ' hours: ' || detail
               as says
        from gaps where {_REPAIRABLE} and {_IN_RANGE} and status = 'open'
        and event_time < getvariable('as_of') - {LONGEST_OPEN}""",
    ),
    Check(
        7,
        "the trades of a repaired hole are there",
        "holes",
        "range",
        "select count(*) from repaired",
        """
        select exchange, symbol, event_time as moment,
               (expected - found) || ' of ' || expected || ' trades from ' || first_missing || ' on are missing' as says
        from repaired where found < expected""",
    ),
    Check(
        7,
        "the klines of a repaired hole are there",
        "klines",
        "month",
        "select count(*) from repaired_klines",
        """
        select exchange, symbol, minute as moment, 'no closed kline, and its hole is repaired' as says
        from repaired_klines r
        where not exists (from klines k where k.exchange = r.exchange and k.symbol = r.symbol
                          and k.open_time = r.minute)""",
    ),
    Check(
        8,
        "a connection that was replaced ended after another had taken over",
        "connections",
        "range",
        "select count(*) from connections where reason like 'replaced: %'",
        """
        select exchange, '' as symbol, closed_at as moment, connection_id || ' ended, ' || reason
               || ', and no other was open' as says
        from connections c where reason like 'replaced: %' and not exists (
            from connections n where n.exchange = c.exchange and n.connection_id <> c.connection_id
            and n.opened_at > c.opened_at and n.opened_at < c.closed_at
            and coalesce(n.closed_at > c.closed_at, true))""",
    ),
    Check(
        8,
        "none lived until the exchange cuts it",
        "connections",
        "range",
        "select count(*) from connections where closed_at is not null",
        f"""
        select exchange, '' as symbol, closed_at as moment,
               connection_id || ' lived for ' || ((closed_at - opened_at) // {HOUR}) || ' hours' as says
        from connections where closed_at - opened_at >= {_LIFETIME}""",
    ),
    Check(
        8,
        "a ticker stands once",
        "tickers",
        "day",
        "select count(*) from tickers",
        _doubled("tickers", "exchange, symbol, event_time", "event_time", "'the ticker'"),
    ),
    Check(
        8,
        "a book snapshot stands once",
        "snapshots",
        "day",
        "select count(*) from snapshots",
        _doubled(
            "snapshots",
            "exchange, symbol, update_id, levels",
            "min(coalesce(event_time, received_at))",
            "'update ' || update_id",
        ),
    ),
    Check(
        9,
        f"no file has more than {MANY_LOG_FILES} log files that wait to be merged",
        "files",
        "range",
        "select coalesce(sum(files), 0)::bigint from log_files",
        f"""
        select '' as exchange, '' as symbol, 0 as moment,
               name || ' has a file with ' || most || ' log files: is the schedule every_quarter_hour on?' as says
        from log_files where most > {MANY_LOG_FILES}""",
    ),
    Check(
        10,
        "silver.ohlcv_1m equals bronze in every field",
        "minutes",
        "day",
        "select count(*) from judged where is_stored and is_expected",
        f"""
        select exchange, symbol, minute as moment, 'another ' || differences as says
        from judged where is_stored and is_expected and differences <> ''
        union all  -- a neighbour far away is not looked for
        select exchange, symbol, minute, 'the ids around it prove it, and it says ' || s_status
        from judged where is_stored and is_expected and differences = '' and s_proof = 'none' and by_ids
        and not is_kline and not is_merged and has_tape_around
        and before // {HOUR} = minute // {HOUR} and after // {HOUR} = minute // {HOUR}""",
    ),
)
"""What is asked of data alone. That the other tables of silver are equal once they are made again, Spark says."""
