"""The rolling 24 hours of a symbol, exact to the trade: first id, last id and count always agree."""

import asyncio
from typing import NamedTuple

import numpy as np

from streaming.simulator.candles import Candle, Candles, candle, merged, minute_candles, spans
from streaming.simulator.market import Book, Tape, Trades

DAY = 86_400_000_000


class Statistics(NamedTuple):
    """The 24 hours `[open_time, close_time]` (microseconds), and the top of the book at their end."""

    open_time: int
    close_time: int
    candle: Candle
    last_quantity: int
    """Steps; 0 where nothing has ever traded."""
    previous_close: int
    """The last price before the window, in ticks."""
    book: Book


class RollingDay:
    """Keeps the candles of a symbol's last day of whole minutes, so that a further second costs only the new trades."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._body = minute_candles(tape, 0, 0)
        self._whole: tuple[int, int, Candle | None] = (0, 0, None)
        self._edges = (-1, -1, 0, 0)
        """First id, last id, the price before the first, the quantity of the last."""
        self._head: tuple[int, Trades] = (-1, tape.trades_of_orders(0, 0))

    def is_warm(self, now: int) -> bool:
        """Whether `statistics` answers at once: at most the last few minutes are missing."""
        start, end = self._minutes(now)
        return start >= end or (len(self._body) > 0 and self._known_until >= end - 3)

    async def warm(self, now: int) -> None:
        """Computes what is missing in small parts, letting others run between them."""
        start, end = self._minutes(now)
        for begin, until in list(spans(self._tape, max(start, self._known_until), end)):
            self._extend(begin, until)
            await asyncio.sleep(0)

    def add(self, minute: int, bar: Candle) -> None:
        """Takes the candle of a minute that has closed, so that it need not be computed again."""
        if minute == self._known_until:
            self._body = self._body.then(Candles.of(minute, bar))

    def statistics(self, now: int, current: Candle) -> Statistics:
        """The day until `now`, given the candle of the unfinished minute."""
        start, end = self._minutes(now)
        if self._known_until < end:
            self._extend(max(start, self._known_until), end)
        if len(self._body) and self._body.minute[0] < start:
            self._body = self._body[start - int(self._body.minute[0]) :]
        whole = self._whole
        if whole[:2] != (start, end):
            whole = self._whole = (start, end, self._body.whole() if len(self._body) else None)
        tape = self._tape
        parts = [self._first_minute(start - 1, now - DAY), whole[2], current]
        day = merged([part for part in parts if part is not None])
        last = day.last_id if day.trades else tape.id_at(now + 1) - 1
        first = day.first_id if day.trades else last + 1
        if self._edges[:2] != (first, last):
            trades = tape.trades(last, last)
            self._edges = (first, last, tape.price_before(first), int(trades.quantity[0]) if len(trades) else 0)
        return Statistics(
            open_time=now - DAY,
            close_time=now,
            candle=day,
            last_quantity=self._edges[3],
            previous_close=self._edges[2],
            book=tape.book(now, 5),
        )

    @property
    def _known_until(self) -> int:
        return int(self._body.minute[-1]) + 1 if len(self._body) else 0

    def _minutes(self, now: int) -> tuple[int, int]:
        """The whole minutes inside the window, without the unfinished one."""
        return max(self._tape.minute_of(now - DAY) + 1, 0), max(self._tape.minute_of(now), 0)

    def _extend(self, start: int, end: int) -> None:
        added = minute_candles(self._tape, start, end)
        self._body = self._body.then(added) if start == self._known_until else added

    def _first_minute(self, minute: int, since: int) -> Candle | None:
        """The part of the window's first minute that is still inside."""
        if minute < 0:
            return None
        if self._head[0] != minute:
            self._head = (minute, self._tape.trades_of_minutes(minute, minute + 1))
        trades = self._head[1]
        inside = trades[int(np.searchsorted(trades.time, since)) :]
        return candle(inside) if len(inside) else None
