"""After a campaign of faults and kills, against the simulator's truth: each test's name is a promise."""

from collections import Counter

import pytest

from tests.chaos.campaign import Campaign
from tests.chaos.facts import MINUTE
from tests.chaos.judge import Judge
from tests.chaos.plan import DELISTED_ALONE
from tests.chaos.victims import VICTIMS
from tests.system import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(3600)]

CANDLE_FIELDS = (
    *("open", "high", "low", "close", "volume", "quote_volume", "trade_count"),
    *("taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id"),
)
DIFFERS = " or ".join(f"c.{name} <> m.{name}" for name in CANDLE_FIELDS)
"""Where the exchange does not say the ids (by REST), they are null."""


def test_each_part_was_killed_more_than_once(campaign: Campaign) -> None:
    kills = Counter(kill.kind.removeprefix("kill of ") for kill in campaign.kills)
    assert set(kills) == set(VICTIMS)
    assert min(kills.values()) > 1, kills


def test_every_fault_came_about(campaign: Campaign) -> None:
    assert not campaign.failed()


def test_when_it_is_calm_again_all_is_settled_in_time(campaign: Campaign) -> None:
    assert not campaign.unsettled, f"{campaign.unsettled}\n{campaign.plan.how_to_repeat}"


def test_no_trade_is_lost(judge: Judge) -> None:
    judge.none(
        f"select symbol, time // {MINUTE} * {MINUTE} as moment, count(*) as trades, min(trade_id) as first_lost, "
        "max(trade_id) as last_lost from made_trades m join judged using (symbol) where trade_id >= first_id "
        "and not exists (from trades t where t.symbol = m.symbol and t.trade_id = m.trade_id) "
        "and not exists (from merged f where f.symbol = m.symbol and f.trade_id = m.trade_id) group by all"
    )


def test_no_trade_is_doubled(judge: Judge) -> None:
    judge.none(
        "select symbol, min(event_time) as moment, trade_id, count(*) as times from trades "
        "group by symbol, trade_id having count(*) > 1"
    )


def test_no_trade_is_invented(judge: Judge) -> None:
    judge.none(
        "select t.symbol, t.event_time as moment, t.trade_id, t.source from trades t join judged using (symbol) "
        "where t.event_time < until and t.trade_id >= first_id "
        "and not exists (from made_trades m where m.symbol = t.symbol and m.trade_id = t.trade_id)"
    )


def test_every_trade_has_the_price_quantity_and_time_that_it_was_made_with(judge: Judge) -> None:
    # A source in milliseconds cuts the microseconds off.
    judge.none("""
        select symbol, m.time as moment, trade_id, t.source, t.price, m.price as made_price, t.quantity, t.event_time
        from trades t join made_trades m using (symbol, trade_id)
        where t.price <> m.price or t.quantity <> m.quantity or t.is_buyer_maker <> m.is_buyer_maker
           or t.quote_quantity <> m.price::decimal(19, 8) * m.quantity::decimal(19, 8)
           or t.event_time not in (m.time, m.time // 1000 * 1000)""")


def test_no_candle_of_the_exchange_is_doubled_and_each_finished_one_is_the_one_that_was_made(judge: Judge) -> None:
    judge.none(
        "select symbol, min(open_time) as moment, source, count(*) as times from klines "
        "group by symbol, open_time, source having count(*) > 1"
    )
    judge.none(
        f"select symbol, c.open_time as moment, c.source, {', '.join(f'c.{name}' for name in CANDLE_FIELDS)} "
        f"from klines c join made_klines m using (symbol, open_time) where c.is_closed and ({DIFFERS})"
    )


def test_no_snapshot_or_ticker_is_doubled(judge: Judge) -> None:
    judge.none(
        "select symbol, min(received_at) as moment, update_id, count(*) as times from depth "
        "group by symbol, update_id, levels having count(*) > 1"
    )
    judge.none(
        "select symbol, event_time as moment, count(*) as times from tickers "
        "group by symbol, event_time having count(*) > 1"
    )


