"""What is missing of one stream of one symbol. `streaming.gaps` holds many of these.

How a `Gap` of trades or klines reads: those missing are the *last* `missing` ones up to `last_missing`. What lies
between `first_missing`, which never changes, and them has come meanwhile. When something comes in the middle, the part
behind it becomes a gap of its own.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.events import Gap, GapCause, GapStatus, StreamName, Trade

SECOND = 1_000_000
MINUTE = 60_000_000
LISTEN = 30_000_000
"""How long after it was asked for a kline is waited for, to know the exchange's clock."""
KLINE_GRACE = 10_000_000
"""How long after its minute a closed kline is waited for, in microseconds of the exchange's clock; one that REST gives
counts as closed only so long after it, as our clock may be ahead."""
STEP = 5 * MINUTE
"""A lag that differs by more is believed when a second kline has it. Where our clock goes on by more between two ticks,
it was set, or the process stood still: the exchanges' clocks were not. That it was set by less is told by a clock that
nobody sets."""
MOST = 1440 * MINUTE
"""How much is judged at once: the thread has others to serve."""
FAR = 5_000_000
"""Ids that go back by more than this are no late ones: the exchange counts anew."""
ANEW = 5_000_000
"""Neither are those of trades that happened so much later than the newest, in microseconds: a late one is older."""
FAR_TRADES = 3
"""How many trades in a row must say so."""

_WHY: dict[GapCause, str] = {
    "disconnect": "the connection was interrupted",
    "id_jump": "the exchange did not send them",
    "silence": "the stream was silent",
    "no_closed_kline": "the exchange did not close them in time",
    "service_stopped": "streaming was stopped",
    "spool_damaged": "the spool on the disk was damaged",
    "offsets_expired": "Kafka no longer had them",
}


class Watermark(NamedTuple):
    """The last thing of a series that is safe: a trade id, a minute, or a time; and when it happened."""

    place: int
    time: int


class Interruption(NamedTuple):
    """Since when a series is not covered, and until when it was not."""

    since: int
    until: int | None
    cause: GapCause
    reason: str


@dataclass
class Clock:
    """What was heard of the time, in microseconds."""

    now: int = 0
    """The latest moment of our clock."""
    lags: dict[str, int] = field(default_factory=dict)
    """How far what an exchange's clock says lies behind ours, by its last kline."""
    stepped: int = 0
    """How far our clock was set since the start, as far as ticks tell."""
    _ticked: int = 0
    _counted: int = 0
    _told: dict[str, int] = field(default_factory=dict)
    """What exchanges said since the last tick."""
    _doubted: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Lags that only one kline has had so far, with the time that it told."""

    def hear(self, now: int | None) -> None:
        if now and now > self.now:
            self.now = now

    def tick(self, now: int, counted: int = 0) -> None:
        """About a second has passed, whatever our clock says; `counted` by one that nobody sets, where there is one."""
        passed = now - self._ticked
        step = passed if not -SECOND <= passed <= STEP else 0
        if not step and counted and self._counted:
            step = passed - (counted - self._counted)
        if self._ticked and abs(step) > SECOND:
            self.stepped += step
            self.lags = {exchange: lag + step for exchange, lag in self.lags.items()}
        self._ticked, self._counted = now, counted
        for exchange, told in self._told.items():
            self._compare(exchange, told, now)
        self._told.clear()

    def tell(self, exchange: str, told: int) -> None:
        """An exchange told its time.

        It is compared at the next tick, and not with the moment it was received at: that was told by our clock of then,
        which may have been set while this waited to be read.
        """
        self._told[exchange] = told

    def _compare(self, exchange: str, told: int, now: int) -> None:
        lag = now - told
        known = self.lags.get(exchange, self.stepped)
        doubted, told_then = self._doubted.get(exchange, (known, told))
        if abs(lag - known) <= STEP or (abs(lag - doubted) <= STEP and told != told_then):
            self.lags[exchange] = lag
            self._doubted.pop(exchange, None)
        else:
            self._doubted[exchange] = lag, told

    def time_of(self, exchange: str, now: int, since: int) -> int | None:
        """What an exchange's clock says; none where that is to be waited for, which is not done for ever."""
        lag = self.lags.get(exchange)
        doubted_at = sum(self._doubted.get(exchange, ()))
        if lag is None and now < max(since + self.stepped, doubted_at) + LISTEN:
            return None
        return now - (self.stepped if lag is None else lag)


