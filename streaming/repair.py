"""Fills gaps from REST: trades by id, klines by minute, the oldest gap first, within the exchange's limits.

What it finds goes back to the thread that streams, which sends it like any event and tells `Gaps`; that says what is
still missing, and offers it again.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from queue import Empty, Full, Queue
from typing import NamedTuple

from msgspec.structs import replace

from shared.events import AggTrade, Gap, Kline, Trade
from shared.symbol_manager import Symbol
from streaming.exchange import Exchange, Request, UnparsableMessage
from streaming.rest import Refused, RestClient, Stopped, Unreachable
from streaming.series import KLINE_GRACE, MINUTE, is_settled, missing_range

log = logging.getLogger(__name__)

GRACE_SECONDS = 2.0
"""How long late ones may still come by themselves."""
VERIFY_SECONDS = 5.0
"""After so long it is asked again, whether something is there now or the exchange really has none."""
SLOWEST_SECONDS = 300.0
"""How seldom at most something is asked for that the exchange does not have yet."""
SELDOM = 10
"""After so many replies in a row without anything of a gap it is asked for as seldom as that."""
REFUSED_SECONDS = 60.0
"""How long a refused request is not tried again."""
HALT_MINUTES = 5
"""A kline that REST does not have so long after its minute never comes."""
MANY = 100_000
"""Gaps with more missing wait until the smaller ones are filled."""
REPLIES_WAITING = 20


class Repaired(NamedTuple):
    """Some of what a gap misses, and what is to be said of the gap; `detail` is empty where nothing is."""

    events: tuple[Trade | Kline | AggTrade, ...]
    gap: Gap
    detail: str = ""


class Sought(NamedTuple):
    """The last trades of a symbol of which none had come."""

    exchange: str
    symbol: Symbol
    trades: tuple[Trade, ...]


@dataclass(eq=False)
class _Job:
    gap: Gap
    not_before: float
    is_covered: bool = False
    cursor: int | None = None
    """Where the next page begins; none where the gap itself says it."""
    empty_replies: int = 0
    """How often in a row all that is missing was missing from the reply, too."""
    has_asked_recent: bool = False
    agg_time: int = 0
    """From when the next page of merged fills is asked for."""
    agg_next: int = 0
    """The first id that merged fills do not cover yet."""
    agg_seen: int = -1
    said: str = ""


class Repairer(threading.Thread):
    """A thread for one exchange. `is_covered` says whether the stream of a gap without an end is back."""

    def __init__(
        self, exchange: Exchange, client: RestClient, is_covered: Callable[[Gap], bool], stopping: threading.Event
    ) -> None:
        super().__init__(name=f"{exchange.name}-repair", daemon=True)
        self._exchange = exchange
        self._client = client
        self._is_covered = is_covered
        self._stopping = stopping
        self._changed = threading.Condition()
        self._jobs: dict[tuple[str, str, int], _Job] = {}
        self._sought: dict[str, tuple[float, Symbol]] = {}
        """From when on the last trades of symbols are asked for."""
        self._done: Queue[Repaired | Sought] = Queue(REPLIES_WAITING)
        self._refusals: dict[tuple[str, str], tuple[float, str]] = {}
        """Until when a kind of request is not tried, by kind and symbol (empty for all), and why."""
        self._failures: dict[str, int] = {}
        """How often in a row a kind of request found nobody."""
        self._unreachable: dict[str, tuple[float, str]] = {}
        """Until when such a kind is not tried, and why."""

    def offer(self, gap: Gap) -> None:
        """A gap as it is now: a new one, one with less missing, or one that is settled."""
        if gap.gap_stream not in ("trade", "kline_1m"):
            return
        key = (gap.symbol, gap.gap_stream, gap.first_missing)
        with self._changed:
            job = self._jobs.get(key)
            if is_settled(gap):
                self._jobs.pop(key, None)
            elif job is None:
                self._jobs[key] = _Job(gap, time.monotonic() + GRACE_SECONDS)
            else:
                if gap.last_missing != job.gap.last_missing or gap.missing != job.gap.missing:
                    job.empty_replies = 0
                if job.gap.last_missing is None and gap.last_missing is not None:
                    job.not_before = time.monotonic() + GRACE_SECONDS
                    job.cursor = None
                job.gap = gap
            self._changed.notify()

    def seek(self, symbol: Symbol) -> None:
        """Find the last trades of a symbol of which none has come, once no gap is to be asked for."""
        with self._changed:
            self._sought[symbol.symbol] = 0.0, symbol
            self._changed.notify()

    def take(self) -> Repaired | Sought | None:
        """The next thing found, if there is one."""
        try:
            return self._done.get_nowait()
        except Empty:
            return None

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                job = self._next()
                if job is None and not self._seek():
                    with self._changed:
                        self._changed.wait(0.2 if self._jobs else 1)
                elif job is not None:
                    self._work(job)
        except Stopped:
            pass

    def _next(self) -> _Job | None:
        now = time.monotonic()
        with self._changed:
            due = []
            for job in self._jobs.values():
                if job.gap.last_missing is None:
                    covered = self._is_covered(job.gap)
                    if covered and not job.is_covered:
                        job.not_before = now + GRACE_SECONDS
                    job.is_covered = covered
                    if not covered:
                        continue
                if job.not_before <= now:
                    due.append(job)
        return min(due, key=lambda job: ((job.gap.missing or 0) > MANY, job.gap.event_time), default=None)

    def _work(self, job: _Job) -> None:
        """One request for a gap."""
        try:
            if job.gap.gap_stream == "kline_1m":
                self._klines(job)
            elif job.gap.last_missing is None:
                self._open_end(job)
            else:
                self._trades(job)
        except Unreachable:  # another gap may be asked for elsewhere
            job.not_before = time.monotonic() + VERIFY_SECONDS
        except Stopped:
            raise
        except UnparsableMessage as error:
            log.warning("%s: a reply for a gap of %s is not understood: %s", self._exchange.name, job.gap.symbol, error)
            job.empty_replies += 1
            self._say_not_understood(job, str(error))
            self._later(job)
        except Exception:  # a thread that ended would leave every later hole open
            log.exception("%s: a gap of %s was not repaired; it is tried again", self._exchange.name, job.gap.symbol)
            job.empty_replies += 1
            self._later(job)

    def _seek(self) -> bool:
        """One request for the last trades of a symbol; False where none is due."""
        now = time.monotonic()
        with self._changed:
            symbol = next((symbol for not_before, symbol in self._sought.values() if not_before <= now), None)
            if symbol is None:
                return False
            self._sought[symbol.symbol] = now + REFUSED_SECONDS, symbol
        try:
            reply = self._get("recent", symbol, self._exchange.recent_trades_request(symbol))
            if reply is not None:
                self._put(Sought(self._exchange.name, symbol, tuple(self._exchange.trades(reply, symbol))))
                with self._changed:
                    del self._sought[symbol.symbol]
        except Stopped:
            raise
        except Unreachable:  # the log has it
            pass
        except Exception:  # as above
            log.exception("%s: the last trades of %s are asked for again", self._exchange.name, symbol.symbol)
        return True

    def _later(self, job: _Job) -> None:
        job.cursor = None
        seconds = min(VERIFY_SECONDS * 2 ** min(max(job.empty_replies - 2, 0), 10), SLOWEST_SECONDS)
        job.not_before = time.monotonic() + seconds

    def _refused(self, job: _Job) -> None:
        job.cursor = None
        job.not_before = time.monotonic() + REFUSED_SECONDS

    def _put(self, repaired: Repaired | Sought) -> None:
        while not self._stopping.is_set():
            try:
                self._done.put(repaired, timeout=0.5)
            except Full:
                continue
            return
        raise Stopped("streaming stops")

    # --- trades

    def _trades(self, job: _Job) -> None:
        gap = job.gap
        low, high = missing_range(gap)
        first = low if job.cursor is None else job.cursor
        symbol = _symbol(gap)
        reply = self._get("trades", gap, self._exchange.trades_request(symbol, max(first - 1, 0)))
        if reply is None:
            self._without_single_trades(job, low, high)
            return
        trades = self._exchange.trades(reply, symbol)
        found = self._hand_on(job, trades, first, high)
        last = trades[-1].trade_id if trades else -1
        if last >= high or last < first:
            if not found and job.cursor is None:
                self._not_there(job, reply, trades, low, high)
            self._later(job)
        else:
            job.cursor = last + 1

    def _hand_on(self, job: _Job, trades: Sequence[Trade], low: int, high: int) -> bool:
        found = tuple(trade for trade in trades if low <= trade.trade_id <= high)
        if found:
            job.empty_replies = 0
            self._put(Repaired(found, job.gap))
        return bool(found)

    def _not_there(self, job: _Job, reply: bytes, trades: Sequence[Trade], low: int, high: int) -> None:
        """None of the missing ids is in a reply. With their neighbours there, twice, they were never issued."""
        if self._is_unread(job, reply, low, high):
            return
        job.empty_replies += 1
        ids = {trade.trade_id for trade in trades}
        after = min((number for number in ids if number > high), default=None)
        if job.empty_replies >= 2 and after is not None and (low - 1 in ids or low == 0):
            what = f"id {low}" if low == high else f"ids {low} to {high}"
            detail = f"asked twice, the exchange gives trade {low - 1} and then trade {after}: it never issued {what}."
            self._put(Repaired((), replace(job.gap, status="venue_gap", repaired_from=""), detail))

    def _is_unread(self, job: _Job, reply: bytes, low: int, high: int) -> bool:
        """Whether what is missing may be in a reply and was not understood; it is asked for again seldom."""
        unread = self._exchange.unread_places(reply, job.gap.gap_stream, _symbol(job.gap))
        why = next((why for place, why in unread.items() if low <= place <= high or place < 0), "")
        if why:
            job.empty_replies = SELDOM
            self._say_not_understood(job, why)
        return bool(why)

    def _say_not_understood(self, job: _Job, why: str) -> None:
        self._say(job, f"The exchange's answer by REST is not understood ({why}). It is asked again.")

    def _without_single_trades(self, job: _Job, low: int, high: int) -> None:
        """The last trades where they reach back far enough, else merged fills."""
        if not job.has_asked_recent:
            job.has_asked_recent = True
            symbol = _symbol(job.gap)
            reply = self._get("recent", job.gap, self._exchange.recent_trades_request(symbol))
            trades = self._exchange.trades(reply, symbol) if reply else []
            found = self._hand_on(job, trades, low, high)
            if reply and trades and trades[0].trade_id <= max(low - 1, 0) and not found:
                self._not_there(job, reply, trades, low, high)
                job.has_asked_recent = False
                self._later(job)
            elif found:
                self._later(job)
            return
        self._agg_trades(job, low, high)

    def _agg_trades(self, job: _Job, low: int, high: int) -> None:
        gap, symbol = job.gap, _symbol(job.gap)
        if not job.agg_time:
            job.agg_time, job.agg_next = gap.event_time - 1, low
        reply = self._get("agg_trades", gap, self._exchange.agg_trades_request(symbol, job.agg_time))
        if reply is None:
            self._say(job, f"{self._why('agg_trades', gap)} Single trades and merged fills are asked for again.")
            job.has_asked_recent = False
            self._refused(job)
            return
        fills = self._exchange.agg_trades(reply, symbol)
        new = [fill for fill in fills if fill.agg_trade_id > job.agg_seen]
        wanted = tuple(fill for fill in new if fill.last_trade_id >= low and fill.first_trade_id <= high)
        if wanted:
            self._put(Repaired(wanted, gap))
        for fill in wanted:
            if fill.first_trade_id <= job.agg_next:
                job.agg_next = max(job.agg_next, fill.last_trade_id + 1)
        if new and new[-1].last_trade_id < high:
            job.agg_seen = new[-1].agg_trade_id
            is_stuck = new[-1].event_time // 1000 <= job.agg_time // 1000
            job.agg_time = new[-1].event_time + (1000 if is_stuck else 0)
            return
        if job.agg_next > high:
            days = sorted({_day(gap.event_time), *(_day(fill.event_time) for fill in wanted)})
            detail = (
                f"{self._why('trades', gap)} The merged fills (aggTrades) cover the ids {low} to {high}; "
                f"single trades wait for the archive of {' and '.join(days)}."
            )
            self._put(Repaired((), replace(gap, repaired_from="agg_trades"), detail))
        else:
            job.empty_replies += 1
            self._say(job, f"{self._why('trades', gap)} The merged fills (aggTrades) do not cover all ids yet.")
        job.agg_time, job.agg_seen, job.has_asked_recent = 0, -1, False
        self._later(job)

    def _open_end(self, job: _Job) -> None:
        """What was traded since an interruption, where no trade has come by itself yet.

        The last trades show it where they reach back far enough, and are handed over without what lies before them
        only where the exchange refuses trades by id.
        """
        gap, symbol = job.gap, _symbol(job.gap)
        low = gap.first_missing if job.cursor is None else job.cursor
        trades = None
        if job.cursor is None:
            trades = self._asked("recent", gap, self._exchange.recent_trades_request(symbol))
        if not trades or trades[0].trade_id > low:
            following = self._asked("trades", gap, self._exchange.trades_request(symbol, max(low - 1, 0)))
            new = [trade for trade in following or () if trade.trade_id >= low]
            if new:
                self._put(Repaired(tuple(new), gap))
                job.cursor = new[-1].trade_id + 1
                return
            trades = trades or following
        if trades is None:
            self._say(job, f"{self._why('trades', gap)} The next trade shows how many are missing.")
            self._refused(job)
            return
        found = tuple(trade for trade in trades if trade.trade_id >= low)
        # else REST does not have the last trade before the interruption: it lags, or the exchange counts anew
        reaches_back = bool(trades) and trades[-1].trade_id >= low - 1
        is_whole = reaches_back and (not found or trades[0].trade_id <= low)
        job.empty_replies = 0 if reaches_back else job.empty_replies + 1
        self._put(Repaired(found, replace(gap, status="repaired") if is_whole else gap))
        self._later(job)

    def _asked(self, kind: str, gap: Gap, request: Request) -> Sequence[Trade] | None:
        """The trades of a reply; none where the request is refused."""
        reply = self._get(kind, gap, request)
        return None if reply is None else self._exchange.trades(reply, _symbol(gap))

    # --- klines

    def _klines(self, job: _Job) -> None:
        gap, symbol = job.gap, _symbol(job.gap)
        low, high = missing_range(gap)
        first = low if job.cursor is None else job.cursor
        now = _now()
        reply = self._get("klines", gap, self._exchange.klines_request(symbol, first, high + MINUTE))
        if reply is None:
            self._say(job, f"{self._why('klines', gap)} They are asked for again.")
            self._refused(job)
            return
        klines = self._exchange.klines(reply, symbol, now - KLINE_GRACE)
        found = tuple(kline for kline in klines if first <= kline.open_time <= high)
        if found:
            job.empty_replies = 0
            self._put(Repaired(found, gap))
            if found[-1].open_time < high:
                job.cursor = found[-1].open_time + MINUTE
                return
        elif job.cursor is None and not self._is_unread(job, reply, low, high):
            job.empty_replies += 1
            if job.empty_replies >= 2 and now > high + (HALT_MINUTES + 1) * MINUTE:
                detail = "asked twice, the exchange has no kline of these minutes: trading was halted."
                self._put(Repaired((), replace(gap, status="venue_gap", repaired_from=""), detail))
        self._later(job)

    # --- refusals

    def _get(self, kind: str, gap: Gap | Symbol, request: Request) -> bytes | None:
        """The reply, or none where such a request is refused, now or shortly before.

        Raises `Unreachable`, also where nobody was found shortly before.
        """
        until, why = self._unreachable.get(kind, (0.0, ""))
        if until > time.monotonic():
            raise Unreachable(why)
        for key in ((kind, ""), (kind, gap.symbol)):
            if self._refusals.get(key, (0.0, ""))[0] > time.monotonic():
                return None
        try:
            reply = self._client.get(request)
        except Unreachable as error:
            count = self._failures[kind] = self._failures.get(kind, 0) + 1
            seconds = min(VERIFY_SECONDS * 2 ** min(count - 1, 10), SLOWEST_SECONDS)
            log.warning("%s: gaps wait %.0f s for %s: %s", self._exchange.name, seconds, kind, error)
            self._unreachable[kind] = (time.monotonic() + seconds, str(error))
            raise
        except Refused as error:
            log.warning("%s: %s", self._exchange.name, error)
            key = (kind, gap.symbol if error.status == 400 else "")
            self._refusals[key] = (time.monotonic() + REFUSED_SECONDS, str(error))
            reply = None
        self._failures.pop(kind, None)
        return reply

    def _why(self, kind: str, gap: Gap) -> str:
        """The last refusal of a kind."""
        found = [self._refusals[key] for key in ((kind, ""), (kind, gap.symbol)) if key in self._refusals]
        return max(found)[1] if found else ""

    def _say(self, job: _Job, detail: str) -> None:
        if detail != job.said:
            job.said = detail
            self._put(Repaired((), job.gap, detail))


@lru_cache(maxsize=4096)
def _named(symbol: str, base: str, quote: str) -> Symbol:
    return Symbol.model_validate({"symbol": symbol, "name": base, "base": base, "quote": quote})


def _symbol(gap: Gap) -> Symbol:
    return _named(gap.symbol, gap.base_asset, gap.quote_asset)


def _now() -> int:
    return time.time_ns() // 1000


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1_000_000, UTC).strftime("%Y-%m-%d")
