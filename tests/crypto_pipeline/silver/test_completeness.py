"""What each minute says of itself, case by case; and whatever comes when, the same in the end as from scratch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random, randrange
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from crypto_pipeline.bronze import gaps, klines, trades
from crypto_pipeline.refresh import Refreshed, refresh
from crypto_pipeline.silver import absence, completeness, instruments, ohlcv_1m, order_book_1m, ticker_1m
from shared.tables import DECIMAL, Table
from tests.crypto_pipeline.memory_lake import MemoryLake

NOW = datetime(2026, 3, 5, 10, 8, 30)  # noqa: DTZ001 (as Spark gives times: naive, in UTC)
FIRST = datetime(2026, 3, 5, 10, 0)  # noqa: DTZ001
MINUTE = timedelta(minutes=1)
OVER_A_DAY = timedelta(hours=25)

BOOKS, TICKERS = order_book_1m.TABLE, ticker_1m.TABLE

Rows = list[tuple[Table, dict[str, Any]]]


@dataclass
class Case:
    """What is there of a symbol, as rows of tables, and what its third minute then says."""

    rows: Rows
    says: Mapping[str, Any]
    ago: timedelta = timedelta(0)
    """How long before the others it all was."""


def at(minute: float) -> datetime:
    return FIRST + minute * MINUTE


def micros(minute: float) -> int:
    return int(at(minute).replace(tzinfo=UTC).timestamp() * 1_000_000)


def candle(minute: int, first: int | None, last: int | None, **values: Any) -> Rows:
    count = last - first + 1 if first is not None and last is not None else values["trade_count"]
    row = {"interval_start": at(minute), "first_trade_id": first, "last_trade_id": last, "trade_count": count}
    row |= {"status": "complete", "proof": "trade_ids", "is_closed": True, "month": "2026-03"}
    return [(ohlcv_1m.TABLE, row | values)]


def tape(minute: int, *ids: int, source: str = "websocket") -> Rows:
    return [(trades.TABLE, {"trade_id": number, "event_time": at(minute + 0.5), "source": source}) for number in ids]


def kline(minute: int, count: int, first: int | None = None, source: str = "websocket") -> Rows:
    """Closed; of the WebSocket with ids, -1 where nothing traded."""
    said = first if count else -1
    last = None if said is None else (said + count - 1 if count else -1)
    row = {"interval": "1m", "open_time": at(minute), "source": source, "is_closed": True, "ordering": 1}
    row |= {column.name: Decimal(1) for column in klines.TABLE.columns if column.type == DECIMAL}
    if source != "websocket":
        said = last = None
    row |= {"trade_count": count, "first_trade_id": said, "last_trade_id": last, "month": "2026-03"}
    return [(klines.TABLE, row)]


def hole(first: int, last: int | None, since: float, seen: float, **values: Any) -> Rows:
    """Of trades: after minute `since`, last looked at in minute `seen`."""
    row = {"gap_stream": "trade", "first_missing": first, "last_missing": last, "event_time": at(since)}
    row |= {"updated_at": at(seen), "cause": "disconnect", "status": "open", "repaired_from": "", "detail": "why"}
    return [(gaps.TABLE, row | values)]


def kline_hole(minute: int, status: str) -> Rows:
    values = {"gap_stream": "kline_1m", "cause": "no_closed_kline", "status": status}
    return hole(micros(minute), micros(minute), minute, minute + 1, **values)


def word(status: str, start: float, end: float | None, **values: Any) -> Rows:
    """What the exchange said of the pair, from minute `start` on."""
    row = {"status": status, "valid_from": at(start), "valid_to": None if end is None else at(end)}
    return [(instruments.TABLE, row | values)]


def covered(table: Table, seconds: int, silence: int, minute: int = 2) -> Rows:
    return [(table, {"interval_start": at(minute), "seconds_covered": seconds, "longest_silence_ms": silence})]


def around(last: int, first: int) -> Rows:
    """The candles of the minutes before and after: the last trade of the one and the first of the other."""
    return [*candle(1, last, last), *candle(3, first, first)]


LISTED = word("TRADING", -90, None)
HALTED = [*word("TRADING", -90, 1), *word("HALT", 1, 5), *word("TRADING", 5, None)]
COMPLETE = {"status": "complete", "proof": "trade_ids"}
QUIET = COMPLETE | {"reason": "no_trades", "trades_expected": 0, "trades_received": 0, "trades_missing": 0}
UNKNOWN = {"proof": "none", "trades_expected": None, "trades_missing": None, "trades_received": 0}
OUTAGE = {"reason": "our_outage", "gap_cause": "disconnect", "evidence": "why"}
BY_KLINE = {"proof": "exchange_kline"}

CASES = {
    "a minute with all its trades is complete, and nothing is to be explained": Case(
        [*candle(2, 5, 7), *tape(2, 5, 6, 7), *kline(2, 3, 5)],
        COMPLETE
        | {"reason": None, "trades_expected": 3, "trades_received": 3, "trades_missing": 0, "trades_websocket": 3}
        | {"kline_source": "websocket", "gap_status": None},
    ),
    "without a kline the ids say how many are expected": Case(
        [*candle(2, 5, 7), *tape(2, 5, 6, 7)], COMPLETE | {"trades_expected": 3, "kline_source": None}
    ),
    "a kline of no trades proves that none was": Case(
        [*candle(1, 4, 4), *kline(2, 0)], QUIET | {"kline_source": "websocket"}
    ),
    "a kline of no trades that came by REST is a repair": Case(
        [*candle(1, 4, 4), *kline(2, 0, source="rest")], QUIET | {"status": "repaired", "kline_source": "rest"}
    ),
    "a kline of no trades of the archive was imported": Case(
        [*candle(1, 4, 4), *kline(2, 0, source="archive")], QUIET | {"kline_source": "archive"}
    ),
    "ids that follow each other across a minute prove that nothing traded": Case(
        around(5, 6), QUIET | {"kline_source": None}
    ),
    "ids that jump across a minute prove nothing": Case(around(5, 7), UNKNOWN | {"status": "pending", "reason": None}),
    "a day later a minute of which nothing is there is missing, and was not collected": Case(
        around(5, 7), UNKNOWN | {"status": "missing", "reason": "not_collected"}, OVER_A_DAY
    ),
    "a minute in which the exchange halted the pair is not expected": Case(
        [*candle(0, 5, 5), *HALTED],
        {"status": "not_expected", "proof": "none", "reason": "halt", "evidence": "HALT", "trades_expected": 0},
    ),
    "a halt across which the ids follow each other is proven": Case(
        [*candle(0, 5, 5), *HALTED, *candle(6, 6, 6)], QUIET | {"reason": "halt", "evidence": "HALT"}
    ),
    "a halt across which the ids jump is not believed": Case(
        [*candle(0, 5, 5), *HALTED, *candle(6, 7, 7)], UNKNOWN | {"status": "pending"}
    ),
    "a word that holds for a part of the minute explains nothing": Case(
        [*candle(0, 5, 5), *word("TRADING", -90, 2.5), *word("HALT", 2.5, None)], UNKNOWN | {"status": "pending"}
    ),
    "two words of which one follows the other explain the minute together": Case(
        [*candle(0, 5, 5), *word("TRADING", -90, 1), *word("HALT", 1, 2.5), *word("BREAK", 2.5, None)],
        {"status": "not_expected", "reason": "halt", "evidence": "BREAK"},
    ),
    "a minute after the pair was delisted is not expected": Case(
        [*candle(0, 5, 5), *word("TRADING", -90, 1, delisted_at=at(1)), *word("DELISTED", 1, None, delisted_at=at(1))],
        {"status": "not_expected", "reason": "not_listed", "evidence": "DELISTED"},
    ),
    "a break that turned out to be the end is not listed": Case(
        [*candle(0, 5, 5), *word("TRADING", -90, 1, delisted_at=at(1)), *word("BREAK", 1, None, delisted_at=at(1))],
        {"status": "not_expected", "reason": "not_listed", "evidence": "BREAK"},
    ),
    "a minute of which the exchange has no kline when asked is a halt": Case(
        [*candle(0, 5, 5), *LISTED, *kline_hole(2, "venue_gap")],
        {"status": "not_expected", "reason": "halt", "gap_status": "venue_gap", "evidence": "why"},
    ),
    "a kline that is asked for is an open hole": Case(
        [*candle(0, 5, 5), *kline_hole(2, "open")],
        UNKNOWN | {"status": "pending", "reason": "our_outage", "gap_cause": "no_closed_kline", "gap_status": "open"},
    ),
    "while a hole grows its minutes are our outage": Case(
        [*candle(1, 5, 5), *hole(6, None, 1.5, 1.6)], UNKNOWN | OUTAGE | {"status": "pending", "gap_status": "open"}
    ),
    "what came by REST after a hole is counted as such": Case(
        [
            *candle(2, 5, 7, status="repaired"),
            *tape(2, 5),
            *tape(2, 6, 7, source="rest"),
            *kline(2, 3, 5),
            *hole(6, 7, 2.1, 2.9, status="repaired", repaired_from="rest"),
        ],
        OUTAGE
        | {"status": "repaired", "proof": "trade_ids", "gap_status": "repaired", "gap_repaired_from": "rest"}
        | {"trades_websocket": 1, "trades_rest": 2, "trades_received": 3, "trades_missing": 0},
    ),
    "what the archive filled a day later is counted as such": Case(
        [
            *candle(2, 5, 7, status="repaired"),
            *tape(2, 5),
            *tape(2, 6, 7, source="archive"),
            *hole(6, 7, 2.1, 1500, status="repaired", repaired_from="archive"),
        ],
        OUTAGE | {"status": "repaired", "trades_archive": 2, "trades_rest": 0, "gap_repaired_from": "archive"},
        OVER_A_DAY,
    ),
    "what merged fills account for is neither received nor missing": Case(
        [
            *candle(2, 5, 7, status="repaired", proof="agg"),
            *tape(2, 5),
            *hole(6, 7, 2.1, 2.9, repaired_from="agg_trades"),
        ],
        OUTAGE | {"proof": "agg", "trades_expected": 3, "trades_received": 1, "trades_merged": 2, "trades_missing": 0},
    ),
    "a candle that rests on the kline alone says how many trades are missing, and why": Case(
        [*candle(2, 5, 7, proof="exchange_kline"), *tape(2, 5, 7), *kline(2, 3, 5), *hole(6, 6, 2.5, 2.6)],
        OUTAGE | BY_KLINE | {"status": "complete", "trades_expected": 3, "trades_received": 2, "trades_missing": 1},
    ),
    "of imported klines nobody asked for the trades": Case(
        [*candle(2, None, None, trade_count=3, proof="exchange_kline"), *kline(2, 3, source="archive")],
        BY_KLINE | {"status": "complete", "reason": "not_collected", "trades_missing": 3, "kline_source": "archive"},
    ),
    "what was only late leaves a minute complete, with the hole beside it": Case(
        [
            *candle(2, 5, 7),
            *tape(2, 5, 6, 7),
            *hole(6, 6, 2.1, 2.2, status="repaired", repaired_from="websocket", cause="id_jump"),
        ],
        COMPLETE | {"reason": None, "gap_status": "repaired", "gap_repaired_from": "websocket"},
    ),
    "ids that the exchange never issued are a venue gap with its evidence": Case(
        [
            *candle(2, 5, 7, trade_count=2),
            *tape(2, 5, 7),
            *kline(2, 2, 5),
            *hole(6, 6, 2.1, 2.2, status="venue_gap", detail="asked twice"),
        ],
        COMPLETE
        | {"reason": "venue_gap", "evidence": "asked twice", "gap_status": "venue_gap"}
        | {"trades_expected": 2, "trades_missing": 0},
    ),
    "a partial candle after a hole that nobody can fill is our outage": Case(
        [*candle(2, 5, 7, status="partial", proof="none"), *tape(2, 5, 7), *hole(8, None, 2.5, 2.9, status="lost")],
        OUTAGE | {"status": "partial", "proof": "none", "gap_status": "lost", "trades_missing": None},
        OVER_A_DAY,
    ),
    "a partial candle of which nothing is on record was not collected": Case(
        [*candle(2, 5, 7, status="partial", proof="none"), *tape(2, 5, 7)],
        {"status": "partial", "reason": "not_collected", "trades_expected": None, "trades_received": 2},
        OVER_A_DAY,
    ),
    "what Kafka dropped is expired": Case(
        [
            *candle(2, 5, 7, status="partial", proof="none"),
            *tape(2, 5, 7),
            *hole(100, 900, 1, 4, exchange="kafka", cause="offsets_expired", status="lost"),
        ],
        {"status": "partial", "reason": "expired", "gap_cause": "offsets_expired", "evidence": "why"},
        OVER_A_DAY,
    ),
    "what Kafka dropped of one topic for all may have been of any symbol": Case(
        [
            *candle(2, 5, 7, status="partial", proof="none"),
            *tape(2, 5, 7),
            *hole(100, 900, 1, 4, exchange="kafka", symbol="crypto_raw[0]", cause="offsets_expired", status="lost"),
        ],
        {"status": "partial", "reason": "expired"},
        2 * OVER_A_DAY,
    ),
    "what Kafka dropped explains nothing of a minute that is whole": Case(
        [
            *candle(2, 5, 7),
            *tape(2, 5, 6, 7),
            *hole(100, 900, 1, 4, exchange="kafka", cause="offsets_expired", status="lost"),
        ],
        COMPLETE | {"reason": None, "gap_cause": None},
    ),
    "a candle that nothing proves yet is pending": Case(
        [*candle(2, 5, 7, status="pending", proof="none"), *tape(2, 5, 7)],
        {"status": "pending", "proof": "none", "reason": None, "trades_received": 2},
    ),
    "a candle that is not closed yet is pending": Case(
        [*candle(2, 5, 7, is_closed=False), *tape(2, 5, 6, 7)], {"status": "pending", "proof": "none"}
    ),
    "trades without a candle yet are pending": Case(
        [*candle(1, 4, 4), *tape(2, 5, 6)], {"status": "pending", "proof": "none", "trades_received": 2}
    ),
    "a kline without a candle yet is pending": Case(
        [*candle(1, 4, 4), *kline(2, 3, 5)], {"status": "pending", "proof": "none", "trades_missing": 3}
    ),
    "a hole whose ids lie in another minute does not concern this one": Case(
        [*candle(2, 5, 7), *tape(2, 5, 6, 7), *hole(20, 30, 1.5, 3.5)], COMPLETE | {"gap_status": None}
    ),
    "a minute that the kline says was quiet stays so in an outage": Case(
        [*candle(1, 5, 5), *kline(2, 0, source="rest"), *hole(6, None, 1.5, 1.6)], QUIET | {"status": "repaired"}
    ),
    "a hole explains nothing a week after its begin": Case(
        [*candle(1, 5, 5), *hole(6, None, -8 * 1440, -8 * 1440)], UNKNOWN | {"status": "pending", "reason": None}
    ),
    "of the order book and the ticker it says how far they are known": Case(
        [*candle(1, 4, 4), *covered(BOOKS, 57, 1200), *covered(TICKERS, 60, 1000)],
        {"depth_seconds": 57, "depth_longest_silence_ms": 1200}
        | {"ticker_seconds": 60, "ticker_longest_silence_ms": 1000},
    ),
    "where no order book and no ticker came all the minute is silence": Case(
        [*candle(1, 4, 4)],
        {"depth_seconds": 0, "depth_longest_silence_ms": 60_000}
        | {"ticker_seconds": 0, "ticker_longest_silence_ms": 60_000},
    ),
}


def put(lake: MemoryLake, rows: Rows, symbol: str, ago: timedelta = timedelta(0)) -> None:
    """Bring rows into the lake, of a symbol and so long before."""
    by_table: dict[str, tuple[Table, list[dict[str, Any]]]] = {}
    for table, values in rows:
        row = {"exchange": "binance", "symbol": symbol, "base_asset": "BTC", "quote_asset": "USDT"} | values
        row |= {name: value - ago for name, value in row.items() if isinstance(value, datetime)}
        if row.get("gap_stream") == "kline_1m":
            row |= {name: row[name] - ago // timedelta(microseconds=1) for name in ("first_missing", "last_missing")}
        moment = row.get(table.time or "")
        if isinstance(moment, datetime):
            row |= {"date": f"{moment:%Y-%m-%d}", "hour": f"{moment:%H}", "month": f"{moment:%Y-%m}"}
        by_table.setdefault(table.full_name, (table, []))[1].append(row)
    for table, values_of in by_table.values():
        lake.put(table, values_of)


def follow(lake: MemoryLake, now: datetime, **options: Any) -> Refreshed:
    """A run at a time."""
    lake.set_clock(now.replace(tzinfo=UTC))
    return refresh(lake, completeness, now.replace(tzinfo=UTC), **options)


def of(lake: MemoryLake, symbol: str) -> dict[datetime, Row]:
    """The rows of a symbol by minute."""
    return {row.interval_start: row for row in lake.rows(completeness.TABLE) if row.symbol == symbol}


def gapless(minutes: Mapping[datetime, Row]) -> bool:
    starts = sorted(minutes)
    return all(after - before == MINUTE for before, after in pairwise(starts))


@pytest.fixture(scope="module")
def judged(spark: SparkSession) -> MemoryLake:
    """All cases, each as a symbol, after one run."""
    lake = MemoryLake(spark)
    for number, case in enumerate(CASES.values()):
        put(lake, case.rows, f"CASE{number}", case.ago)
    done = follow(lake, NOW)
    assert done.is_sound, done
    return lake


@pytest.mark.parametrize("name", CASES)
def test_it_says(name: str, judged: MemoryLake) -> None:
    case = CASES[name]
    rows = of(judged, f"CASE{list(CASES).index(name)}")
    row = rows[at(2) - case.ago].asDict()
    assert {column: row[column] for column in case.says} == dict(case.says)
    assert gapless(rows)
    assert max(rows) == datetime(2026, 3, 5, 10, 7)  # noqa: DTZ001


def test_a_run_after_which_nothing_changed_writes_nothing(judged: MemoryLake) -> None:
    assert follow(judged, NOW).rows == 0
    assert follow(judged, NOW, from_scratch=True).rows == 0


def test_a_late_trade_changes_its_own_minute_and_nothing_else(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    said = {"status": "complete", "proof": "exchange_kline"}
    for minute in range(1, 7):
        first = 10 * minute
        put(lake, [*candle(minute, first, first + 2, **said), *kline(minute, 3, first), *tape(minute, first)], "S")
    assert follow(lake, NOW).rows == 7
    put(lake, tape(3, 31), "S")
    assert follow(lake, NOW).rows == 1
    row = of(lake, "S")[at(3)]
    assert (row.trades_received, row.trades_missing, row.status) == (2, 1, "complete")


def test_trades_that_came_before_their_minute_was_over_are_counted(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    put(lake, [*candle(7, 1, 1), *tape(8, 2, 3)], "S")
    put(lake, tape(8, 5, 6), "NEW")
    follow(lake, NOW)
    assert list(of(lake, "S")) == [at(7)]
    assert not of(lake, "NEW")
    put(lake, candle(8, 5, 6), "NEW")
    follow(lake, NOW + 5 * MINUTE)
    for symbol in ("S", "NEW"):
        assert of(lake, symbol)[at(8)].trades_received == 2, symbol


def test_older_history_is_joined_to_what_is_there_without_a_gap(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    put(lake, candle(5, 50, 50), "S")
    follow(lake, NOW)
    put(lake, [*candle(-4000, 1, 1), *candle(-3000, 2, 2)], "S")
    follow(lake, NOW)
    put(lake, candle(-5000, 0, 0), "S")
    follow(lake, NOW + 5 * MINUTE)
    rows = of(lake, "S")
    assert gapless(rows)
    assert (min(rows), max(rows)) == (at(-5000), at(12))
    assert rows[at(12)].first_minute == at(-5000)


def test_a_time_before_any_exchange_begins_no_series(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    zero = datetime(1970, 1, 1)  # noqa: DTZ001
    put(lake, [*candle(5, 50, 50), (trades.TABLE, {"trade_id": 1, "event_time": zero, "source": "archive"})], "S")
    follow(lake, NOW)
    assert min(of(lake, "S")) == at(5)


def test_a_minute_is_pending_for_a_day_and_then_missing_though_nothing_more_comes(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    put(lake, candle(5, 50, 50), "S")
    follow(lake, NOW)
    assert of(lake, "S")[at(6)].status == "pending"
    for hours, status in ((23, "pending"), (24, "missing")):
        follow(lake, NOW + timedelta(hours=hours))
        assert of(lake, "S")[at(6)].status == status


def test_what_the_exchange_says_later_is_believed_of_the_minutes_before(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    put(lake, [*candle(1, 5, 5), *LISTED], "S")
    follow(lake, NOW)
    assert of(lake, "S")[at(6)].status == "pending"
    put(lake, [*word("TRADING", -90, 2), *word("HALT", 2, None)], "S")
    follow(lake, NOW)
    assert of(lake, "S")[at(6)].reason == "halt"
    put(lake, [*word("HALT", 2, 5), *word("TRADING", 5, None)], "S")
    follow(lake, NOW)
    assert {row.reason for start, row in of(lake, "S").items() if start >= at(5)} == {None}
    assert of(lake, "S")[at(4)].reason == "halt"


STEPS = (12, 25, 40, 100, 280)
"""When the table is followed, in minutes; by then a minute of the first is past all hope."""
HOPE, AROUND, REACH = timedelta(hours=2), timedelta(hours=1), timedelta(hours=3)
SYMBOLS = 24
"""So many histories a run: a run's cost is Spark's, whatever it is over."""


@dataclass
class World:
    """What happened to a symbol, and what came of it by each step."""

    traded: dict[int, list[int]] = field(default_factory=dict)
    """The ids of the trades by minute."""
    batches: list[Rows] = field(default_factory=lambda: [[] for _ in STEPS])

    def on_time(self, minute: int) -> int:
        return next(number for number, end in enumerate(STEPS) if end > minute)

    def add(self, step: int, rows: Rows) -> None:
        self.batches[step] += rows


def world(random: Random) -> World:
    """Quiet stretches, halts, trades and klines that come late or never, holes that are told and settled, and older
    history that comes at last.
    """
    made, number = World(), random.randint(0, 5)
    begin = random.choice((0, 0, 7, -200))
    minute, busy = begin, random.choice((0.95, 0.5, 0.1))
    while minute < 120:
        if random.random() < 0.03:
            minute += halted(made, minute, random)
        count = random.randint(1, 4) if random.random() < busy else 0
        made.traded[minute] = list(range(number, number + count))
        number += count + (random.random() < 0.02)
        minute += random.choice((1, 1, 1, 1, 1, 1, 30)) if count == 0 else 1
    first_step = len(STEPS) - 2 if begin < 0 else 0
    for start, ids in made.traded.items():
        told(made, start, ids, max(made.on_time(start), first_step if start < 0 else 0), random)
    return made


def halted(made: World, minute: int, random: Random) -> int:
    """A halt of some minutes, of which the exchange's word comes at the next step, or never."""
    length = random.choice((2, 9, 70))
    step = made.on_time(minute)
    if random.random() < 0.7:
        made.add(step, [*word("TRADING", -500, minute), *word("HALT", minute, None)])
        after = made.on_time(min(minute + length, STEPS[-1] - 1))
        made.add(after, [*word("HALT", minute, minute + length), *word("TRADING", minute + length, None)])
    if random.random() < 0.3:
        made.add(step, kline_hole(minute, random.choice(("open", "venue_gap"))))
    return length


