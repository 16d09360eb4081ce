"""Candles of trades, in whole ticks and steps, so that every sum is exact."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from streaming.simulator.instruments import Instrument
from streaming.simulator.market import Trades
from streaming.simulator.noise import Ints

_TRADES_AT_ONCE = 50_000


class TradeTape(Protocol):
    """What candles and REST ask of one symbol's trades, made or recorded. `market.Tape` says what each is."""

    instrument: Instrument
    opening: int

    def is_open(self, minutes: Ints) -> NDArray[np.bool_]: ...
    def next_open(self, minute: int) -> int: ...
    def minute_of(self, time: int) -> int: ...
    def minute_start(self, minute: int) -> int: ...
    def order_at(self, time: int) -> int: ...
    def id_at(self, time: int) -> int: ...
    def trades(self, first: int, last: int) -> Trades: ...
    def trades_from(self, first: int, count: int) -> Trades: ...
    def trades_of_orders(self, start: int, end: int) -> Trades: ...
    def trades_before(self, start: int, end: int) -> Ints: ...
    def trades_of_minutes(self, start: int, end: int) -> Trades: ...
    def price_before(self, trade_id: int) -> int: ...


class Candle(NamedTuple):
    """Open, high, low, close in ticks; volumes in steps; quote volumes in ticks times steps."""

    open: int
    high: int
    low: int
    close: int
    volume: int
    quote: int
    taker_buy_volume: int
    taker_buy_quote: int
    trades: int
    """How many."""
    first_id: int
    """-1 where nothing traded, as Binance writes it; then the prices are the previous close."""
    last_id: int


@dataclass(frozen=True)
class Candles:
    """One candle a minute, as columns; `minute` counts from the market's opening."""

    minute: Ints
    values: Ints
    """A row a minute, in the order of `Candle`'s fields."""

    @classmethod
    def of(cls, minute: int, bar: Candle) -> "Candles":
        """A single one."""
        return cls(np.array([minute]), np.array([bar]))

    def __len__(self) -> int:
        return len(self.minute)

    def __getitem__(self, part: slice | NDArray[np.bool_]) -> "Candles":
        return Candles(self.minute[part], self.values[part])

    def rows(self) -> list[Candle]:
        """The candles one by one."""
        return [Candle(*row) for row in self.values.tolist()]

    def then(self, later: "Candles") -> "Candles":
        """These and the ones that follow them."""
        return Candles(np.concatenate([self.minute, later.minute]), np.concatenate([self.values, later.values]))

    def whole(self) -> Candle:
        """One candle of them all (at least one)."""
        traded = self.values[self.values[:, 8] > 0]
        if not len(traded):
            return Candle(*self.values[0].tolist())
        # A day's quote volume may pass 2^63: Python's integers sum it.
        sums = [sum(traded[:, column].tolist()) for column in (4, 5, 6, 7, 8)]
        prices = [traded[0, 0], traded[:, 1].max(), traded[:, 2].min(), traded[-1, 3]]
        return Candle._make([*map(int, prices), *sums, int(traded[0, 9]), int(traded[-1, 10])])


def flat(price: int) -> Candle:
    """The candle of a time without a trade: the price that stood before it."""
    return Candle(price, price, price, price, 0, 0, 0, 0, 0, -1, -1)


def candle(trades: Trades) -> Candle:
    """The candle of trades in id order (at least one)."""
    quote = trades.price * trades.quantity
    bought = ~trades.buyer_is_maker
    return Candle(
        int(trades.price[0]), int(trades.price.max()), int(trades.price.min()), int(trades.price[-1]),
        int(trades.quantity.sum()), int(quote.sum()),
        int(trades.quantity[bought].sum()), int(quote[bought].sum()),
        len(trades), int(trades.id[0]), int(trades.id[-1]),
    )  # fmt: skip


def merged(candles: Iterable[Candle]) -> Candle:
    """One candle of several in time order (at least one); those without a trade add nothing."""
    every = list(candles)
    traded = [part for part in every if part.trades]
    if not traded:
        return every[0]
    return Candle(
        traded[0].open,
        max(part.high for part in traded),
        min(part.low for part in traded),
        traded[-1].close,
        sum(part.volume for part in traded),
        sum(part.quote for part in traded),
        sum(part.taker_buy_volume for part in traded),
        sum(part.taker_buy_quote for part in traded),
        sum(part.trades for part in traded),
        traded[0].first_id,
        traded[-1].last_id,
    )


def minute_candles(tape: TradeTape, start: int, end: int) -> Candles:
    """The candles of the whole minutes [start, end), both not before the opening, from all their trades."""
    minutes = np.arange(start, end)
    edges = tape.trades_before(start, end)
    trades = tape.trades_of_minutes(start, end)
    counts = np.diff(edges)
    values = np.zeros((len(minutes), len(Candle._fields)), dtype=np.int64)
    traded = counts > 0
    if len(trades):
        begins = (edges[:-1] - edges[0])[traded]
        quote = trades.price * trades.quantity
        bought = ~trades.buyer_is_maker
        values[traded, 0] = trades.price[begins]
        values[traded, 1] = np.maximum.reduceat(trades.price, begins)
        values[traded, 2] = np.minimum.reduceat(trades.price, begins)
        values[traded, 3] = trades.price[begins + counts[traded] - 1]
        for column, series in enumerate((trades.quantity, quote, trades.quantity * bought, quote * bought), start=4):
            values[traded, column] = np.add.reduceat(series, begins)
        values[traded, 9] = trades.id[begins]
        values[traded, 10] = trades.id[begins + counts[traded] - 1]
    values[:, 8] = counts
    values[~traded, 9:] = -1
    if not traded.all():
        _fill_quiet(values, traded, tape.price_before(tape.id_at(tape.minute_start(start))))
    return Candles(minutes, values)


def _fill_quiet(values: Ints, traded: NDArray[np.bool_], price: int) -> None:
    for row, has_trades in enumerate(traded):
        if has_trades:
            price = int(values[row, 3])
        else:
            values[row, 0:4] = price


def open_candle(tape: TradeTape, minute: int, now: int) -> Candle:
    """The candle of an unfinished minute from its trades until `now`, included."""
    first = tape.id_at(tape.minute_start(minute))
    trades = tape.trades(first, tape.id_at(now + 1) - 1)
    return candle(trades) if len(trades) else flat(tape.price_before(first))


def spans(tape: TradeTape, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The minutes [start, end) cut into parts whose candles are quick to compute."""
    if end <= start:
        return
    edges = tape.trades_before(start, end)
    begin = 0
    while begin < end - start:
        until = int(np.searchsorted(edges, edges[begin] + _TRADES_AT_ONCE))
        until = min(max(until, begin + 1), end - start)
        yield start + begin, start + until
        begin = until