@dataclass(eq=False, slots=True)
class Hole:
    """`low` to `high` is missing; `key` is what its `Gap` is known by."""

    key: int
    low: int
    high: int
    event_time: int
    cause: GapCause
    end: int = 0
    """Where it reached at first, or where another part begins."""
    connection_id: str = ""
    source: str = ""
    """What has filled some of it."""
    detail: str = ""
    """What the repair says of it."""
    updated_at: int = 0

    def __post_init__(self) -> None:
        self.end = self.high

    def behind(self, place: int, low: int, time: int) -> "Hole":
        """The part from `low` on as a hole of its own; this one now ends at `place`."""
        other = Hole(low, low, self.high, time, self.cause, connection_id=self.connection_id, source=self.source)
        other.end, other.detail = self.end, self.detail
        self.high = self.end = place
        return other


def is_settled(gap: Gap) -> bool:
    """Whether streaming has done with a gap. One that merged fills cover is the archive's to close."""
    return gap.status != "open" or gap.repaired_from == "agg_trades"


def missing_range(gap: Gap) -> tuple[int, int]:
    """The first and last id or minute that a gap still misses; of one without an end, its first."""
    last = gap.first_missing if gap.last_missing is None else gap.last_missing
    missing = 1 if gap.missing is None else gap.missing
    return last - (missing - 1) * (MINUTE if gap.gap_stream == "kline_1m" else 1), last


