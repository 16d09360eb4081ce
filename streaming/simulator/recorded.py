"""The recorded trades of one symbol, asked like a made market, so that REST tells of a replay what it streams."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from streaming.simulator.instruments import Instrument
from streaming.simulator.market import MINUTE, Trades
from streaming.simulator.noise import Ints
from streaming.simulator.truth import TradeRow


class RecordedTape:
    """Trades in id order. Its minutes count from the first whole one, as only of those the candle is known."""

    def __init__(self, symbol: str, rows: Sequence[TradeRow]) -> None:
        prices, quantities = [Decimal(row.price) for row in rows], [Decimal(row.quantity) for row in rows]
        price_decimals, quantity_decimals = _decimals(prices), _decimals(quantities)
        self.instrument = Instrument(
            symbol, "", "", float(prices[0]), price_decimals, quantity_decimals, liquidity=1.0, beta=0.0, volatility=0.0
        )
        time = np.array([row.time for row in rows])
        price = np.array([int(value.scaleb(price_decimals)) for value in prices])
        is_maker = np.array([row.is_buyer_maker for row in rows])
        # What an order filled at once at one price: the recording does not say Binance's own numbers of them.
        begins = (np.diff(time) != 0) | (np.diff(price) != 0) | (np.diff(is_maker.astype(np.int64)) != 0)
        self._trades = Trades(
            id=np.array([row.trade_id for row in rows]),
            time=time,
            price=price,
            quantity=np.array([int(value.scaleb(quantity_decimals)) for value in quantities]),
            buyer_is_maker=is_maker,
            order=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(begins)]),
        )
        self._times: Ints = np.maximum.accumulate(time)
        self.opening = -(-int(time[0]) // MINUTE) * MINUTE

    def is_open(self, minutes: Ints) -> NDArray[np.bool_]:
        """Whether each minute has a candle."""
        return np.ones(len(minutes), dtype=np.bool_)

    def next_open(self, minute: int) -> int:
        return minute

    def minute_of(self, time: int) -> int:
        return (time - self.opening) // MINUTE

    def minute_start(self, minute: int) -> int:
        return self.opening + minute * MINUTE

    def order_at(self, time: int) -> int:
        """The first order at `time` or later."""
        place = int(np.searchsorted(self._times, time))
        return int(self._trades.order[place]) if place < len(self._trades) else int(self._trades.order[-1]) + 1

    def id_at(self, time: int) -> int:
        """The id of the first trade at `time` or later."""
        place = int(np.searchsorted(self._times, time))
        return int(self._trades.id[place]) if place < len(self._trades) else int(self._trades.id[-1]) + 1

    def trades(self, first: int, last: int) -> Trades:
        """The trades with ids [first, last]."""
        begin, end = np.searchsorted(self._trades.id, [first, last + 1])
        return self._trades[int(begin) : int(end)]

    def trades_from(self, first: int, count: int) -> Trades:
        """So many trades from id `first` on."""
        begin = int(np.searchsorted(self._trades.id, first))
        return self._trades[begin : begin + count]

    def trades_of_orders(self, start: int, end: int) -> Trades:
        begin, until = np.searchsorted(self._trades.order, [start, end])
        return self._trades[int(begin) : int(until)]

    def trades_before(self, start: int, end: int) -> Ints:
        """How many trades came before each minute of [start, end]."""
        counts: Ints = np.searchsorted(self._times, self.opening + np.arange(start, end + 1) * MINUTE)
        return counts

    def trades_of_minutes(self, start: int, end: int) -> Trades:
        begin, until = self.trades_before(start, end)[[0, -1]].tolist()
        return self._trades[begin:until]

    def price_before(self, trade_id: int) -> int:
        """The price, in ticks, that stood before a trade."""
        place = int(np.searchsorted(self._trades.id, trade_id))
        return int(self._trades.price[max(place - 1, 0)])


def _decimals(values: Sequence[Decimal]) -> int:
    """How many places after the point they need."""
    exponents = [value.normalize().as_tuple().exponent for value in values]
    return max(0, *(-exponent for exponent in exponents if isinstance(exponent, int)))
