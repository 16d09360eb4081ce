"""Brings the made market to its subscribers as time passes."""

import asyncio
from bisect import bisect_right

from streaming.simulator.candles import Candle, candle, flat, merged
from streaming.simulator.clock import Clock
from streaming.simulator.hub import Hub
from streaming.simulator.market import MINUTE, Market, Tape, Trades
from streaming.simulator.messages import (
    STREAM_KINDS,
    Form,
    TradeFrames,
    depth_payload,
    event_frame,
    kline_payload,
    stream_name,
    ticker_payload,
    trade_frames,
)
from streaming.simulator.noise import key
from streaming.simulator.ticker import RollingDay

BEAT = 0.025
"""Seconds between two looks at what is due: trades leave in batches of this length."""
_PERIODS = {"kline_1m": 2_000_000, "ticker": 1_000_000, "depth5": 1_000_000, "depth5@100ms": 100_000}
"""How often Binance sends each, in microseconds."""
_ORDERS_AT_ONCE = 1_000
_CHUNKS_A_BEAT = 10


class Live:
    """All symbols that someone listens to."""

    def __init__(self, market: Market, hub: Hub, clock: Clock) -> None:
        self._market = market
        self._hub = hub
        self._clock = clock
        self._version = -1
        self._symbols: dict[str, _Symbol] = {}

    async def run(self) -> None:
        """Sends what is due until it is cancelled."""
        while True:
            if self._version != self._hub.version:
                self._follow_subscriptions()
            for symbol in self._symbols.values():
                symbol.send_due(self._clock())
                await asyncio.sleep(0)
            await asyncio.sleep(BEAT)

    def _follow_subscriptions(self) -> None:
        self._version = self._hub.version
        wanted: dict[str, set[str]] = {}
        for stream in self._hub.streams:
            name, _, kind = stream.partition("@")
            if kind in STREAM_KINDS and name == name.lower() and self._market.tape(name.upper()):
                wanted.setdefault(name.upper(), set()).add(kind)
        for symbol in self._symbols.keys() - wanted.keys():
            self._symbols.pop(symbol).stop()
        for symbol, kinds in wanted.items():
            if symbol not in self._symbols:
                tape = self._market.tape(symbol)
                assert tape is not None  # noqa: S101 (asked just above)
                self._symbols[symbol] = _Symbol(tape, self._hub, self._clock())
            self._symbols[symbol].kinds = kinds


