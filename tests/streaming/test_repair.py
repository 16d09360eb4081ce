"""Gaps are filled from a real REST server on loopback, and told as the worker of the service would tell them."""

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from msgspec.structs import replace

from shared.events import AggTrade, AnyEvent, Gap, Kline, Trade
from shared.symbol_manager import Symbol
from streaming import repair, rest
from streaming.exchanges.binance import Binance
from streaming.gaps import Gaps
from streaming.repair import Repairer, Sought
from streaming.rest import RestClient
from streaming.series import Watermark
from tests.events import MINUTE, START, gap_event, kline_event, ticker_event, trade_event
from tests.rest_venue import Refusal, RestVenue

BTC = Symbol(symbol="BTCUSDT", name="Bitcoin")
NO = Refusal(403, "<html>")
SECOND = 1_000_000


@pytest.fixture
def venue() -> Iterator[RestVenue]:
    server = RestVenue(START)
    yield server
    server.stop()


class Worker:
    """Does what the service's worker does: sends events, tells gaps, offers them."""

    def __init__(self, url: str) -> None:
        exchange = Binance("", url)
        self.stopping = threading.Event()
        self.client = RestClient(exchange, self.stopping)
        self.gaps = Gaps({"binance"}, {}, [])
        self.repairer = Repairer(exchange, self.client, self.gaps.is_covered, self.stopping)
        self.events: list[AnyEvent] = []
        self.rows: dict[int, Gap] = {}
        self.history: list[Gap] = []
        self.now = START
        self.tell(self.gaps.follow([BTC], START))
        self.repairer.start()

    def tell(self, rows: object) -> None:
        for row in rows:  # type: ignore[attr-defined]
            self.rows[row.first_missing] = row
            self.history.append(row)
            self.repairer.offer(row)

    def live(self, *ids: int) -> None:
        for number in ids:
            self.tell(self.gaps.saw(trade_event(number)))

    def turn(self) -> None:
        """One round of the worker."""
        while repaired := self.repairer.take():
            if isinstance(repaired, Sought):
                trade, rows = self.gaps.anchor(*repaired)
                self.events += [trade] if trade else []
                self.tell(rows)
                continue
            for event in repaired.events:
                self.events.append(event)
                self.tell(self.gaps.saw(event))
            self.tell(self.gaps.settle(repaired.gap, repaired.detail))
        self.now += 1000
        self.tell(self.gaps.tick(self.now))

    def until(self, condition: Callable[[], object], wait: Callable[..., None]) -> None:
        def met() -> bool:
            self.turn()
            return bool(condition())

        wait(met, 20)

    def whole(self) -> bool:
        return bool(self.rows) and all(row.status != "open" for row in self.rows.values())

    def close(self) -> None:
        self.stopping.set()
        self.repairer.join(10)
        assert not self.repairer.is_alive()
        self.client.close()


