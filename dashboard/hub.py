"""What streams now, in memory: the last minutes, trades, book and price of each symbol. Bounded, however long it runs.

All of it belongs to the event loop; the feed's thread hands its events over to it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from dashboard.bars import MINUTE, Bar, bucket, extended, length, rolled_up
from shared.events import AnyEvent, DepthSnapshot, Kline, Ticker, Trade

MINUTES_KEPT = 90
"""The lake is behind by one or two; beyond this, the page says that it is."""
TRADES_SHOWN = 40
TAIL = 4096
"""Trades of one minute that are newer than its last kline. Where no klines come, more are added up, and all of them as
soon as the minute after the next begins: else 5,000 trades a second, without klines, are a gigabyte in ten minutes."""

Key = tuple[str, str]
"""Exchange and symbol."""


@dataclass(frozen=True)
class LakeDay:
    """What the lake knows of a symbol's present day: its whole hours, and the closed minutes after them, in order."""

    hours: tuple[Bar, ...] = ()
    minutes: tuple[Bar, ...] = ()
    hours_until: int = 0
    """The end of the newest whole hour that the lake has of the exchange, in microseconds."""
    until: int = 0
    """The end of the newest closed minute that the lake has of the exchange; 0: there is none."""


class LiveMinute:
    """A minute in the making: the exchange's own candle so far, and the trades since."""

    __slots__ = ("_base", "_last_id", "_tail", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self._base: Bar | None = None
        self._last_id = -1
        self._tail: deque[Trade] = deque()

    @property
    def is_told(self) -> bool:
        """Has the exchange said that it is over?"""
        return self._base is not None and self._base.is_closed

    def add_trade(self, trade: Trade) -> None:
        """Take in a trade, unless the kline that came has it already."""
        if self.is_told or trade.trade_id <= self._last_id:
            return
        if self._tail and trade.trade_id <= self._tail[-1].trade_id:
            return
        self._tail.append(trade)
        if len(self._tail) > TAIL:
            self.add_up()

    def add_up(self) -> None:
        """Keep what the trades since the last kline come to, instead of them."""
        if self._tail:
            self._base = self.bar(is_closed=False)
            self._last_id = self._tail[-1].trade_id
            self._tail.clear()

    def add_kline(self, kline: Kline) -> None:
        """The exchange's candle replaces what it covers; an older state of it changes nothing."""
        last = kline.last_trade_id if kline.last_trade_id is not None else -1
        if not kline.is_closed and (self.is_told or last < self._last_id):
            return
        self._last_id = max(last, self._last_id)
        while self._tail and (kline.is_closed or self._tail[0].trade_id <= last):
            self._tail.popleft()
        self._base = Bar(
            kline.open_time, kline.open, kline.high, kline.low, kline.close, kline.volume, kline.quote_volume,
            kline.trade_count, kline.is_closed,
        )  # fmt: skip

    def bar(self, *, is_closed: bool) -> Bar | None:
        """The candle so far; none where nothing traded."""
        made = self._base if self._base is not None and self._base.trade_count else None
        for trade in self._tail:
            one = Bar(
                self.start, trade.price, trade.price, trade.price, trade.price, trade.quantity, trade.quote_quantity,
                1, False,
            )  # fmt: skip
            made = extended(made, one) if made else one
        return made and made._replace(is_closed=is_closed or self.is_told)


class Market:
    """One symbol at one exchange."""

    def __init__(self, base_asset: str, quote_asset: str) -> None:
        self.base_asset = base_asset
        self.quote_asset = quote_asset
        self.price: Decimal | None = None
        self.price_at = 0
        self.ticker: Ticker | None = None
        self.book: DepthSnapshot | None = None
        self.trades: deque[Trade] = deque(maxlen=TRADES_SHOWN)
        self.version = 0
        """Counts up with each event."""
        self._minutes: dict[int, LiveMinute] = {}
        self._closed: dict[int, Bar] = {}
        self.lake = LakeDay()

    def take(self, event: AnyEvent) -> None:
        """Take in what happened."""
        self.version += 1
        match event:
            case Trade():
                if self.trades and event.trade_id <= self.trades[-1].trade_id:
                    return  # a repaired trade, or one that came twice: the lake has its place
                self.trades.append(event)
                self._moved(event.price, event.event_time)
                self._minute(bucket(event.event_time, MINUTE), lambda minute: minute.add_trade(event))
            case Kline() if event.interval == "1m":
                if event.trade_count:
                    self._moved(event.close, event.event_time)
                self._minute(event.open_time, lambda minute: minute.add_kline(event))
            case Ticker():
                self.ticker = event
                self._moved(event.last_price, event.event_time)
            case DepthSnapshot():
                self.book = event

    def _moved(self, price: Decimal, at: int) -> None:
        if at >= self.price_at:
            self.price, self.price_at = price, at

    def _minute(self, start: int, change: Callable[[LiveMinute], None]) -> None:
        newest = max(self._minutes, default=start)
        if start <= newest - MINUTES_KEPT * MINUTE:
            return
        if start > newest:
            for at in self._minutes:
                if at < newest:
                    self._minutes[at].add_up()
        minute = self._minutes.setdefault(start, LiveMinute(start))
        self._closed.pop(start, None)
        change(minute)
        for old in [at for at in self._minutes if at <= max(newest, start) - MINUTES_KEPT * MINUTE]:
            del self._minutes[old]
            self._closed.pop(old, None)

    def minutes(self) -> list[Bar]:
        """The minutes in memory in which something traded, in order; all but the newest are over."""
        made: list[Bar] = []
        newest = max(self._minutes, default=0)
        for start in sorted(self._minutes):
            bar = self._closed.get(start)
            if bar is None:
                is_over = start < newest
                bar = self._minutes[start].bar(is_closed=is_over)
                if bar is not None and bar.is_closed:
                    self._closed[start] = bar
            if bar is not None:
                made.append(bar)
        return made

    def bars(self, interval: str) -> list[Bar]:
        """The bars of a timeframe that memory tells whole, in order: the open one, and closed ones before it.

        A longer one is made of the lake's minutes of it and of those that came since. Where some lie between that
        neither has, the bar is left out.
        """
        minutes = self.minutes()
        if interval == "1m":
            return minutes
        if not minutes:
            return []
        span = length(interval)
        newest = max(self._minutes)
        over_at = newest + (MINUTE if self._minutes[newest].is_told else 0)
        known_from = min(self._minutes)
        if self.lake.until < known_from:
            first = -(-known_from // span) * span  # the first bar that memory holds from its start on
            return rolled_up([bar for bar in minutes if bar.start >= first], interval, over_at)
        first = bucket(self.lake.until, span)
        since = max(first, self.lake.hours_until)
        both = {bar.start: bar for bar in (*minutes, *self.lake.minutes) if bar.start >= since}
        hours = [bar for bar in self.lake.hours if bar.start >= first]
        return rolled_up([*hours, *(both[start] for start in sorted(both))], interval, over_at)


class Hub:
    """All markets by exchange and symbol."""

    def __init__(self) -> None:
        self.markets: dict[Key, Market] = {}
        self.lake_until = 0
        """The end of what the lake has of every exchange, in microseconds; 0: it is not known."""
        self._lake: Mapping[Key, LakeDay] = {}

    def take(self, events: Iterable[AnyEvent]) -> None:
        """Take in events in the order of their topics."""
        for event in events:
            if isinstance(event, (Trade, Kline, Ticker, DepthSnapshot)):
                key = (event.exchange, event.symbol)
                market = self.markets.get(key)
                if market is None:
                    market = self.markets[key] = Market(event.base_asset, event.quote_asset)
                    market.lake = self._lake.get(key, LakeDay())
                market.take(event)

    def know(self, lake: Mapping[Key, LakeDay]) -> None:
        """Go on from what the lake has now."""
        self._lake = lake
        self.lake_until = min((day.until for day in lake.values()), default=0)
        for key, market in self.markets.items():
            market.lake = lake.get(key, LakeDay())
            market.version += 1

    def bars(self, key: Key, interval: str) -> list[Bar]:
        """See `Market.bars`; none for a symbol of which nothing has come."""
        market = self.markets.get(key)
        return market.bars(interval) if market else []