class Series:
    """One stream of one symbol. `changed` collects the series that have something to `flush`."""

    step = 1

    def __init__(
        self,
        exchange: str,
        symbol: str,
        base: str,
        quote: str,
        stream: StreamName,
        clock: Clock,
        changed: set["Series"],
    ) -> None:
        self._exchange, self._symbol, self._base, self._quote = exchange, symbol, base, quote
        self._stream: StreamName = stream
        self._clock = clock
        self._changed_series = changed
        self._changed: list[Hole] = []
        self._holes: list[Hole] = []
        """By place, none touching another that was found earlier."""
        self._open_end: Hole | None = None
        """The hole whose end is not known."""
        self._told = 0
        """The time of the last row: each is later, also where a hole begins within a moment where another had begun. Of
        two rows of one name the later stays, in the table and in the ledger."""
        self.is_wanted = True
        self.is_covered = False

    def __len__(self) -> int:
        return len(self._holes) + (self._open_end is not None)

    def load(self, gap: Gap) -> None:
        """Take over a hole that was found before the process started."""
        self._told = max(self._told, gap.updated_at)
        low, high = missing_range(gap)
        hole = Hole(gap.first_missing, low, high, gap.event_time, gap.cause, updated_at=gap.updated_at)
        hole.connection_id, hole.source = gap.connection_id, gap.repaired_from
        if gap.last_missing is None:
            self._open_end = hole
        elif low <= high:
            self._insert(hole)

    def start(self, at: int, mark: Watermark | None) -> list[Gap]:
        """It is wanted from `at` on; `mark` is the last that is safe from before."""
        raise NotImplementedError

    def saw(self, event: Any) -> Sequence[Gap]:
        """An event of this series came."""
        raise NotImplementedError

    def outage(self, outage: Interruption) -> list[Gap]:
        """No connection covers it any more."""
        raise NotImplementedError

    def restored(self, at: int) -> list[Gap]:  # noqa: ARG002
        """It is covered again."""
        self.is_covered = True
        return []

    def left(self, at: int) -> list[Gap]:  # noqa: ARG002
        """Nobody wants it any more; what is missing so far still is."""
        self.is_wanted, self.is_covered = False, True
        return []

    def settle(self, verdict: Gap, detail: str) -> list[Gap]:
        """Apply what the repair found out."""
        if verdict.last_missing is None:
            return self._settle_open_end(verdict) + self.flush()
        rows = []
        low, high = missing_range(verdict)
        for hole in [hole for hole in self._holes if hole.low <= high and hole.high >= low]:
            if is_settled(verdict):
                rows += self._cut(hole, max(low, hole.low), min(high, hole.high), verdict, detail)
            elif detail and hole.detail != detail:
                hole.detail = detail
                self._note(hole)
        return rows + self.flush()

    def lost(self, first: int, last: int | None, time: int) -> list[Gap]:
        """What came from `first` to `last` (none: to the newest) may be nowhere any more; `time` was before it."""
        rows = []
        for low, high in list(self._between_holes(first, self._newest if last is None else last)):
            hole = Hole(low, low, high, time, "spool_damaged")
            hole.event_time = self._time_of(hole, low)
            self._insert(hole)
            rows.append(self._row(hole))
        return rows

    @property
    def _newest(self) -> int:
        """The last that came."""
        raise NotImplementedError

    def _between_holes(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The parts of `first` to `last` that are not known to be missing."""
        for hole in self._holes:
            if first < hole.low <= last:
                yield first, hole.low - self.step
            if hole.low <= last:
                first = max(first, hole.high + self.step)
        if first <= last:
            yield first, last

    def flush(self) -> list[Gap]:
        """The holes that became smaller, or were split, since the last call."""
        changed, self._changed = self._changed, []
        return [self._row(hole) for hole in dict.fromkeys(changed) if hole in self._holes]

    def _settle_open_end(self, verdict: Gap) -> list[Gap]:  # noqa: ARG002
        return []

    def _insert(self, hole: Hole) -> None:
        self._holes.insert(bisect_right(self._holes, hole.low, key=_low), hole)

    def _hole_at(self, place: int) -> Hole | None:
        at = bisect_right(self._holes, place, key=_low) - 1
        return self._holes[at] if at >= 0 and place <= self._holes[at].high else None

    def _late(self, place: int, time: int, source: str) -> Sequence[Gap]:
        """Something that was missing came, or something came twice."""
        if not self._holes or place < self._holes[0].low or place > self._holes[-1].high:
            return ()
        hole = self._hole_at(place)
        if hole is None:
            return ()
        hole.source = "rest" if "rest" in (source, hole.source) else source
        if hole.low == hole.high:
            self._holes.remove(hole)
            return [self._row(hole, "repaired")]
        if place == hole.low:
            hole.low += self.step
        elif place == hole.high:
            hole.high -= self.step
        else:
            other = hole.behind(place - self.step, place + self.step, time)
            other.key = place  # what came stays on record too
            self._insert(other)
            self._note(other)
        self._note(hole)
        return ()

    def _cut(self, hole: Hole, low: int, high: int, verdict: Gap, detail: str) -> list[Gap]:
        """Take `low` to `high` out of a hole; the rows that settle it, and what came behind it."""
        rows = []
        behind, time = high + self.step, self._time_of(hole, high + self.step)
        if high < hole.high:
            other = hole.behind(high, behind, time)
            self._insert(other)
            self._note(other)
        elif high < hole.end:
            came = Hole(behind, behind, hole.end, time, hole.cause, hole.end, hole.connection_id, hole.source)
            rows.append(self._row(came, "repaired"))
        if low > hole.low:
            part = hole.behind(low - self.step, low, self._time_of(hole, low))
            self._note(hole)
        else:
            part = hole
            self._holes.remove(hole)
        part.source, part.detail = verdict.repaired_from, detail
        return [self._row(part, verdict.status), *rows]

    def _time_of(self, hole: Hole, place: int) -> int:  # noqa: ARG002
        return hole.event_time

    def _note(self, hole: Hole) -> None:
        self._changed.append(hole)
        self._changed_series.add(self)

    def _row(self, hole: Hole, status: GapStatus = "open") -> Gap:
        """The event of a hole with an end, as it is now."""
        if status == "repaired":
            return self._gap(hole, status, hole.end, 0, self._words(hole, status, 0))
        missing = (hole.high - hole.low) // self.step + 1
        return self._gap(hole, status, hole.high, missing, hole.detail or self._words(hole, status, missing))

    def _gap(self, hole: Hole, status: GapStatus, last: int | None, missing: int | None, detail: str) -> Gap:
        hole.updated_at = self._told = max(self._clock.now, self._told + 1)
        return Gap(
            exchange=self._exchange,
            symbol=self._symbol,
            base_asset=self._base,
            quote_asset=self._quote,
            event_time=hole.event_time,
            source="websocket",
            connection_id=hole.connection_id,
            gap_stream=self._stream,
            first_missing=hole.key,
            last_missing=last,
            missing=missing,
            cause=hole.cause,
            status=status,
            repaired_from=hole.source,
            detail=detail,
            updated_at=hole.updated_at,
        )

    def _words(self, hole: Hole, status: GapStatus, missing: int) -> str:
        things = "klines" if self.step == MINUTE else "trades"
        if status == "repaired":
            how = "were fetched by REST" if hole.source == "rest" else "came late"
            return f"{things} were missing, because {_WHY[hole.cause]}; they {how}"
        return f"{missing} {things} are missing, because {_WHY[hole.cause]}; they are asked for by REST"


def _low(hole: Hole) -> int:
    return hole.low


class Trades(Series):
    """Trades by contiguous id: all up to `_highest` have come or lie in a hole; the open end begins behind it."""

    def __init__(self, *names: Any) -> None:
        super().__init__(*names)
        self._next = -1
        """The id that comes next when all is well; -1 while that is not known, or something is open."""
        self._highest = -1
        self._time = 0
        self._cause: GapCause | None = None
        """Why trades may have been missed since the last one."""
        self._reason = ""
        self._since = 0
        """When trades may have been missed first, before any came."""
        self._far = (0, -1, -1)
        """How many ids in a row were no late ones: the count, the last such id, and the highest then."""

    def start(self, at: int, mark: Watermark | None) -> list[Gap]:
        rows: list[Gap] = []
        if mark is not None:
            self._highest, self._time = mark
            ends = [hole for hole in [*self._holes, self._open_end] if hole and hole.low > self._highest]
            for hole in ends:  # what was on the way to Kafka between the mark and a later hole is lost too
                low = self._highest + 1
                if hole.key > low:
                    before = Hole(low, low, hole.key - 1, self._time, "service_stopped")
                    self._insert(before)
                    rows.append(self._row(before))
                if hole.low > max(hole.key, low):
                    hole.low = max(hole.key, low)
                    self._note(hole)
                self._highest = hole.low - 1 if hole is self._open_end else hole.high
        elif self._open_end:
            self._highest, self._time = max(self._highest, self._open_end.key - 1), self._open_end.event_time
        else:
            self._next = self._highest = -1
            self._cause, self._since = None, 0
            return rows
        if self._open_end:
            self._cause = self._open_end.cause
            return rows
        return rows + self.outage(Interruption(at, None, "service_stopped", ""))

    def saw(self, event: Any) -> Sequence[Gap]:
        place = event.trade_id
        if place == self._next:
            self._next = place + 1
            self._highest = place
            self._time = event.event_time
            return ()
        return self._unusual(event, place, event.event_time)

    def _unusual(self, event: Any, place: int, time: int) -> Sequence[Gap]:
        is_live = event.source == "websocket"
        self._clock.hear(event.received_at)
        if self._highest < 0:
            if is_live and self.is_wanted:
                self._go_on(place, time)
                return ()
            return self._late(place, time, event.source)
        if place <= self._highest:
            if is_live and self._counts_anew(place, time):
                return [self._began_anew(place, time)]
            return self._late(place, time, event.source)
        rows = []
        if place > self._highest + 1:
            rows += self._jumped(event, place, time)
        elif self._open_end and is_live:
            rows.append(self._nothing_open("websocket"))
        if self._open_end:
            self._open_end.source = "rest"
        self._highest, self._time = place, time
        if is_live:
            self._go_on(place, time)
        elif self._next >= 0:
            self._next = place + 1
        return rows

    def _go_on(self, place: int, time: int) -> None:
        self._highest, self._time, self._next = place, time, place + 1
        self.is_covered, self._cause = True, None

    def _jumped(self, event: Any, place: int, time: int) -> list[Gap]:
        low = self._highest + 1
        hole, self._open_end = self._open_end, None
        is_told_of_an_interruption = hole is not None and event.source != "websocket"
        if hole is None:
            hole = Hole(low, low, low, self._time, self._cause or "id_jump")
        hole.low, hole.high, hole.end = low, place - 1, place - 1
        hole.connection_id = event.connection_id
        self._insert(hole)
        rows = [self._row(hole)]
        if is_told_of_an_interruption:  # REST's last trades do not end it, and they were missing as well
            self._highest, self._time = place - 1, time
            rows.append(self._open(time))
        return rows

    def _counts_anew(self, place: int, time: int) -> bool:
        is_newer = time > self._time + ANEW and not self._hole_at(place)
        if not is_newer and place >= self._highest - FAR:
            return False
        count, last, highest = self._far
        in_a_row = highest == self._highest and place > last
        self._far = (count + 1 if in_a_row else 1, place, self._highest)
        return self._far[0] >= FAR_TRADES

    def _began_anew(self, place: int, time: int) -> Gap:
        """What is lost with the old count; the ledger forgets its mark with it."""
        low = self._highest + 1
        hole, self._open_end = self._open_end or Hole(low, low, low, self._time, "id_jump"), None
        self._go_on(place, time)
        words = "the exchange counts its trades anew, so that nothing says what was traded meanwhile"
        return self._gap(hole, "lost", None, None, words)

    def outage(self, outage: Interruption) -> list[Gap]:
        self.is_covered, self._next = False, -1
        self._cause, self._reason = outage.cause, outage.reason
        if self._highest < 0:
            self._since = self._since or outage.since
            return []  # before the first trade nothing says what there was; REST may, see `anchor`
        return [self._open(outage.since)]

    @property
    def is_known(self) -> bool:
        """Whether any trade says how far the ids are."""
        return self._highest >= 0

    @property
    def _newest(self) -> int:
        return self._highest

    def anchor(self, trades: Sequence[Trade]) -> tuple[Trade | None, list[Gap]]:
        """Go on from the last of the trades that REST has, where none has come by itself, or from the last before an
        interruption. Gives that trade, none where it is not needed, and the gap of the interruption."""
        since = self._since - self._clock.lags.get(self._exchange, 0)
        before = [trade for trade in trades if not self._since or trade.event_time < since]
        if self.is_known or not self.is_wanted or not before:
            return None, []
        last = before[-1]
        self._highest, self._time = last.trade_id, last.event_time
        if self._cause:
            return last, [self._open(self._since)]
        self._next = last.trade_id + 1
        return last, []

    def left(self, at: int) -> list[Gap]:
        if self._open_end and self._highest < 0:  # it is from before the start: REST tells of it all the same
            self._highest, self._time = self._open_end.key - 1, self._open_end.event_time
        return super().left(at)

    def _open(self, since: int) -> Gap:
        cause = self._cause or "disconnect"
        if self._open_end is None:
            low = self._highest + 1
            self._open_end = Hole(low, low, low, self._time or since, cause)
        why = f"{_WHY[cause]} ({self._reason})" if self._reason else _WHY[cause]
        return self._gap(
            self._open_end, "open", None, None, f"{why}; what was traded meanwhile is asked for when it is back"
        )

    def restored(self, at: int) -> list[Gap]:
        self.is_covered = True
        if self._cause and self._open_end is None and self._highest >= 0:
            return [self._open(at)]  # so far REST has told of a part of the time
        return []

    def _settle_open_end(self, verdict: Gap) -> list[Gap]:
        hole = self._open_end
        if hole is None or hole.key != verdict.first_missing or verdict.updated_at != hole.updated_at:
            return []
        if verdict.status != "repaired" or not self.is_covered:
            return []
        self._cause, self._next = None, self._highest + 1
        return [self._nothing_open("rest")]

    def _nothing_open(self, shown_by: str) -> Gap:
        """Ends the open end: all that was traded meanwhile has come."""
        hole, self._open_end = self._open_end, None
        assert hole is not None  # noqa: S101 (its callers have looked)
        traded = max(self._highest - hole.key + 1, 0)
        hole.source = hole.source or shown_by
        what = f"the {traded} trades of that time were fetched by REST" if traded else "nothing was traded meanwhile"
        return self._gap(hole, "repaired", hole.key + traded - 1, 0, f"{_WHY[hole.cause]}; {what}")


class Klines(Series):
    """Closed klines by minute: all before `_due` have come, or lie in a hole, or were not wanted."""

    step = MINUTE

    def __init__(self, *names: Any) -> None:
        super().__init__(*names)
        self._due = self._since = 0
        self._came: set[int] = set()
        """Closed klines of minutes that are not judged yet."""
        self._outage: Interruption | None = None

    def start(self, at: int, mark: Watermark | None) -> list[Gap]:
        self._came.clear()
        self._since = at
        self._due = -(-at // MINUTE) * MINUTE
        if mark is not None:
            self._due = mark.place + MINUTE
            self._outage = Interruption(self._due, at, "service_stopped", "")
        return []

    def saw(self, event: Any) -> Sequence[Gap]:
        if event.received_at and event.published_at:
            self._clock.tell(self._exchange, event.published_at)
            self.is_covered = True
        if not event.is_closed:
            return ()
        if event.open_time >= self._due and self.is_wanted:
            self._came.add(event.open_time)
            if not self._holes:
                return ()
        self._clock.hear(event.received_at)
        return self._late(event.open_time, event.open_time + MINUTE, event.source)

    @property
    def _newest(self) -> int:
        return max(self._came, default=self._due - MINUTE)

    def judge(self, now: int) -> list[Gap]:
        """The minutes whose klines should have come by `now`, of our clock."""
        time = self._clock.time_of(self._exchange, now, self._since)
        if time is None:
            return []
        if self._due > time + STEP:  # the clock by which it was judged, or asked for, was wrong
            self._due = -(-time // MINUTE) * MINUTE
        until = min(time - MINUTE - KLINE_GRACE, self._due + MOST)
        changed: dict[Hole, None] = {}
        while self._due <= until:
            if self._due in self._came:
                self._came.discard(self._due)
            elif not self._hole_at(self._due):
                changed[self._missed(self._due)] = None
            self._due += MINUTE
        return [self._row(hole) for hole in changed]

    def _missed(self, minute: int) -> Hole:
        cause = self._cause_of(minute)
        last = self._hole_at(minute - MINUTE)
        if last and last.cause == cause:
            last.high = last.end = minute
            return last
        hole = Hole(minute, minute, minute, minute, cause)
        self._insert(hole)
        return hole

    def _cause_of(self, minute: int) -> GapCause:
        """Whether the closed kline fell into an interruption: it is sent when its minute ends."""
        outage, end = self._outage, minute + MINUTE
        if outage and outage.since < end + KLINE_GRACE and (outage.until is None or outage.until >= end):
            return outage.cause
        return "no_closed_kline"

    def _time_of(self, hole: Hole, place: int) -> int:  # noqa: ARG002
        return place

    def outage(self, outage: Interruption) -> list[Gap]:
        """Nothing is missing before the minute's end shows it."""
        self.is_covered = False
        if self._outage is None or self._outage.until is not None:
            self._outage = outage
        return []

    def restored(self, at: int) -> list[Gap]:
        if self._outage and self._outage.until is None:
            self._outage = self._outage._replace(until=at)
        return super().restored(at)


class Snapshots(Series):
    """Tickers and order books: only the time that nothing came can be told, and nobody can give it again."""

    def __init__(self, *names: Any) -> None:
        super().__init__(*names)
        self._time = 0

    def start(self, at: int, mark: Watermark | None) -> list[Gap]:
        self._time = mark.time if mark else 0
        if mark is None or self._open_end:
            return []
        return self.outage(Interruption(at, None, "service_stopped", ""))

    def saw(self, event: Any) -> Sequence[Gap]:
        self._time = event.event_time or event.received_at
        if self.is_covered:
            return ()
        self._clock.hear(event.received_at)
        self.is_covered = True
        return self._end()

    def _end(self) -> list[Gap]:
        hole, self._open_end = self._open_end, None
        if hole is None:
            return []
        end = max(self._time, hole.key)
        seconds = (end - hole.key) / 1_000_000
        return [self._gap(hole, "lost", end, None, f"{_WHY[hole.cause]}: {seconds:.1f} s that nobody can give again")]

    def outage(self, outage: Interruption) -> list[Gap]:
        self.is_covered = False
        if self._open_end:
            return []
        since = self._time or outage.since
        self._open_end = Hole(since, since, since, since, outage.cause)
        why = f"{_WHY[outage.cause]} ({outage.reason})" if outage.reason else _WHY[outage.cause]
        return [self._gap(self._open_end, "open", None, None, f"{why}; nobody can give this time again")]

    def restored(self, at: int) -> list[Gap]:  # noqa: ARG002
        return []  # the first event ends it

    def left(self, at: int) -> list[Gap]:
        super().left(at)
        self._time = max(self._time, at)
        return self._end()


KINDS: dict[str, type[Trades | Klines | Snapshots]] = {
    "trade": Trades, "kline_1m": Klines, "ticker": Snapshots, "depth5": Snapshots,
}  # fmt: skip
