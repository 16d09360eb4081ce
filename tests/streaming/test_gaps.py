"""What is missing is told, exactly, at once, and never twice; against any order, loss and repetition."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.events import Gap, GapCause, Kline, Trade
from shared.symbol_manager import Symbol
from streaming.gaps import LINGER, Gaps, SeriesKey
from streaming.seams import Lost
from streaming.series import MINUTE, Watermark, missing_range
from tests.events import START, depth_event, kline_event, ticker_event, trade_event

BTC = Symbol(symbol="BTCUSDT", name="Bitcoin")
SECOND = 1_000_000
TRADES: SeriesKey = ("binance", "BTCUSDT", "trade")


class Told:
    """The tracker, and the last row of each gap that it told."""

    def __init__(self, marks: dict[SeriesKey, Watermark] | None = None, gaps: Iterable[Gap] = ()) -> None:
        self.rows: dict[tuple[str, int], Gap] = {}
        self.history: list[Gap] = []
        self.gaps = Gaps({"binance"}, marks or {}, gaps)
        self.note(gaps)
        self.note(self.gaps.follow([BTC], START))

    def note(self, rows: Iterable[Gap]) -> list[Gap]:
        rows = list(rows)
        for row in rows:
            key = (row.gap_stream, row.first_missing)
            before = self.rows.get(key)
            if before is not None:
                assert row.event_time == before.event_time
                assert row.updated_at > before.updated_at or row == before
            self.rows[key] = row
            self.history.append(row)
        return rows

    def see(self, *ids: int, source: str = "websocket", at: int = START) -> list[Gap]:
        return [row for number in ids for row in self.note(self.gaps.saw(trade_event(number, source, at)))]

    def tick(self, now: int = START) -> list[Gap]:
        return self.note(self.gaps.tick(now))

    def hear(self, kline: Kline) -> list[Gap]:
        """A kline, and the tick that follows."""
        assert kline.received_at is not None
        return [*self.note(self.gaps.saw(kline)), *self.tick(kline.received_at)]

    def cut(self, *streams: str, at: int = START, cause: GapCause = "disconnect") -> list[Gap]:
        return self.note(self.gaps.outage("binance", [(BTC, s) for s in streams], at, "the socket broke", cause))

    def back(self, *streams: str, at: int = START) -> list[Gap]:
        return self.note(self.gaps.restored("binance", [(BTC, s) for s in streams], at))

    def missing(self, stream: str = "trade") -> list[int]:
        """What the open rows say."""
        step = MINUTE if stream == "kline_1m" else 1
        found: list[int] = []
        for row in self.rows.values():
            if row.gap_stream == stream and row.status == "open" and row.last_missing is not None:
                low, high = missing_range(row)
                assert low >= row.first_missing
                found += range(low, high + step, step)
        return sorted(found)


# --- trades


def test_contiguous_trades_and_repetitions_tell_nothing() -> None:
    told = Told()
    assert told.see(5, 6, 7, 6, 7, 5, 8) == []
    assert told.tick() == []


def test_a_jump_is_a_gap_at_once() -> None:
    told = Told()
    [row] = told.see(5, 9)
    assert (row.gap_stream, row.first_missing, row.last_missing, row.missing) == ("trade", 6, 8, 3)
    assert (row.cause, row.status, row.repaired_from) == ("id_jump", "open", "")
    assert row.event_time == START + 5
    assert (row.base_asset, row.quote_asset, row.source, row.connection_id) == ("BTC", "USDT", "websocket", "c1")


def test_late_trades_that_fill_a_hole_repair_it() -> None:
    told = Told()
    assert len(told.see(5, 9, 8, 6)) == 1
    [row] = told.see(7)
    assert (row.first_missing, row.status, row.missing, row.repaired_from) == (6, "repaired", 0, "websocket")


def test_a_hole_filled_in_its_middle_is_two() -> None:
    told = Told()
    told.see(5, 11, 8)
    assert len(told.tick()) == 2
    assert [(row.first_missing, row.last_missing, row.missing) for row in told.rows.values()] == [
        (6, 7, 2), (8, 10, 2),
    ]  # fmt: skip
    assert [row.event_time for row in told.rows.values()] == [START + 5, START + 8]


def test_an_enormous_jump_is_one_gap() -> None:
    told = Told()
    [row] = told.see(5, 10**9)
    assert row.missing == 10**9 - 6


def test_an_exchange_that_counts_anew_is_followed_from_there() -> None:
    told = Told()
    [lost] = told.see(10**9, 1, 2, 3, 4)
    assert (lost.first_missing, lost.last_missing, lost.status) == (10**9 + 1, None, "lost")
    [row] = told.see(7)
    assert (row.first_missing, row.last_missing) == (5, 6)


def test_low_ids_that_begin_anew_are_known_by_their_time() -> None:
    told = Told()
    told.see(3_000_002)
    later = START + 3_000_002 + 6 * SECOND
    [lost] = told.see(0, 1, 2, 3, 4, at=later)
    assert (lost.first_missing, lost.status, lost.event_time) == (3_000_003, "lost", START + 3_000_002)
    assert "counts its trades anew" in lost.detail
    [row] = told.see(50, at=later)
    assert (row.first_missing, row.last_missing) == (5, 49)


def test_an_interruption_in_which_the_ids_began_anew_is_lost() -> None:
    told = Told()
    told.see(3_000_002)
    told.cut("trade")
    told.back("trade")
    [row] = told.see(0, 1, 2, at=START + 3_000_002 + 6 * SECOND)
    assert (row.first_missing, row.cause, row.status) == (3_000_003, "disconnect", "lost")


def test_late_repeated_and_fetched_trades_are_no_new_count() -> None:
    told = Told()
    told.see(*range(100, 120))
    assert told.see(*range(100, 119), at=START - SECOND) == []  # they are older than the newest
    assert told.see(*range(100, 119), at=START + 3 * SECOND) == []  # times in disorder
    assert told.see(*range(100, 119), source="rest", at=START + 60 * SECOND) == []
    assert told.see(101, 102, 102, 101, 102, 101, at=START + 60 * SECOND) == []
    told.see(130)
    told.see(*range(120, 130), at=START + 60 * SECOND)  # these were missing
    assert [row.status for row in told.rows.values()] == ["repaired"]
    assert told.see(131, 132) == []


def test_one_stray_old_id_is_no_new_count() -> None:
    told = Told()
    assert told.see(10**9, 1, 10**9 + 1, 2, 10**9 + 2, 3, 10**9 + 3) == []


def test_an_interruption_is_a_gap_at_once_and_ends_with_the_next_trade() -> None:
    told = Told()
    told.see(5)
    [row] = told.cut("trade", at=START + SECOND)
    assert (row.first_missing, row.last_missing, row.missing, row.cause) == (6, None, None, "disconnect")
    assert "the socket broke" in row.detail
    assert not told.gaps.is_covered(row)
    assert told.back("trade", at=START + 2 * SECOND) == []
    assert told.gaps.is_covered(row)
    [row] = told.see(9)
    assert (row.first_missing, row.last_missing, row.missing, row.cause) == (6, 8, 3, "disconnect")


def test_the_last_trades_by_rest_leave_the_interruption_open_and_stay_on_record() -> None:
    """Where the exchange refuses trades by id, only its last thousand can be had: before the stream is back, too."""
    told = Told()
    told.see(5)
    told.cut("trade")
    hole, still = told.see(8, source="rest")
    assert (hole.first_missing, hole.last_missing, hole.missing) == (6, 7, 2)
    assert (still.first_missing, still.last_missing, still.status) == (8, None, "open")
    told.see(9, source="rest")
    told.back("trade")
    [end] = told.see(10)
    assert (end.first_missing, end.last_missing, end.status, end.repaired_from) == (8, 9, "repaired", "rest")


def test_an_interruption_that_begins_again_in_the_same_moment_is_told_later_than_the_end_of_the_first() -> None:
    """Else the table and the ledger keep the first, in which nothing was traded, and forget the second."""
    told = Told()
    told.see(5)
    [first] = told.cut("trade")
    told.back("trade")
    [ended] = told.note(told.gaps.settle(replace(first, status="repaired"), ""))
    [again] = told.cut("trade", cause="silence")
    assert (ended.first_missing, ended.status, ended.missing) == (6, "repaired", 0)
    assert (again.first_missing, again.status, again.last_missing) == (6, "open", None)
    assert again.updated_at > ended.updated_at


def test_an_interruption_in_which_nothing_was_traded_is_repaired_by_the_next_trade() -> None:
    told = Told()
    told.see(5)
    told.cut("trade")
    told.back("trade")
    [row] = told.see(6)
    assert (row.status, row.missing, row.first_missing) == ("repaired", 0, 6)
    assert "nothing was traded" in row.detail
    assert told.see(7, 8) == []


def test_rest_can_say_that_nothing_was_traded() -> None:
    told = Told()
    told.see(5)
    [gap] = told.cut("trade")
    verdict = replace(gap, status="repaired")
    assert told.gaps.settle(verdict, "") == []  # not while it lasts
    told.back("trade")
    [row] = told.note(told.gaps.settle(verdict, ""))
    assert (row.status, row.missing, row.repaired_from) == ("repaired", 0, "rest")
    assert told.see(6, 7) == []


def test_an_answer_from_before_a_second_interruption_says_nothing_of_it() -> None:
    told = Told()
    told.see(5)
    [gap] = told.cut("trade")
    told.back("trade")
    told.cut("trade", at=START + SECOND)
    told.back("trade", at=START + SECOND)
    assert told.gaps.settle(replace(gap, status="repaired"), "") == []


def test_what_rest_brought_after_a_quiet_interruption_ends_the_gap() -> None:
    told = Told()
    told.see(5)
    [gap] = told.cut("trade")
    told.back("trade")
    assert told.see(6, 7, 8, source="rest") == []
    [row] = told.note(told.gaps.settle(replace(gap, status="repaired"), ""))
    assert (row.first_missing, row.last_missing, row.missing, row.repaired_from) == (6, 8, 0, "rest")
    assert told.see(9, 10) == []


def test_a_silent_stream_gives_its_cause() -> None:
    told = Told()
    told.see(5)
    told.cut("trade", cause="silence")
    [row] = told.see(8)
    assert row.cause == "silence"


def test_trades_from_rest_repair() -> None:
    told = Told()
    [gap] = told.see(5, 9)
    told.see(6, 7, source="rest")
    [row] = told.note(told.gaps.settle(gap, ""))
    assert (row.first_missing, row.last_missing, row.missing, row.status) == (6, 8, 1, "open")
    [row] = told.see(8, source="rest")
    assert (row.status, row.repaired_from) == ("repaired", "rest")


def test_ids_that_were_never_issued_are_cut_out_of_a_hole() -> None:
    told = Told()
    [gap] = told.see(5, 20)
    verdict = replace(gap, first_missing=10, last_missing=12, missing=3, status="venue_gap")
    rows = told.note(told.gaps.settle(verdict, "never issued."))
    settled, before, after = sorted(rows, key=lambda row: (row.status == "open", row.first_missing))
    assert (settled.first_missing, settled.last_missing, settled.missing) == (10, 12, 3)
    assert (settled.status, settled.detail) == ("venue_gap", "never issued.")
    assert missing_range(before) == (6, 9)
    assert missing_range(after) == (13, 19)
    assert told.missing() == [6, 7, 8, 9, *range(13, 20)]


def test_what_came_of_a_hole_stays_on_record_when_the_rest_was_never_issued() -> None:
    told = Told()
    [gap] = told.see(5, 20)
    told.see(*range(6, 10), *range(13, 20), source="rest")
    told.tick()
    told.note(told.gaps.settle(replace(gap, first_missing=10, last_missing=12, missing=3, status="venue_gap"), "none."))
    ranges = sorted((row.first_missing, row.last_missing or 0, row.status) for row in told.rows.values())
    assert ranges == [(6, 12, "venue_gap"), (13, 19, "repaired")]


def test_what_the_spool_has_lost_is_missing_again_but_for_what_is_missing_anyway() -> None:
    told = Told()
    told.see(1, 2, 3, 6, 7, 8)
    rows = told.note(told.gaps.lost(Lost("binance", "BTCUSDT", "BTC", "USDT", "trade", 3, 7, START + 2)))
    assert [(row.first_missing, row.last_missing, row.cause, row.status) for row in rows] == [
        (3, 3, "spool_damaged", "open"), (6, 7, "spool_damaged", "open"),
    ]  # fmt: skip
    assert told.missing() == [3, 4, 5, 6, 7]
    told.see(3, 4, 5, 6, 7, source="rest")
    told.tick()
    assert told.missing() == []
    assert {row.status for row in told.rows.values()} == {"repaired"}
    assert told.see(9) == []


def test_what_the_spool_has_lost_up_to_the_newest_is_missing() -> None:
    told = Told()
    told.see(*range(1, 9))
    told.note(told.gaps.lost(Lost("binance", "BTCUSDT", "BTC", "USDT", "trade", 7, None, START)))
    assert told.missing() == [7, 8]
    assert told.gaps.lost(Lost("binance", "BTCUSDT", "BTC", "USDT", "trade", 9, None, START)) == []


def test_what_the_spool_has_lost_of_a_symbol_that_nobody_wants_any_more_is_missing_and_can_be_repaired() -> None:
    told = Told()
    lost = Lost("binance", "ETHUSDT", "ETH", "USDT", "trade", 3, 4, START)
    assert [(row.symbol, row.status) for row in told.gaps.lost(lost)] == [("ETHUSDT", "open")]
    for number in (3, 4):
        rows = told.gaps.saw(replace(trade_event(number, "rest"), symbol="ETHUSDT"))
    assert [row.status for row in rows] == ["repaired"]
    assert told.gaps.lost(lost._replace(exchange="another")) == [], "whose ids may have holes"


def test_closed_klines_that_the_spool_has_lost_are_missing() -> None:
    told = Told()
    for minute in range(4):
        told.note(told.gaps.saw(kline_event(START + minute * MINUTE)))
    first = START + MINUTE
    rows = told.note(told.gaps.lost(Lost("binance", "BTCUSDT", "BTC", "USDT", "kline_1m", first, first + MINUTE, 1)))
    assert [(row.event_time, row.missing, row.cause) for row in rows] == [(first, 2, "spool_damaged")]
    assert told.missing("kline_1m") == [first, first + MINUTE]
    told.note(told.gaps.saw(kline_event(first, source="rest")))
    told.note(told.gaps.saw(kline_event(first + MINUTE, source="rest")))
    assert told.missing("kline_1m") == []
    told.tick(START + 10 * MINUTE)
    last = Lost("binance", "BTCUSDT", "BTC", "USDT", "kline_1m", START + 3 * MINUTE, None, 1)
    assert [row.first_missing for row in told.gaps.lost(last)] == [START + 3 * MINUTE]


def test_a_hole_that_merged_fills_cover_is_left_to_the_archive() -> None:
    told = Told()
    [gap] = told.see(5, 9)
    [row] = told.note(told.gaps.settle(replace(gap, repaired_from="agg_trades"), "waits."))
    assert (row.status, row.repaired_from, row.missing, row.detail) == ("open", "agg_trades", 3, "waits.")
    assert len(told.gaps) == 0


def test_what_happened_while_the_service_was_down_is_a_gap() -> None:
    told = Told({TRADES: Watermark(100, START - 7)})
    [row] = told.rows.values()
    assert (row.first_missing, row.last_missing, row.cause) == (101, None, "service_stopped")
    assert row.event_time == START - 7
    [row] = told.see(151)
    assert (row.first_missing, row.last_missing, row.missing, row.cause) == (101, 150, 50, "service_stopped")


def test_a_symbol_that_a_selector_chooses_after_the_start_has_its_past() -> None:
    gaps = Gaps({"binance"}, {TRADES: Watermark(100, START - 7)}, [])
    assert gaps.follow([], START) == []
    gaps.tick(START + SECOND)
    gaps.tick(START + 2 * LINGER)  # nobody could say what is listed: REST was banned
    [row] = gaps.follow([BTC], START + 2 * LINGER + SECOND)
    assert (row.first_missing, row.cause) == (101, "service_stopped")


def test_what_nobody_asks_for_once_all_is_listed_has_no_past_any_more() -> None:
    gaps = Gaps({"binance"}, {TRADES: Watermark(100, START - 7)}, [])
    gaps.follow([], START)
    gaps.linger(START)
    gaps.tick(START + LINGER + SECOND)
    assert gaps.follow([BTC], START + LINGER + 2 * SECOND) == []


def test_gaps_of_before_go_on() -> None:
    before = Told()
    [old] = before.see(5, 9)
    told = Told({TRADES: Watermark(9, START)}, [old])
    told.see(10, 6, 7)
    assert [row.missing for row in told.tick()] == [1]
    [row] = told.see(8)
    assert (row.first_missing, row.status) == (6, "repaired")


def test_what_was_on_the_way_to_kafka_when_streaming_was_killed_is_missing_too() -> None:
    before = Told()
    [old] = before.see(5, 9)  # 6 to 8 are missing; only 3 was safe
    told = Told({TRADES: Watermark(3, START)}, [old])
    told.see(20)
    assert told.missing() == [4, 5, *range(6, 9), *range(9, 20)]


def test_an_interruption_goes_on_across_a_restart() -> None:
    before = Told()
    before.see(5)
    [old] = before.cut("trade")
    told = Told({TRADES: Watermark(5, START)}, [old])
    [row] = told.see(9)
    assert (row.first_missing, row.last_missing, row.cause) == (6, 8, "disconnect")


def test_a_quiet_symbol_counts_as_covered_after_the_start_when_its_other_streams_come() -> None:
    told = Told({TRADES: Watermark(5, START)})
    [gap] = told.rows.values()
    told.tick(START + 6 * SECOND)
    assert not told.gaps.is_covered(gap)
    told.note(told.gaps.saw(ticker_event(START + 6 * SECOND)))
    told.tick(START + 7 * SECOND)
    assert told.gaps.is_covered(gap)


def test_what_nobody_wants_any_more_can_still_be_repaired() -> None:
    told = Told()
    told.see(5, 9)
    told.note(told.gaps.follow([], START))
    told.see(6, 7, source="rest")
    [row] = told.see(8, source="rest")
    assert (row.first_missing, row.status) == (6, "repaired")
    told.tick()
    assert told.see(100, 200) == []


def test_a_symbol_that_is_wanted_again_begins_anew() -> None:
    told = Told()
    told.see(5)
    told.note(told.gaps.follow([], START))
    told.tick()
    told.note(told.gaps.follow([BTC], START + SECOND))
    assert told.see(100, 101) == []


def test_trades_of_an_exchange_whose_ids_jump_are_not_judged() -> None:
    gaps = Gaps(set(), {}, [])
    gaps.follow([BTC], START)
    assert [*gaps.saw(trade_event(1)), *gaps.saw(trade_event(9))] == []


def last_trades(*ids: int) -> list[Trade]:
    """As REST has them: their time follows their id, in seconds."""
    return [trade_event(number, "rest", START + number * SECOND) for number in ids]


def test_an_interruption_before_the_first_trade_is_told_once_rest_has_named_the_last_one() -> None:
    told = Told()
    assert told.cut("trade", at=START + 5 * SECOND) == []
    assert told.gaps.unknown(START + 6 * SECOND) == [("binance", BTC)]
    assert told.gaps.unknown(START + 7 * SECOND) == []
    trade, rows = told.gaps.anchor("binance", BTC, last_trades(1, 2, 8, 9))
    assert trade == last_trades(2)[0]
    [row] = told.note(rows)
    assert (row.first_missing, row.last_missing, row.cause) == (3, None, "disconnect")
    told.back("trade", at=START + 10 * SECOND)
    [row] = told.see(10)
    assert (row.first_missing, row.last_missing, row.cause) == (3, 9, "disconnect")


def test_a_quiet_symbol_goes_on_from_the_last_trade_of_rest() -> None:
    told = Told()
    assert told.gaps.unknown(START + 29 * SECOND) == []
    assert told.gaps.unknown(START + 31 * SECOND) == [("binance", BTC)]
    trade, rows = told.gaps.anchor("binance", BTC, last_trades(1, 2))
    assert (trade, rows) == (last_trades(2)[0], [])
    assert told.see(3) == []
    told.cut("trade", at=START + 40 * SECOND)
    told.back("trade", at=START + 41 * SECOND)
    [row] = told.see(6)
    assert (row.first_missing, row.last_missing) == (4, 5)


def test_where_a_trade_has_come_rest_names_no_other() -> None:
    told = Told()
    told.see(5)
    assert told.gaps.unknown(START + 31 * SECOND) == []
    assert told.gaps.anchor("binance", BTC, last_trades(1, 2)) == (None, [])
    told.cut("trade")
    assert told.gaps.unknown(START + 32 * SECOND) == []


@given(
    first=st.integers(0, 5),
    delivered=st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["websocket", "rest"])), max_size=120),
    ticks=st.sets(st.integers(0, 120)),
)
def test_the_open_gaps_are_exactly_what_was_not_delivered(
    first: int, delivered: list[tuple[int, str]], ticks: set[int]
) -> None:
    told = Told()
    told.see(first)
    came = {first}
    absent: set[int] = set()
    for place, (number, source) in enumerate(delivered):
        told.see(number, source=source, at=START + place)
        came.add(number)
        absent.update(n for n in range(first, max(came)) if n not in came)
        if place in ticks:
            told.tick(START + place)
            assert told.missing() == [n for n in range(first, max(came)) if n not in came]
    told.tick(START + 1000)
    assert told.missing() == [n for n in range(first, max(came)) if n not in came]
    was_missing = set(told.missing()) | absent
    told.see(*told.missing(), source="rest")
    on_record = {n for row in told.rows.values() for n in range(row.first_missing, (row.last_missing or 0) + 1)}
    assert was_missing <= on_record
    assert len(told.gaps) == sum(row.status == "open" for row in told.rows.values())
    repaired: set[int] = set()
    for row in told.history:
        assert row.first_missing not in repaired
        if row.status == "repaired":
            repaired.add(row.first_missing)


@given(
    delivered=st.lists(st.integers(1, 30), max_size=60),
    stops=st.lists(st.integers(0, 60), max_size=4),
    safe=st.integers(0, 10),
)
def test_nothing_is_forgotten_by_a_restart(delivered: list[int], stops: list[int], safe: int) -> None:
    """A restart knows the open gaps and a mark that may be older than what was last seen."""
    told = Told()
    told.see(0)
    came, marked = [0], 0
    for place, number in enumerate(delivered):
        if place in stops:
            told.tick()
            known = came[: max(len(came) - safe, 1)]
            marked = max(known)
            open_rows = [row for row in told.rows.values() if row.status == "open"]
            told = Told({TRADES: Watermark(marked, START)}, open_rows)
            came = [n for n in came if n <= marked]
        told.see(number)
        came.append(number)
    told.tick()
    told.see(100)
    told.tick()
    absent = {n for n in range(100) if n not in came}
    assert absent <= set(told.missing())


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["live", "lost", "cut", "back", "late", "rest", "recent", "answer", "tick"]),
            st.integers(1, 4),
        ),
        max_size=60,
    )
)
def test_whatever_is_interrupted_lost_and_fetched_the_open_gaps_are_what_is_missing(
    steps: list[tuple[str, int]],
) -> None:
    """The exchange issues ids one by one; each comes live, or is lost, or comes later. What was asked for because of an
    interruption stays on record."""
    told = Told()
    told.see(0)
    issued, came, is_cut = 0, {0}, False
    asked_for: set[int] = set()
    for place, (step, count) in enumerate(steps):
        at = START + place * SECOND
        if step in ("live", "lost"):
            for _ in range(count):
                issued += 1
                if step == "live" and not is_cut:
                    told.see(issued, at=at)
                    came.add(issued)
        elif step == "cut":
            told.cut("trade", at=at)
            is_cut = True
        elif step == "back" and is_cut:
            told.back("trade", at=at)
            is_cut = False
        elif step in ("late", "rest"):
            absent = sorted(set(range(issued + 1)) - came)[:count]
            for number in absent:
                if number < max(came) or step == "rest":
                    told.see(number, source="rest" if step == "rest" else "websocket", at=at)
                    came.add(number)
        elif step == "recent" and open_ends(told):  # only the last trades can be had
            fetched = [n for n in range(max(issued - count, 0) + 1, issued + 1) if n > max(came)]
            told.see(*fetched, source="rest", at=at)
            came.update(fetched)
            asked_for.update(fetched)
        elif step == "answer":
            for row in open_ends(told):
                if told.gaps.is_covered(row):  # REST gives all there is, in order
                    fetched = [n for n in range(row.first_missing, issued + 1) if n > max(came)]
                    told.see(*fetched, source="rest", at=at)
                    came.update(fetched)
                    asked_for.update(fetched)
                    told.note(told.gaps.settle(replace(row, status="repaired"), ""))
        told.tick(at)
        assert told.missing() == sorted(set(range(max(came))) - came)
    told.back("trade", at=START + 99 * SECOND)
    told.see(issued + 1, at=START + 100 * SECOND)
    told.tick(START + 101 * SECOND)
    assert told.missing() == sorted(set(range(issued + 1)) - came)
    assert not open_ends(told)
    on_record = {n for row in told.rows.values() for n in range(row.first_missing, (row.last_missing or 0) + 1)}
    assert asked_for <= on_record


def open_ends(told: Told) -> list[Gap]:
    """The rows of gaps of which nobody knows how far they reach."""
    return [row for row in told.rows.values() if row.status == "open" and row.last_missing is None]


# --- klines


def test_a_minute_without_its_closed_kline_is_a_gap_after_ten_seconds() -> None:
    told = Told()
    told.hear(kline_event(START))
    assert told.tick(START + 2 * MINUTE + 9 * SECOND) == []
    [row] = told.tick(START + 2 * MINUTE + 11 * SECOND)
    assert (row.gap_stream, row.first_missing, row.last_missing) == ("kline_1m", START + MINUTE, START + MINUTE)
    assert (row.missing, row.cause, row.status) == (1, "no_closed_kline", "open")


def test_the_exchange_s_clock_decides_when_a_kline_is_late() -> None:
    told = Told()
    told.hear(kline_event(START, lag=30 * SECOND))
    assert told.tick(START + 2 * MINUTE + 35 * SECOND) == []
    assert len(told.tick(START + 2 * MINUTE + 41 * SECOND)) == 1


def test_an_unfinished_kline_closes_nothing() -> None:
    told = Told()
    told.hear(kline_event(START, is_closed=False))
    assert len(told.tick(START + MINUTE + 11 * SECOND)) == 1


def test_a_late_closed_kline_repairs_its_minute() -> None:
    told = Told()
    told.tick(START + MINUTE + 11 * SECOND)
    [row] = told.note(told.gaps.saw(kline_event(START)))
    assert (row.status, row.repaired_from, row.missing) == ("repaired", "websocket", 0)


def test_minutes_in_a_row_are_one_gap() -> None:
    told = Told()
    told.cut("kline_1m", at=START)
    told.tick(START + MINUTE + 11 * SECOND)
    [row] = told.tick(START + 4 * MINUTE + 11 * SECOND)
    assert (row.first_missing, row.last_missing, row.missing) == (START, START + 3 * MINUTE, 4)
    assert row.cause == "disconnect"
    told.note(told.gaps.saw(kline_event(START + MINUTE, source="rest")))
    told.tick(START + 4 * MINUTE + 12 * SECOND)
    assert told.missing("kline_1m") == [START, START + 2 * MINUTE, START + 3 * MINUTE]


def test_a_minute_that_had_begun_before_it_was_wanted_is_not_missed() -> None:
    told = Told()
    told.gaps.follow([], START)
    told.note(told.gaps.follow([BTC], START + 1))
    assert told.tick(START + MINUTE + 30 * SECOND) == []
    assert len(told.tick(START + 2 * MINUTE + 30 * SECOND)) == 1


def test_a_minute_whose_end_an_interruption_touched_says_so() -> None:
    told = Told()
    told.cut("kline_1m", at=START + 58 * SECOND)
    told.back("kline_1m", at=START + 63 * SECOND)
    [row] = told.tick(START + MINUTE + 11 * SECOND)
    assert row.cause == "disconnect"
    [row] = told.tick(START + 2 * MINUTE + 11 * SECOND)
    assert row.cause == "no_closed_kline"


def test_minutes_while_the_service_was_down_are_missing() -> None:
    told = Told({("binance", "BTCUSDT", "kline_1m"): Watermark(START - 4 * MINUTE, START - 4 * MINUTE)})
    assert told.tick(START) == [], "no kline has shown yet what the exchange's clock says"
    [row] = told.tick(START + 31 * SECOND)
    assert (row.first_missing, row.missing, row.cause) == (START - 3 * MINUTE, 3, "service_stopped")


def test_a_clock_of_ours_that_is_ahead_makes_no_minute_missing_that_is_not_over() -> None:
    ahead = 10 * MINUTE
    gaps = Gaps({"binance"}, {("binance", "BTCUSDT", "kline_1m"): Watermark(START - MINUTE, START - MINUTE)}, [])
    gaps.follow([BTC], START + ahead)
    assert gaps.tick(START + ahead + SECOND) == []
    gaps.saw(kline_event(START, lag=ahead))
    assert [row for row in gaps.tick(START + ahead + 65 * SECOND) if row.gap_stream == "kline_1m"] == []


HOUR = 60 * MINUTE


def test_a_clock_of_ours_that_is_set_forward_makes_no_minute_missing_before_the_exchange_says_so() -> None:
    told = Told()
    told.hear(kline_event(START - MINUTE))
    told.tick(START + SECOND)
    told.hear(kline_event(START))
    assert told.tick(START + 3 * HOUR + 62 * SECOND) == []
    told.hear(kline_event(START + MINUTE, lag=3 * HOUR))
    assert told.tick(START + 3 * HOUR + 2 * MINUTE + 62 * SECOND) == []
    [row] = told.tick(START + 3 * HOUR + 3 * MINUTE + 11 * SECOND)
    assert (row.first_missing, row.missing) == (START + 2 * MINUTE, 1)


@pytest.mark.parametrize("ahead", [90 * SECOND, -90 * SECOND])
def test_a_clock_of_ours_that_is_set_by_seconds_makes_no_minute_missing_that_is_not_over(ahead: int) -> None:
    told = Told()
    told.note(told.gaps.saw(kline_event(START)))
    at = START + MINUTE + SECOND
    told.note(told.gaps.tick(at, SECOND))
    for second in range(1, 60):
        assert told.note(told.gaps.tick(at + ahead + second * SECOND, (1 + second) * SECOND)) == []
    [row] = told.note(told.gaps.tick(at + ahead + 71 * SECOND, 72 * SECOND))
    assert (row.first_missing, row.missing) == (START + MINUTE, 1)


@pytest.mark.parametrize("ahead", [90 * SECOND, -90 * SECOND])
def test_klines_that_came_before_our_clock_was_set_and_are_read_after_it_say_nothing_of_the_new_one(ahead: int) -> None:
    told = Told()
    at = START + MINUTE + SECOND
    told.note(told.gaps.saw(kline_event(START)))
    told.note(told.gaps.tick(at, SECOND))
    told.note(told.gaps.tick(at + ahead + 2 * SECOND, 3 * SECOND))
    for second in range(3, 60):  # they have waited for five seconds, and were received by the clock of before
        waited = replace(kline_event(START + second * SECOND, is_closed=False), open_time=START + MINUTE)
        told.note(told.gaps.saw(waited))
        assert told.note(told.gaps.tick(at + ahead + (second + 5) * SECOND, (second + 6) * SECOND)) == []


def test_a_clock_of_ours_that_is_set_back_stops_no_judging() -> None:
    told = Told()
    told.hear(kline_event(START))
    told.tick(START + MINUTE + 11 * SECOND)
    told.tick(START - 3 * HOUR)
    [row] = told.tick(START - 3 * HOUR + 61 * SECOND)
    assert (row.first_missing, row.missing) == (START + MINUTE, 1)


def test_one_kline_with_an_absurd_time_moves_nothing_and_a_second_is_believed() -> None:
    told = Told()
    told.note(told.gaps.saw(kline_event(START)))
    told.tick(START + MINUTE + 11 * SECOND)
    absurd = [replace(kline_event(START + MINUTE, lag=MINUTE), published_at=10**17 - 1 + n) for n in range(-1, 1)]
    for event in (absurd[0], absurd[0]):  # by two connections
        told.note(told.gaps.saw(event))
    assert told.tick(START + 2 * MINUTE + 12 * SECOND) == []
    told.note(told.gaps.saw(absurd[1]))
    [row] = told.tick(START + 2 * MINUTE + 13 * SECOND)
    assert row.missing is not None
    assert row.missing <= 1441, "the thread would do nothing else for minutes"


def test_a_first_kline_with_an_absurd_time_makes_nothing_missing() -> None:
    told = Told()
    told.note(told.gaps.saw(replace(kline_event(START), published_at=10**17 - 1)))
    assert told.tick(START + MINUTE + 20 * SECOND) == []
    told.note(told.gaps.saw(kline_event(START + MINUTE)))
    assert told.tick(START + 2 * MINUTE + 20 * SECOND) == []


def test_minutes_are_judged_again_when_a_wrong_clock_is_right() -> None:
    told = Told({("binance", "BTCUSDT", "kline_1m"): Watermark(START + 3 * HOUR, START + 3 * HOUR)})
    told.note(told.gaps.saw(kline_event(START)))
    told.tick(START + MINUTE + SECOND)
    [row] = told.tick(START + 3 * MINUTE + 11 * SECOND)
    assert (row.first_missing, row.missing) == (START + 2 * MINUTE, 1)


def test_a_minute_that_a_wrong_clock_had_missed_is_repaired_when_it_comes() -> None:
    told = Told()
    ahead = [kline_event(START + HOUR + MINUTE * n, lag=-HOUR, is_closed=False) for n in range(2)]
    for event in ahead:
        told.hear(event)
    told.tick(START + 2 * MINUTE + SECOND)
    assert len(told.missing("kline_1m")) > 50
    for minute in range(1, 5):
        told.note(told.gaps.saw(kline_event(START + minute * MINUTE)))
        told.tick(START + (minute + 1) * MINUTE + 11 * SECOND)
        assert START + minute * MINUTE not in told.missing("kline_1m")


def test_a_known_gap_of_minutes_is_not_told_again_after_a_restart() -> None:
    before = Told()
    [old] = before.tick(START + MINUTE + 11 * SECOND)
    told = Told({("binance", "BTCUSDT", "kline_1m"): Watermark(START - MINUTE, START)}, [old])
    told.note(told.gaps.saw(kline_event(START + MINUTE)))
    assert told.tick(START + 2 * MINUTE + 11 * SECOND) == []
    assert told.missing("kline_1m") == [START]


# --- tickers and books


def test_time_without_tickers_or_books_is_recorded_as_lost() -> None:
    told = Told()
    told.note(told.gaps.saw(ticker_event(START + SECOND)))
    told.note(told.gaps.saw(depth_event(START + 2 * SECOND)))
    rows = told.cut("ticker", "depth5", at=START + 3 * SECOND)
    assert [(row.gap_stream, row.first_missing) for row in rows] == [
        ("ticker", START + SECOND), ("depth5", START + 2 * SECOND),
    ]  # fmt: skip
    assert all(row.last_missing is None and row.status == "open" for row in rows)
    told.back("ticker", "depth5", at=START + 9 * SECOND)
    [row] = told.note(told.gaps.saw(ticker_event(START + 11 * SECOND)))
    assert (row.first_missing, row.last_missing, row.status) == (START + SECOND, START + 11 * SECOND, "lost")
    assert "10.0 s" in row.detail
    [row] = told.note(told.gaps.saw(depth_event(START + 12 * SECOND)))
    assert (row.status, row.missing) == ("lost", None)
    assert told.note(told.gaps.saw(depth_event(START + 13 * SECOND))) == []


def test_time_without_tickers_while_the_service_was_down_is_lost() -> None:
    told = Told({("binance", "BTCUSDT", "ticker"): Watermark(START - 9, START - 9)})
    [row] = told.note(told.gaps.saw(ticker_event(START + SECOND)))
    assert (row.first_missing, row.cause, row.status) == (START - 9, "service_stopped", "lost")
