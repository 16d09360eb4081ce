"""The made market: every trade, quote and order book as a function of (seed, symbol, time), at any point, in any order.

Trade ids are contiguous by construction. Taker orders (Binance's aggregate trades) are numbered from 0: minute m since
the opening holds those from A(m) = floor(R (m + u(m))) on, with u random in [0, 1]; order a holds the trades from
T(a) = floor(2.2 (a + v(a))) on, with v random in [0, 0.54), which makes one to four fills. Before its first start a
busy market trades at `HISTORY_RATE` alone, so that its history is quick to compute. What faults change (`calendar`) is
a shift of these numbers: minutes without trading do not count, ids never issued are added.

The price is fractional Brownian noise, octaves of value noise whose amplitude grows with the root of the period: a
factor common to all symbols, and an own one. Beside them stands what is `planted`: a lead-lag and anomalies.
"""

import math
import statistics
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from streaming.simulator import planted
from streaming.simulator.calendar import TRADING, Calendar
from streaming.simulator.instruments import Instrument, instrument, listed
from streaming.simulator.noise import Floats, Ints, Words, key, smooth, uniform, words
from streaming.simulator.planted import COMMON_VOLATILITY, LEAD_LAG, RECURRING, Anomaly, anomalies

MINUTE = planted.MINUTE
"""Microseconds."""
BOOK_CLOCK = 1_000
"""The book changes at most once a millisecond; each change counts one in its update id."""
FILLS_PER_ORDER = 2.2
_FILL_JITTER = 1.0 - 1.0 / FILLS_PER_ORDER
HISTORY_RATE = 2.0
"""The most that the busiest symbol trades in a second before the market's first start."""
_SHIFTS = np.arange(22, 43, 2)  # periods of 4 s, 17 s, … 51 days, in microseconds
_DAY = 86_400_000_000
_SEGMENTS = 20
_FIXED_POINT = 2.0**40
_ORDERS_AT_ONCE = 8192
"""Keeps the working set of the price's octaves in the processor's cache, and memory small in a busy minute."""


@dataclass(frozen=True)
class Trades:
    """Trades in id order, as columns. Times in microseconds, prices in ticks, quantities in steps."""

    id: Ints
    time: Ints
    price: Ints
    quantity: Ints
    buyer_is_maker: NDArray[np.bool_]
    order: Ints
    """The taker's order: Binance's aggregate trade id."""

    def __len__(self) -> int:
        return len(self.id)

    def __getitem__(self, part: slice) -> "Trades":
        return Trades(
            self.id[part], self.time[part], self.price[part],
            self.quantity[part], self.buyer_is_maker[part], self.order[part],
        )  # fmt: skip


@dataclass(frozen=True)
class Book:
    """The best levels, best first, as `(ticks, steps)`."""

    update_id: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class Market:
    """All symbols of one seed and rate since one opening (microseconds, a whole minute).

    It was started first at `started`, a whole minute too, from which on the rate holds.
    """

    def __init__(
        self,
        seed: int,
        opening: int,
        rate: float,
        started: int | None = None,
        calendars: dict[str, Calendar] | None = None,
        *,
        is_planted: bool = False,
    ) -> None:
        self.seed = seed
        self.opening = opening
        self.rate = rate
        self.started = opening if started is None else started
        self.calendars = {} if calendars is None else calendars
        """Of the symbols that a fault changed."""
        self.is_planted = is_planted
        """Whether it has what the module `planted` says."""
        self._tapes: dict[str, Tape] = {}

    def tape(self, symbol: str) -> "Tape | None":
        """The market of one symbol; none where it is no pair that could be listed."""
        tape = self._tapes.get(symbol)
        if tape is None:
            pair = instrument(symbol)
            if pair is None:
                return None
            calendar = self.calendars.get(symbol) or Calendar()
            tape = self._tapes[symbol] = Tape(
                self.seed, self.opening, self.rate, pair, self.started, calendar, is_planted=self.is_planted
            )
        return tape

    def change(self, symbol: str) -> Calendar:
        """The calendar of a symbol, to add to. Raises `KeyError` where it is no pair that could be listed."""
        tape = self.tape(symbol)
        if tape is None:
            raise KeyError(symbol)
        return self.calendars.setdefault(symbol, tape.calendar)

    def statuses(self, now: int) -> dict[str, str]:
        """What `exchangeInfo` says of each symbol that it knows of; empty of those that are not listed now."""
        minute = (now - self.opening) // MINUTE
        known = dict.fromkeys(listed(), TRADING)
        return known | {symbol: calendar.status(minute) for symbol, calendar in self.calendars.items()}

    def listed(self, now: int) -> list[str]:
        """The symbols that are named when it is asked for all."""
        return [symbol for symbol, status in self.statuses(now).items() if status]