class _Symbol:
    """One symbol from the moment that someone wanted it; trades before that are not sent."""

    def __init__(self, tape: Tape, hub: Hub, now: int) -> None:
        self.kinds: set[str] = set()
        self._tape = tape
        self._pair = tape.instrument
        self._hub = hub
        self._day = RollingDay(tape)
        self._warming: asyncio.Task[None] | None = None
        self._due = dict.fromkeys(_PERIODS, now)
        self._phase = key(tape.instrument.symbol) % 1_000_000  # or all symbols would have their second at once
        self._trade_stream = stream_name(tape.instrument.symbol, "trade")
        self._open_minute(tape.minute_of(now))
        self._bar = self._seen(now)
        self._take(tape.order_at(now))

    def stop(self) -> None:
        """Ends what runs in the background."""
        if self._warming:
            self._warming.cancel()

    def send_due(self, now: int) -> None:
        """Sends the trades until `now`, the candles that closed, and whatever has its time."""
        for _ in range(_CHUNKS_A_BEAT):
            self._send_trades(now)
            if self._place < len(self._times):
                break
            if self._next_order < self._end_order:
                self._count()
                self._take(self._next_order)
            elif now >= self._tape.minute_start(self._minute + 1):
                self._close_minute(now)
            else:
                break
        else:
            return  # behind: more trades in the next beat, before anything that sums them up
        if self._tape.calendar.closure(self._tape.minute_of(now)):
            return
        for kind in self.kinds - {"trade"}:
            if now >= self._due[kind]:
                period = _PERIODS[kind]
                self._due[kind] = now + period - (now - self._phase) % period
                self._send_periodic(kind, now)

    # --- trades

    def _open_minute(self, minute: int) -> None:
        self._minute = minute
        self._next_order = self._tape.orders_before(minute)
        self._end_order = self._tape.orders_before(minute + 1)

    def _take(self, order: int) -> None:
        """Makes the next trades of the minute ready, from taker order `order` on."""
        self._next_order = min(order + _ORDERS_AT_ONCE, self._end_order)
        self._chunk: Trades = self._tape.trades_of_orders(order, self._next_order)
        self._times: list[int] = self._chunk.time.tolist()
        self._frames: dict[Form, TradeFrames] = {}
        self._place = 0
        self._counted = 0

    def _send_trades(self, now: int) -> None:
        start = self._place
        end = self._place = bisect_right(self._times, now, lo=start)
        if end == start or "trade" not in self.kinds:
            return
        if self._hub.is_disturbed(self._trade_stream):
            for place in range(start, end):
                self._publish_trades(now, place, place + 1)
        else:
            self._publish_trades(now, start, end)

    def _publish_trades(self, now: int, start: int, end: int) -> None:
        first, last = int(self._chunk.id[start]), int(self._chunk.id[end - 1])
        if last - first >= end - start:  # ids that were never issued lie between: none of them was sent
            for place in range(start, end):
                self._publish_trades(now, place, place + 1)
            return
        chunk, frames = self._chunk, self._frames  # a fault may send them later, when others are at hand

        def made(form: Form) -> bytes:
            if form not in frames:
                frames[form] = trade_frames(self._pair, chunk, form)
            return frames[form].sent_at(now, start, end)

        self._hub.publish(self._trade_stream, made, (first, last))

    # --- candles

    def _seen(self, now: int) -> Candle:
        """The candle of the minute's trades before the ones at hand."""
        first = self._tape.first_id(self._tape.orders_before(self._minute))
        before = self._tape.trades(first, self._tape.id_at(now) - 1)
        return candle(before) if len(before) else flat(self._tape.price_before(first))

    def _count(self) -> Candle:
        """The candle of the minute until the last trade that is due."""
        if self._counted < self._place:
            self._bar = merged([self._bar, candle(self._chunk[self._counted : self._place])])
            self._counted = self._place
        return self._bar

    def _close_minute(self, now: int) -> None:
        bar, start = self._count(), self._tape.minute_start(self._minute)
        if "kline_1m" in self.kinds and not self._tape.calendar.closure(self._minute):
            self._send_kline(start, bar, now, is_closed=True)
        self._day.add(self._minute, bar)
        self._bar = flat(bar.close)
        self._open_minute(self._minute + 1)
        self._take(self._next_order)

    def _send_kline(self, start: int, bar: Candle, now: int, *, is_closed: bool) -> None:
        stream = stream_name(self._pair.symbol, "kline_1m")

        def frames(form: Form) -> bytes:
            return event_frame(stream, kline_payload(self._pair, start, bar, now, form.unit, is_closed=is_closed), form)

        self._hub.publish(stream, frames, (start // MINUTE, start // MINUTE) if is_closed else None)

    # --- what comes by the clock

    def _send_periodic(self, kind: str, now: int) -> None:
        stream = stream_name(self._pair.symbol, kind)
        if kind == "kline_1m":
            self._send_kline(self._tape.minute_start(self._minute), self._count(), now, is_closed=False)
        elif kind == "ticker":
            if self._is_warm(now):
                day = self._day.statistics(now, self._count())
                self._hub.publish(
                    stream, lambda form: event_frame(stream, ticker_payload(self._pair, day, now, form.unit), form)
                )
        else:
            payload = depth_payload(self._pair, self._tape.book(now, 5))
            self._hub.publish(stream, lambda form: event_frame(stream, payload, form))

    def _is_warm(self, now: int) -> bool:
        if self._day.is_warm(now):
            return True
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._day.warm(now))
        return False