def told(made: World, minute: int, ids: list[int], step: int, random: Random) -> None:
    """What comes of a minute, and when."""
    later = random.randint(step, len(STEPS) - 1)
    lost = [one for one in ids if random.random() < random.choice((0, 0, 0.5))]
    came = [one for one in ids if one not in lost]
    made.add(step, own(minute, came, "websocket"))
    if lost and random.random() < 0.7:
        made.add(later, own(minute, lost[: random.randint(1, len(lost))], random.choice(("rest", "archive"))))
    if lost and random.random() < 0.8:
        last = random.choice((None, lost[-1], lost[-1]))
        made.add(step, hole(lost[0], last, minute, minute + 1))
        end = {"status": random.choice(("open", "repaired", "lost")), "repaired_from": "rest"}
        made.add(later, hole(lost[0], lost[-1], minute, STEPS[later], **end))
    if random.random() < 0.6:
        made.add(step, counted(minute, ids, "websocket"))
    elif random.random() < 0.4:
        made.add(later, counted(minute, ids, random.choice(("rest", "archive"))))
    if random.random() < 0.1:
        made.add(random.randint(step, later), kline_hole(minute, random.choice(("open", "repaired"))))
    if random.random() < 0.3:
        made.add(later, covered(TICKERS, 9, 9, minute))
    if random.random() < 0.01:
        made.add(later, hole(1, 9, minute, minute + 9, exchange="kafka", cause="offsets_expired", status="lost"))