def test_what_could_not_be_parsed_is_a_dead_letter(judge: Judge, campaign: Campaign) -> None:
    judge.none(f"""
        select symbol, d.start as moment, d.kind from done d join judged using (symbol)
        where d.kind in ('broken_json', 'unknown_event', 'non_ascii') and d.was_felt
        and d.start < {campaign.mixed_from}
        and not exists (from dead_letters l where l.received_at between d.start - 1000000 and d.stop + 5000000)""")


# --- gaps


def test_every_trade_that_was_not_sent_is_on_record_as_a_gap(judge: Judge) -> None:
    judge.none("""
        select symbol, time as moment, trade_id from unsent u where not exists (
            from gaps g where g.symbol = u.symbol and g.gap_stream = 'trade'
            and u.trade_id between g.first_missing and g.last_missing)""")


def test_every_trade_that_came_by_rest_was_on_record_as_a_gap(judge: Judge) -> None:
    judge.none("""
        select t.symbol, t.event_time as moment, t.trade_id from trades t join judged using (symbol)
        where t.source = 'rest' and t.trade_id >= first_id and t.event_time < until and not exists (
            from gaps g where g.symbol = t.symbol and g.gap_stream = 'trade'
            and t.trade_id between g.first_missing and g.last_missing)""")


def test_every_finished_candle_that_was_not_sent_is_on_record_as_a_gap(judge: Judge) -> None:
    judge.none("""
        select symbol, minute as moment, trade_count from expected e where not is_kline_sent and not exists (
            from gaps g where g.symbol = e.symbol and g.gap_stream = 'kline_1m'
            and minute between g.first_missing and g.last_missing)""")


@pytest.mark.parametrize("stream", ["ticker", "depth5"])
def test_every_outage_is_on_record_as_lost_where_nobody_can_give_it_again(judge: Judge, stream: str) -> None:
    judge.none(f"""
        select symbol, l.start as moment, l.kind from losses l join judged using (symbol)
        where l.is_outage and l.start >= since and l.stop < until and not exists (
            from gaps g where g.symbol = l.symbol and g.gap_stream = '{stream}' and g.status = 'lost'
            and g.first_missing < l.stop and coalesce(g.last_missing, l.stop) > l.start)""")


def test_every_gap_that_can_be_repaired_is_repaired(judge: Judge) -> None:
    judge.none("""
        select g.symbol, g.event_time as moment, gap_stream, cause, status, first_missing, last_missing, missing, detail
        from gaps g join judged using (symbol)
        where g.event_time < until and gap_stream in ('trade', 'kline_1m') and status not in ('repaired', 'venue_gap')
        and not (gap_stream = 'trade' and repaired_from = 'agg_trades'
                 and exists (from merged f where f.symbol = g.symbol and f.trade_id = g.first_missing))
        and not (gap_stream = 'kline_1m' and exists (
            from done d where d.kind = 'halt' and d.symbol = g.symbol and g.first_missing between d.start and d.stop))
        """)


def test_no_gap_of_tickers_or_snapshots_says_that_it_was_repaired(judge: Judge) -> None:
    judge.none("""
        select g.symbol, g.event_time as moment, gap_stream, cause, status, detail
        from gaps g join judged using (symbol)
        where g.event_time < until and gap_stream in ('ticker', 'depth5') and status <> 'lost'""")


# --- labels


def test_a_minute_has_a_candle_exactly_where_something_was_traded(judge: Judge) -> None:
    judge.none(f"""
        with made as (
            select symbol, time // {MINUTE} * {MINUTE} as moment, count(*) as made
            from made_trades join judged using (symbol) where time >= since and time < until group by all
        ), candles as (
            select symbol, interval_start as moment, count(*) as candles
            from ohlcv_1m join judged using (symbol) where interval_start >= since and interval_start < until
            group by all
        )
        select * from made full join candles using (symbol, moment)
        where made is null or candles is null or candles <> 1""")


def test_no_minute_says_complete_or_repaired_that_differs_from_what_was_made(judge: Judge) -> None:
    judge.none(f"""
        select c.symbol, m.open_time as moment, c.status, c.proof, c.source, c.trade_count, m.trade_count as made_count
        from ohlcv_1m c join made_klines m on m.symbol = c.symbol and m.open_time = c.interval_start
        where c.status in ('complete', 'repaired') and ({DIFFERS})""")