class Tape:
    """One symbol's market. Nothing here depends on what was asked before."""

    def __init__(
        self,
        seed: int,
        opening: int,
        rate: float,
        pair: Instrument,
        started: int,
        calendar: Calendar,
        *,
        is_planted: bool = False,
    ) -> None:
        self.instrument = pair
        self._seed = seed
        self.opening = opening
        self.calendar = calendar
        self._orders_per_minute = rate * 60.0 * pair.liquidity / FILLS_PER_ORDER
        self._orders_before_start = min(rate, HISTORY_RATE) * 60.0 * pair.liquidity / FILLS_PER_ORDER
        self._start = (started - opening) // MINUTE
        self._keys = {
            name: key(seed, pair.symbol, name)
            for name in ("burst", "quiet", "fills", "pace", "jitter", "side", "quantity", "spread", "gap", "size")
        }
        octaves = range(len(_SHIFTS))
        names = [key(seed, "market", octave) for octave in octaves] + [
            key(seed, pair.symbol, "own", octave) for octave in octaves
        ]
        self._streams: Words = np.array(names, dtype=np.uint64)
        self._shifts: Ints = np.concatenate([_SHIFTS, _SHIFTS])
        roots = np.array([math.sqrt(2.0 ** int(shift) / _DAY) for shift in _SHIFTS])
        daily = [roots * COMMON_VOLATILITY * pair.beta, roots * pair.volatility]
        self._amplitudes: Floats = np.concatenate(daily).reshape(-1, 1) * _FIXED_POINT
        self._base_ticks = pair.price * 10.0**pair.price_decimals
        self._has_anomalies = is_planted and any(one.symbol == pair.symbol for one in RECURRING)
        self._leader: Words | None = None
        leader = instrument(LEAD_LAG.leader)
        if is_planted and leader and pair.symbol == LEAD_LAG.follower:
            self._leader = np.array([key(seed, leader.symbol, "own", octave) for octave in octaves], dtype=np.uint64)
            self._led: Floats = (roots * leader.volatility * LEAD_LAG.weight).reshape(-1, 1) * _FIXED_POINT

    @cached_property
    def _quantities(self) -> Ints:
        """Lognormal quantities in steps, 4096 quantiles: a table, as `exp` may round differently by array length."""
        pair = self.instrument
        typical = pair.typical_value / pair.price * 10.0**pair.quantity_decimals
        normal = statistics.NormalDist(0.0, 1.4)
        quantiles = [normal.inv_cdf((number + 0.5) / 4096) for number in range(4096)]
        return np.array([max(1, round(typical * math.exp(value))) for value in quantiles], dtype=np.int64)

    # --- numbering

    def _orders_before(self, minutes: Ints) -> Ints:
        """A(m). A quiet minute m has u(m) = 1 and u(m + 1) = 0; never two in a row."""
        minutes = self.calendar.trading(minutes)
        share = self.instrument.quiet_share
        stream = self._keys["quiet"]
        drawn = [uniform(stream, minutes - back) < share for back in (0, 1, 2)]
        was_quiet = drawn[1] & ~drawn[2]
        jitter = np.where(drawn[0] & ~drawn[1], 1.0, uniform(self._keys["burst"], minutes))
        jitter = np.where(was_quiet | (minutes <= 0), 0.0, jitter)
        place, start = np.maximum(minutes, 0) + jitter, self._trading_start()
        slow, fast = np.minimum(place, start), np.maximum(place - start, 0.0)
        counted = self._orders_before_start * slow + self._orders_per_minute * fast
        orders: Ints = np.floor(counted).astype(np.int64)
        return orders

    def _trading_start(self) -> int:
        """The first start, in minutes of trading."""
        return int(self.calendar.trading(np.array([self._start]))[0])

    def _trades_before(self, orders: Ints) -> Ints:
        """T(a)."""
        jitter = np.where(orders <= 0, 0.0, uniform(self._keys["fills"], orders) * _FILL_JITTER)
        trades: Ints = np.floor(FILLS_PER_ORDER * (np.maximum(orders, 0) + jitter)).astype(np.int64)
        return trades

    def orders_before(self, minute: int) -> int:
        """How many taker orders came before minute `minute` of the market: the number of its first one."""
        return int(self._orders_before(np.array([minute]))[0])

    def _first_ids(self, orders: Ints) -> Ints:
        ids: Ints = self._trades_before(orders) + 1 + self.calendar.skipped(orders)
        return ids

    def first_id(self, order: int) -> int:
        """The id of the first trade of a taker order. Ids start at 1."""
        return int(self._first_ids(np.array([order]))[0])

    def first_ids(self, start: int, end: int) -> Ints:
        """The first trade id of each minute of [start, end], the end included."""
        return self._first_ids(self._orders_before(np.arange(start, end + 1)))

    def trades_before(self, start: int, end: int) -> Ints:
        """How many trades came before each minute of [start, end], the end included: differences are counts."""
        return self._trades_before(self._orders_before(np.arange(start, end + 1)))

    def order_of(self, trade_id: int) -> int:
        """The taker order that a trade belongs to; of an id never issued, the next one."""
        index, following = trade_id - 1, None
        for order, skipped in self.calendar.skips:
            if trade_id < self.first_id(order):
                following = order
                break
            index -= skipped
        index = max(index, 0)
        near = max(int(index / FILLS_PER_ORDER) - 2, 0)
        candidates = np.arange(near, near + 5)
        order = near + int(np.searchsorted(self._trades_before(candidates), index, side="right")) - 1
        return order if following is None else min(order, following)

    def minute_of_order(self, order: int) -> int:
        """The minute since the opening in which a taker order came."""
        start = self._trading_start()
        early = self._orders_before_start * start
        if order < early:
            place = order / self._orders_before_start
        else:
            place = start + (order - early) / self._orders_per_minute
        spare = math.ceil(1.0 / min(self._orders_before_start, self._orders_per_minute))  # a thin symbol: one in hours
        low, high = max(math.floor(place) - 2 - spare, 0), math.ceil(place) + 2 + spare
        minutes = np.array([self.calendar.minute(minute) for minute in range(low, high)])
        return int(minutes[np.searchsorted(self._orders_before(minutes), order, side="right") - 1])

    def minute_of(self, time: int) -> int:
        """The minute since the opening that `time` is in; negative before the opening."""
        return (time - self.opening) // MINUTE

    def minute_of_times(self, times: Ints) -> Ints:
        """`minute_of` for many."""
        return (times - self.opening) // MINUTE

    def is_open(self, minutes: Ints) -> NDArray[np.bool_]:
        """Whether each minute has a candle: trading may have been halted."""
        return self.calendar.is_open(minutes)

    def next_open(self, minute: int) -> int:
        """The first minute from this one on that has a candle."""
        closure = self.calendar.closure(minute)
        return closure.end if closure else minute

    def minute_start(self, minute: int) -> int:
        """When a minute of the market begins."""
        return self.opening + minute * MINUTE

    def order_at(self, time: int) -> int:
        """The first taker order at `time` or later: all before it came earlier."""
        minute = self.minute_of(time)
        if minute < 0:
            return 0
        low, high = self.orders_before(minute), self.orders_before(minute + 1)
        while high > low:
            stride = max((high - low) // 1024, 1)
            samples = np.arange(low, high, stride)
            earlier = int(np.searchsorted(self._order_times(samples, minute, minute + 1), time, side="left"))
            if stride == 1:
                return low + earlier
            if earlier == 0:
                return low
            low, high = int(samples[earlier - 1]), min(int(samples[earlier - 1]) + stride, high)
            if high - low == 1:
                return low + 1
        return low

    def id_at(self, time: int) -> int:
        """The id of the first trade at `time` or later: `id_at(now + 1) - 1` is the last trade until now."""
        return self.first_id(self.order_at(time))

    # --- prices

    def quote(self, times: Ints) -> tuple[Ints, Ints, Floats]:
        """Best bid and ask in ticks, and in [-1, 1] how the price is about to move."""
        clock = times - times % BOOK_CLOCK
        unusual = self._anomalies_of(clock)
        for one in unusual:
            if one.kind == "frozen_price":
                clock = np.where(one.holds(clock), one.start, clock)
        values, steps = smooth(self._streams, self._shifts, clock)
        sums = np.rint(values * self._amplitudes).astype(np.int64).sum(axis=0)
        if self._leader is not None:
            before, _ = smooth(self._leader, _SHIFTS, clock - LEAD_LAG.minutes * MINUTE)
            sums = sums + np.rint(before * self._led).astype(np.int64).sum(axis=0)
        moved = sums.astype(np.float64) / _FIXED_POINT
        middle = self._base_ticks * (1.0 + moved + moved * moved / 2.0)  # exp(moved) to second order: never negative
        if self.calendar.relistings:
            middle = middle * self.calendar.price_factor(self.minute_of_times(clock))
        drawn = uniform(self._keys["spread"], clock // 500_000)
        drawn = drawn * drawn
        drawn = drawn * drawn
        spread = 1 + (drawn * drawn * self._base_ticks * 2e-5).astype(np.int64)
        for one in unusual:
            if one.kind == "price_jump":
                left = (one.end - clock) / float(one.end - one.start)
                middle = np.where(one.holds(clock), middle * (1.0 + one.size * left), middle)
            elif one.kind == "wide_spread":
                spread = spread + np.where(one.holds(clock), int(one.size * self._base_ticks), 0)
        bid = np.maximum(np.floor(middle - spread / 2.0).astype(np.int64), 1)
        half = len(_SHIFTS)
        trend = (steps[1] + steps[2] + steps[half] + steps[half + 1]) / 8.0
        return bid, bid + spread, trend

    def _anomalies_of(self, times: Ints) -> list[Anomaly]:
        if not self._has_anomalies:
            return []
        return anomalies(self._seed, self.opening, self.instrument.symbol, int(times.min()), int(times.max()) + 1)

    def book(self, time: int, levels: int) -> Book:
        """The order book at `time`; sizes stay with their price for a while, as resting orders do."""
        moment = np.array([time])
        bid, ask, _ = self.quote(moment)
        sides = []
        for side, best, direction in ((0, int(bid[0]), -1), (1, int(ask[0]), 1)):
            index = np.arange(1, levels) + 1000 * (2 * (time // 2_000_000) + side)
            gap = uniform(self._keys["gap"], index)
            gaps = 1 + (gap * gap * gap * max(self._base_ticks * 2e-5, 3.0)).astype(np.int64)
            prices = best + direction * np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(gaps)])
            prices = prices[prices > 0]
            drawn = words(self._keys["size"] ^ side, prices * 65_536 + (time // 700_000) % 65_536)
            sizes = 2 * self._quantities[(drawn >> np.uint64(52)).astype(np.int64)]
            sides.append(list(zip(prices.tolist(), sizes.tolist(), strict=True)))
        return Book(self.update_id(time), sides[0], sides[1])

    def update_id(self, time: int) -> int:
        """The book's update id at `time`: rises with the time, and equal ids mean equal books at the top."""
        return max((time - self.opening) // BOOK_CLOCK, 0) + 1

    # --- trades

    def _order_times(self, orders: Ints, start: int, end: int) -> Ints:
        """When taker orders came, which lie within the minutes [start, end). Rises with the order.

        The k-th of n in a minute lies in the k-th n-th of a clock that runs fast and slow, so that they cluster.
        """
        edges = self._orders_before(np.arange(start, end + 1))
        row = np.searchsorted(edges, orders, side="right") - 1
        place = orders - edges[row]
        count = edges[row + 1] - edges[row]
        index = np.arange(start, end).reshape(-1, 1) * _SEGMENTS + np.arange(_SEGMENTS)
        pace = uniform(self._keys["pace"], index)
        clock = np.cumsum(0.04 + pace * pace * pace, axis=1)
        clock = np.concatenate([np.zeros((end - start, 1)), clock / clock[:, -1:]], axis=1)
        spot = (place + uniform(self._keys["jitter"], orders)) / count * _SEGMENTS
        segment = np.minimum(spot.astype(np.int64), _SEGMENTS - 1)
        begin = clock[row, segment]
        share = begin + (spot - segment) * (clock[row, segment + 1] - begin)
        inside = np.clip((share * MINUTE).astype(np.int64), 0, MINUTE - 1)
        times: Ints = self.opening + (start + row) * MINUTE + inside
        return times

    def trades_of_orders(self, start: int, end: int) -> Trades:
        """All trades of the taker orders [start, end)."""
        if end - start > _ORDERS_AT_ONCE:
            begins = range(start, end, _ORDERS_AT_ONCE)
            return _joined([self.trades_of_orders(begin, min(begin + _ORDERS_AT_ONCE, end)) for begin in begins])
        if end <= start:
            none = np.zeros(0, dtype=np.int64)
            return Trades(none, none, none, none, none.astype(np.bool_), none)
        orders = np.arange(start, end)
        times = self._order_times(orders, self.minute_of_order(start), self.minute_of_order(end - 1) + 1)
        bid, ask, trend = self.quote(times)
        is_buy = uniform(self._keys["side"], orders) < 0.5 + 0.4 * trend
        unusual = self._anomalies_of(times)
        for one in unusual:
            if one.kind == "frozen_price":
                is_buy = is_buy | one.holds(times)
        prices = np.where(is_buy, ask, bid)
        edges = self._trades_before(np.arange(start, end + 1))
        fills = np.diff(edges)
        numbers = np.arange(edges[0], edges[-1]) + 1
        drawn = words(self._keys["quantity"], numbers)
        quantities = self._quantities[(drawn >> np.uint64(52)).astype(np.int64)]
        for one in unusual:
            if one.kind == "volume_burst":
                quantities = np.where(np.repeat(one.holds(times), fills), quantities * int(one.size), quantities)
        return Trades(
            id=numbers + np.repeat(self.calendar.skipped(orders), fills) if self.calendar.skips else numbers,
            time=np.repeat(times, fills),
            price=np.repeat(prices, fills),
            quantity=quantities,
            buyer_is_maker=np.repeat(~is_buy, fills),
            order=np.repeat(orders, fills),
        )

    def trades_of_minutes(self, start: int, end: int) -> Trades:
        """All trades of the minutes [start, end)."""
        return self.trades_of_orders(self.orders_before(start), self.orders_before(end))

    def trades(self, first: int, last: int) -> Trades:
        """The trades with ids [first, last], both included; ids below 1, or never issued, are none."""
        first = max(first, 1)
        if last < first:
            return self.trades_of_orders(0, 0)
        found = self.trades_of_orders(self.order_of(first), self.order_of(last) + 1)
        begin, end = np.searchsorted(found.id, [first, last + 1])
        return found[int(begin) : int(end)]

    def trades_from(self, first: int, count: int) -> Trades:
        """So many trades from id `first` on."""
        if not self.calendar.skips:
            return self.trades(max(first, 1), max(first, 1) + count - 1)
        order = self.order_of(max(first, 1))
        found = self.trades_of_orders(order, order + count + 1)
        begin = int(np.searchsorted(found.id, first))
        return found[begin : begin + count]

    def price_before(self, trade_id: int) -> int:
        """The price, in ticks, that stood before a trade: the trade's before it, or the bid at the opening."""
        order = self.order_of(trade_id)
        before = self.trades_of_orders(max(order - 1, 0), order + 1)
        place = int(np.searchsorted(before.id, trade_id))
        return int(before.price[place - 1]) if place else int(self.quote(np.array([self.opening]))[0][0])


def _joined(parts: list[Trades]) -> Trades:
    return Trades(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(Trades)))