@pytest.fixture
def worker(venue: RestVenue, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setattr(repair, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(repair, "VERIFY_SECONDS", 0.1)
    worker = Worker(venue.url)
    yield worker
    worker.close()


def ids(events: list[AnyEvent]) -> list[int]:
    return [event.trade_id for event in events if isinstance(event, Trade)]


def test_trades_are_fetched_by_id_page_by_page(venue: RestVenue, worker: Worker, until: Callable[..., None]) -> None:
    venue.ids = set(range(1, 3001))
    worker.live(10, 2600)
    worker.until(worker.whole, until)
    assert ids(worker.events) == list(range(11, 2600))
    assert {event.source for event in worker.events} == {"rest"}
    assert [row.missing for row in worker.history] == sorted((row.missing or 0 for row in worker.history), reverse=True)
    assert len(worker.history) >= 4  # its progress was told
    row = worker.rows[11]
    assert (row.status, row.repaired_from, row.missing) == ("repaired", "rest", 0)
    assert venue.count("historicalTrades") == 3


def test_late_trades_are_waited_for_before_rest_is_asked(
    venue: RestVenue, worker: Worker, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "GRACE_SECONDS", 0.5)
    worker.live(1, 3, 2)
    worker.until(worker.whole, until)
    assert venue.asked == []
    assert worker.rows[2].repaired_from == "websocket"


def test_the_oldest_gap_is_filled_first(venue: RestVenue, worker: Worker, until: Callable[..., None]) -> None:
    venue.ids = set(range(1, 100))
    worker.live(1, 5, 50, 60)
    worker.until(worker.whole, until)
    assert ids(worker.events) == [*range(2, 5), *range(6, 50), *range(51, 60)]


def test_ids_that_the_exchange_never_issued_are_asked_for_twice_and_recorded(
    venue: RestVenue, worker: Worker, until: Callable[..., None]
) -> None:
    venue.ids = set(range(1, 21)) - {8, 9}
    worker.live(5, 12)
    worker.until(worker.whole, until)
    assert ids(worker.events) == [6, 7, 10, 11]
    [row] = [row for row in worker.rows.values() if row.status == "venue_gap"]
    assert (row.last_missing, row.missing) == (9, 2)
    assert "never issued ids 8 to 9" in row.detail
    assert "trade 7 and then trade 10" in row.detail


def test_a_trade_that_rest_gives_badly_is_named_and_not_taken_for_one_that_was_never_issued(
    venue: RestVenue, worker: Worker, until: Callable[..., None]
) -> None:
    venue.ids, venue.bad = set(range(1, 21)), {8}
    worker.live(5, 12)
    worker.until(lambda: "not understood" in worker.rows[6].detail, until)
    assert ids(worker.events) == [6, 7, 9, 10, 11]
    row = worker.rows[6]
    assert (row.status, row.last_missing, row.missing) == ("open", 8, 1)
    assert "'0' is not above zero" in row.detail
    [job] = worker.repairer._jobs.values()
    assert job.empty_replies == repair.SELDOM
    assert venue.count("historicalTrades") == 2


def test_a_minute_that_rest_gives_badly_is_no_halt(
    venue: RestVenue, worker: Worker, until: Callable[..., None]
) -> None:
    begin = START - 60 * MINUTE
    venue.minutes, venue.bad = {begin + place * MINUTE for place in range(60)}, {begin + MINUTE}
    worker.gaps.follow([], START)
    worker.gaps.follow([BTC], begin)
    worker.tell(worker.gaps.tick(begin + 4 * MINUTE + 11 * SECOND))
    worker.until(lambda: "not understood" in worker.rows[begin].detail, until)
    asked = venue.count("klines")
    worker.until(lambda: venue.count("klines") >= asked + 2, until)
    row = worker.rows[begin]
    assert (row.status, row.last_missing, row.missing) == ("open", begin + MINUTE, 1)


def test_a_request_that_reaches_nobody_does_not_keep_the_others_waiting(
    venue: RestVenue, worker: Worker, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "ATTEMPTS", 1)
    venue.refusals["historicalTrades"] = Refusal(503)
    venue.minutes = {START}
    worker.live(1, 50)
    minute = replace(gap_event(START, START, gap_stream="kline_1m"), missing=1, event_time=START + MINUTE)
    worker.repairer.offer(minute)
    worker.until(lambda: any(isinstance(event, Kline) for event in worker.events), until)
    assert venue.count("klines") >= 1


def test_an_interruption_of_a_symbol_that_is_no_longer_wanted_is_filled_and_ends(
    venue: RestVenue, worker: Worker, until: Callable[..., None]
) -> None:
    venue.ids = set(range(1, 3001))
    worker.gaps = Gaps({"binance"}, {("binance", "BTCUSDT", "trade"): Watermark(100, START)}, [gap_event(101, None)])
    worker.repairer._is_covered = worker.gaps.is_covered
    worker.rows.clear()
    worker.tell(worker.gaps.follow([], worker.now))
    worker.repairer.offer(gap_event(101, None))
    worker.until(lambda: worker.rows and worker.whole(), until)
    assert set(ids(worker.events)) == set(range(101, 3001))
    asked = len(venue.asked)
    worker.until(lambda: worker.now > START + SECOND, until)
    assert len(venue.asked) == asked


def test_a_fault_of_ours_does_not_end_the_repair(
    venue: RestVenue, worker: Worker, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [ZeroDivisionError()]
    parse = worker.repairer._exchange.trades

    def trades(reply: bytes, symbol: Symbol) -> Sequence[Trade]:
        if faults:
            raise faults.pop()
        return parse(reply, symbol)

    monkeypatch.setattr(worker.repairer._exchange, "trades", trades)
    venue.ids = set(range(1, 100))
    worker.live(1, 50)
    worker.until(worker.whole, until)


def test_ids_that_rest_does_not_have_yet_are_no_venue_gap(
    venue: RestVenue, worker: Worker, until: Callable[..., None]
) -> None:
    venue.ids = set(range(1, 6))
    worker.live(5, 12)
    worker.until(lambda: venue.count("historicalTrades") >= 3, until)
    assert not worker.whole()
    venue.ids = set(range(1, 13))
    worker.until(worker.whole, until)
    assert ids(worker.events) == list(range(6, 12))


def test_where_old_trades_are_refused_the_last_ones_do_if_they_reach_back(
    venue: RestVenue, worker: Worker, until: Callable[..., None]
) -> None:
    venue.refusals["historicalTrades"] = NO
    venue.ids = set(range(1, 500))
    worker.live(100, 300)
    worker.until(worker.whole, until)
    assert ids(worker.events) == list(range(101, 300))
    assert venue.count("historicalTrades") == 1


def test_where_they_do_not_merged_fills_cover_the_hole_until_the_archive_comes(
    venue: RestVenue, worker: Worker, until: Callable[..., None]
) -> None:
    venue.refusals["historicalTrades"] = NO
    venue.recent = 100
    venue.ids = set(range(1, 5001))
    worker.live(100, 3001)
    worker.until(lambda: worker.rows[101].repaired_from == "agg_trades", until)
    fills = [event for event in worker.events if isinstance(event, AggTrade)]
    assert {n for fill in fills for n in range(fill.first_trade_id, fill.last_trade_id + 1)} >= set(range(101, 3001))
    assert len({fill.agg_trade_id for fill in fills}) == len(fills)
    row = worker.rows[101]
    assert (row.status, row.missing, row.last_missing) == ("open", 2900, 3000)
    assert "HTTP 403" in row.detail
    assert "archive of 2026-11-21" in row.detail
    assert len(worker.gaps) == 0


def test_a_hole_is_filled_in_part_by_the_last_trades_and_covered_for_the_rest(
    venue: RestVenue, worker: Worker, until: Callable[..., None]
) -> None:
    venue.refusals["historicalTrades"] = NO
    venue.recent = 2000
    venue.ids = set(range(1, 2001))
    worker.live(100, 1501)
    worker.until(lambda: worker.rows[101].repaired_from == "agg_trades", until)
    assert ids(worker.events) == list(range(1001, 1501))
    assert (worker.rows[101].missing, worker.rows[101].last_missing) == (900, 1000)


def test_where_everything_is_refused_the_gap_says_so_and_stays_open(
    venue: RestVenue, worker: Worker, until: Callable[..., None]
) -> None:
    for call in ("historicalTrades", "trades", "aggTrades"):
        venue.refusals[call] = NO
    venue.ids = set(range(1, 100))
    worker.live(5, 9)
    worker.until(lambda: "asked for again" in worker.rows[6].detail, until)
    assert worker.rows[6].status == "open"
    assert "HTTP 403" in worker.rows[6].detail


def test_an_interruption_of_a_quiet_symbol_is_resolved_when_it_is_back(
    venue: RestVenue, worker: Worker, until: Callable[..., None]
) -> None:
    venue.ids = set(range(1, 8))
    worker.live(7)
    series = [(BTC, "trade")]
    worker.tell(worker.gaps.outage("binance", series, START, "broke", "disconnect"))
    worker.turn()
    assert venue.asked == []
    worker.tell(worker.gaps.restored("binance", series, START + SECOND))
    worker.until(worker.whole, until)
    assert "nothing was traded meanwhile" in worker.rows[8].detail
    assert worker.events == []


def test_what_was_traded_in_an_interruption_before_the_first_trade_is_fetched(
    venue: RestVenue, worker: Worker, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "REFUSED_SECONDS", 0.1)
    venue.refusals["trades"] = Refusal(403, times=1)
    venue.ids = set(range(1, 4000))
    series, at = [(BTC, "trade")], START + 3500 * 1000
    worker.tell(worker.gaps.outage("binance", series, at, "broke", "disconnect"))
    for _, symbol in worker.gaps.unknown(at):
        worker.repairer.seek(symbol)
    worker.tell(worker.gaps.restored("binance", series, at + SECOND))
    worker.until(worker.whole, until)
    assert sorted(set(ids(worker.events))) == list(range(3499, 4000))
    assert (worker.rows[3500].status, worker.rows[3500].repaired_from) == ("repaired", "rest")


@pytest.mark.parametrize("refused", ["", "trades"])
def test_where_rest_does_not_know_the_last_trade_it_does_not_say_that_nothing_was_traded(
    venue: RestVenue, worker: Worker, until: Callable[..., None], refused: str
) -> None:
    venue.refusals[refused] = NO
    venue.ids = set(range(5))  # the exchange counts anew
    worker.live(3_000_002)
    series = [(BTC, "trade")]
    worker.tell(worker.gaps.outage("binance", series, START, "broke", "disconnect"))
    worker.tell(worker.gaps.restored("binance", series, START + SECOND))
    worker.until(lambda: venue.count("historicalTrades" if refused else "trades") >= 2, until)
    worker.turn()
    assert worker.rows[3_000_003].status == "open"


@pytest.mark.parametrize("recent", [1000, 3])
def test_what_was_traded_in_an_interruption_comes_though_no_live_trade_follows(
    venue: RestVenue, worker: Worker, until: Callable[..., None], recent: int
) -> None:
    venue.recent = recent
    venue.ids = set(range(1, 30))
    worker.live(7)
    series = [(BTC, "trade")]
    worker.tell(worker.gaps.outage("binance", series, START, "broke", "disconnect"))
    worker.tell(worker.gaps.restored("binance", series, START + SECOND))
    worker.until(worker.whole, until)
    assert sorted(ids(worker.events)) == list(range(8, 30))
    assert worker.rows[8].repaired_from == "rest"
    on_record = {n for row in worker.rows.values() for n in range(row.first_missing, (row.last_missing or 0) + 1)}
    assert on_record == set(range(8, 30))


def test_a_quiet_interruption_is_resolved_where_the_last_trades_are_refused(
    venue: RestVenue, worker: Worker, until: Callable[..., None]
) -> None:
    venue.refusals["trades"] = NO
    venue.ids = set(range(1, 1500))
    worker.live(7)
    series = [(BTC, "trade")]
    worker.tell(worker.gaps.outage("binance", series, START, "broke", "disconnect"))
    worker.tell(worker.gaps.restored("binance", series, START + SECOND))
    worker.until(worker.whole, until)
    assert ids(worker.events) == list(range(8, 1500))


def test_missing_klines_are_fetched_by_minute(venue: RestVenue, worker: Worker, until: Callable[..., None]) -> None:
    venue.minutes = {START + place * MINUTE for place in range(-1500, 100)}
    worker.gaps.follow([], START)
    worker.gaps.follow([BTC], START - 1200 * MINUTE)
    worker.tell(worker.gaps.tick(START))
    worker.until(worker.whole, until)
    klines = [event for event in worker.events if isinstance(event, Kline)]
    assert [kline.open_time for kline in klines] == [START + place * MINUTE for place in range(-1200, -1)]
    assert {kline.source for kline in klines} == {"rest"}
    assert venue.count("klines") == 2


def test_a_kline_that_was_not_long_closed_when_it_was_asked_for_is_asked_for_again(
    venue: RestVenue, worker: Worker, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = (9, 11)  # after the minute: before the first request, and from then on
    monkeypatch.setattr(repair, "_now", lambda: START + MINUTE + seconds[bool(venue.count("klines"))] * SECOND)
    venue.minutes = {START}
    minute = replace(gap_event(START, START, gap_stream="kline_1m"), missing=1, event_time=START + MINUTE)
    worker.repairer.offer(minute)
    worker.until(lambda: any(isinstance(event, Kline) for event in worker.events), until)
    assert venue.count("klines") == 2


def test_minutes_of_a_halt_are_the_exchange_s_own_gap(
    venue: RestVenue, worker: Worker, until: Callable[..., None]
) -> None:
    begin = START - 60 * MINUTE
    venue.minutes = {begin + place * MINUTE for place in range(60) if place not in (2, 3)}
    worker.gaps.follow([], START)
    worker.gaps.follow([BTC], begin)
    worker.tell(worker.gaps.tick(begin + 6 * MINUTE + 11 * SECOND))
    worker.until(worker.whole, until)
    [row] = [row for row in worker.rows.values() if row.status == "venue_gap"]
    assert (row.last_missing, row.missing) == (begin + 3 * MINUTE, 2)
    assert "halted" in row.detail


def test_a_repair_goes_on_when_the_exchange_answers_again(
    venue: RestVenue, worker: Worker, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "ATTEMPTS", 1)
    venue.refusals["historicalTrades"] = Refusal(503, times=2)
    venue.ids = set(range(1, 20))
    worker.live(5, 9)
    worker.until(worker.whole, until)
    assert ids(worker.events) == [6, 7, 8]


def test_tickers_are_not_asked_for(venue: RestVenue, worker: Worker) -> None:
    worker.tell(worker.gaps.saw(ticker_event(START)))
    worker.tell(worker.gaps.saw(kline_event(START, is_closed=False)))
    worker.tell(worker.gaps.outage("binance", [(BTC, "ticker")], START, "broke", "disconnect"))
    assert worker.repairer._jobs == {}