def test_where_single_trades_were_refused_merged_fills_stand_in_and_the_minute_says_so(judge: Judge) -> None:
    """That they cover every trade is what `merged` means; without any, the campaign has shown nothing."""
    assert judge.facts.rows("from merged")
    judge.none(f"""
        select f.symbol, min(f.time) as moment, c.proof, c.status, count(*) as trades from merged f join ohlcv_1m c
        on c.symbol = f.symbol and c.interval_start = f.time // {MINUTE} * {MINUTE}
        where c.proof <> 'agg' or c.status <> 'repaired' group by all""")


def test_no_minute_says_trade_ids_that_lacks_a_trade(judge: Judge) -> None:
    judge.none(f"""
        select c.symbol, c.interval_start as moment, m.trade_id from ohlcv_1m c
        join made_trades m on m.symbol = c.symbol and m.time // {MINUTE} * {MINUTE} = c.interval_start
        where c.proof = 'trade_ids'
        and not exists (from trades t where t.symbol = m.symbol and t.trade_id = m.trade_id)""")


def test_every_minute_says_what_follows_from_what_was_done(judge: Judge) -> None:
    judge.none("""
        select e.symbol, e.minute as moment, c.status, e.statuses, c.source, e.sources, c.proof,
               e.proof as expected_proof
        from expected e join ohlcv_1m c on c.symbol = e.symbol and c.interval_start = e.minute
        where not list_contains(statuses, c.status) or not list_contains(sources, c.source) or c.proof <> e.proof""")


def test_a_minute_says_repaired_exactly_where_something_of_it_came_by_rest(judge: Judge) -> None:
    judge.none(f"""
        with by_rest as (select distinct symbol, event_time // {MINUTE} * {MINUTE} as minute
                         from trades where source = 'rest')
        select c.symbol, c.interval_start as moment, c.status, c.source, r.minute is not null as has_trades_by_rest
        from ohlcv_1m c join judged using (symbol)
        left join by_rest r on r.symbol = c.symbol and r.minute = c.interval_start
        where c.interval_start >= since and c.interval_start < until
        and (c.status = 'repaired') <> (r.minute is not null or c.source = 'rest')""")


# --- what takes longer than the calm


def test_what_the_exchange_lists_is_known_and_what_it_has_delisted_is_kept(campaign: Campaign) -> None:
    """It was asked after the last of these changes, for the streaming service was killed after it."""
    system = campaign.system
    listed = {row["symbol"]: row["status"] for row in system.simulator("/api/v3/exchangeInfo")["symbols"]}
    known = "select symbol, status, delisted_at is not null as is_gone from silver.instruments where valid_to is null"
    rows = wait_for("the instruments in silver", lambda: system.query(known), seconds=120, every=5)
    assert {row["symbol"] for row in rows if not row["is_gone"]} == set(listed)
    assert {row["symbol"]: row["status"] for row in rows if row["is_gone"]} == {DELISTED_ALONE: "DELISTED"}


def test_the_archive_of_the_day_gives_the_single_trades_that_were_refused(judge: Judge, campaign: Campaign) -> None:
    system, merged = campaign.system, judge.facts.rows("from merged")
    [symbol] = {trade["symbol"] for trade in merged}
    system.simulator("/faults", {"kind": "archive_now", "seconds": 600})
    system.launch("repair_from_archives", {}, {})
    ids = ", ".join(str(trade["trade_id"]) for trade in merged)
    waited_for = {
        "they are in bronze": f"""select count(*) = {len(merged)} as is_so from bronze.trades
                                  where symbol = '{symbol}' and source = 'archive' and trade_id in ({ids})""",
        "no hole waits for it": """select count(*) = 0 as is_so from bronze.gaps
                                   where status = 'open' and repaired_from = 'agg_trades'""",
        "the minutes are proven by trade ids": "select count(*) = 0 as is_so from silver.ohlcv_1m where proof = 'agg'",
    }
    for what, sql in waited_for.items():
        wait_for(what, lambda asked=sql: system.query(asked)[0]["is_so"], seconds=campaign.granted, every=5)