def own(minute: int, ids: list[int], source: str) -> Rows:
    one = dict.fromkeys(("price", "quantity", "quote_quantity"), Decimal(1)) | {"is_buyer_maker": False}
    return [(table, row | one) for table, row in tape(minute, *ids, source=source)]


def counted(minute: int, ids: list[int], source: str) -> Rows:
    return kline(minute, len(ids), ids[0] if ids else None, source)


def test_whatever_comes_when_the_table_is_as_from_scratch_and_never_says_complete_falsely(
    spark: SparkSession,
) -> None:
    seed = randrange(2**32)  # another each time; pytest shows it where the test fails, so that it can be repeated
    print(f"{seed = }")
    random = Random(seed)
    worlds = {f"W{number:02}": world(random) for number in range(SYMBOLS)}
    lake = MemoryLake(spark)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ohlcv_1m, "HOPE", HOPE)
        patched.setattr(completeness, "_AROUND", AROUND)
        patched.setattr(absence, "REACH", REACH)
        for step, end in enumerate(STEPS):
            for symbol, made in worlds.items():
                put(lake, made.batches[step], symbol)
            now = at(end + 0.1)
            lake.set_clock(now.replace(tzinfo=UTC))
            assert refresh(lake, ohlcv_1m, now.replace(tzinfo=UTC)).is_sound
            assert follow(lake, now).is_sound
            for symbol, made in worlds.items():
                never_falsely(of(lake, symbol), made)
        again = MemoryLake(spark)
        again.like(lake, completeness.SOURCES)
        follow(again, at(STEPS[-1] + 0.1), from_scratch=True)
    for symbol in worlds:
        minutes = of(lake, symbol)
        assert gapless(minutes)
        assert not minutes or max(minutes) == at(STEPS[-1] - 1)
        assert {start: said(row) for start, row in minutes.items()} == {
            start: said(row) for start, row in of(again, symbol).items()
        }, symbol


def said(row: Row) -> dict[str, Any]:
    """All that a row says of its minute."""
    return {name: value for name, value in row.asDict().items() if name not in ("first_minute", "ingestion_ts")}


def never_falsely(minutes: Mapping[datetime, Row], made: World) -> None:
    """What is complete is so in truth."""
    for start, row in minutes.items():
        ids = made.traded.get((start - FIRST) // MINUTE, [])
        if row.proof == "trade_ids":
            assert (row.trades_received, row.trades_missing) == (len(ids), 0), (row, ids)
        if row.reason in ("no_trades", "halt") or row.status == "not_expected":
            assert not ids, (row, ids)
        if row.status in ("complete", "repaired"):
            assert row.proof == "trade_ids" or row.kline_source, row
