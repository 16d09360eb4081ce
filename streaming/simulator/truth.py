"""What really happened, for tests to compare with; not of Binance.

All times are microseconds; rows are arrays whose fields `columns` names.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from aiohttp import web

from streaming.simulator import instruments, planted
from streaming.simulator.clock import Clock
from streaming.simulator.market import MINUTE, Market, Tape
from streaming.simulator.messages import json_text, price_text, quantity_text, quote_text
from streaming.simulator.rest import Handler, closed_candles, json_reply
from streaming.simulator.sent import SentRecord

TRADES_AT_MOST = 100_000
_PART = 10_000


class TradeRow(NamedTuple):
    """One trade as the truth tells it."""

    trade_id: int
    price: str
    quantity: str
    time: int
    is_buyer_maker: bool


class Truth(Protocol):
    """What is known of the trades that were, or will be, sent."""

    def market(self) -> dict[str, object]: ...

    def trades(self, symbol: str, first: int, count: int) -> Sequence[TradeRow]:
        """Trades from id `first` on, until now. Raises `KeyError` for an unknown symbol."""


class MarketTruth:
    """The made market's own account."""

    def __init__(self, made: Market, clock: Clock) -> None:
        self._market = made
        self._clock = clock

    def market(self) -> dict[str, object]:
        made = self._market
        return {
            "kind": "market", "seed": made.seed, "rate": made.rate, "opening": made.opening,
            "symbols": list(instruments.listed()),
        }  # fmt: skip

    def tape(self, symbol: str) -> Tape:
        tape = self._market.tape(symbol)
        if tape is None:
            raise KeyError(symbol)
        return tape

    def trades(self, symbol: str, first: int, count: int) -> Sequence[TradeRow]:
        tape = self.tape(symbol)
        pair = tape.instrument
        end = tape.id_at(self._clock() + 1)
        found = tape.trades_from(min(first, end), count)
        found = found[: int(np.searchsorted(found.id, end))]
        return [
            TradeRow(number, price_text(pair, price), quantity_text(pair, quantity), time, is_maker)
            for number, price, quantity, time, is_maker in zip(
                found.id.tolist(), found.price.tolist(), found.quantity.tolist(),
                found.time.tolist(), found.buyer_is_maker.tolist(), strict=True,
            )
        ]  # fmt: skip

    def planted(self, start: int, end: int) -> dict[str, object]:
        """What the module `planted` says; of the anomalies those that meet the times [start, end), until now."""
        made = self._market
        if not made.is_planted:
            return {"lead_lag": None, "correlations": [], "anomalies": []}
        pairs = list(itertools.combinations(sorted(instruments.listed()), 2))
        spans = {"1m": 60, "1h": 3_600, "1d": 86_400}
        until = min(end, self._clock() + 1)
        every = [
            one
            for symbol in dict.fromkeys(rule.symbol for rule in planted.RECURRING)
            for one in planted.anomalies(made.seed, made.opening, symbol, start, until)
        ]
        return {
            "lead_lag": planted.LEAD_LAG._asdict(),
            "correlations": [
                {"symbol_a": a, "symbol_b": b}
                | {interval: planted.correlation(a, b, seconds) for interval, seconds in spans.items()}
                for a, b in pairs
            ],
            "anomalies": [one._asdict() for one in sorted(every, key=lambda one: one.start)],
        }

    async def klines(self, symbol: str, start: int, end: int) -> dict[str, object]:
        """The closed candles of the minutes that begin in [start, end]."""
        tape = self.tape(symbol)
        pair, opening = tape.instrument, tape.opening
        first = max(-(-(start - opening) // MINUTE), 0)
        last = min((end - opening) // MINUTE + 1, tape.minute_of(self._clock()))
        candles = await closed_candles(tape, first, max(last, first))
        candles = candles[tape.is_open(candles.minute)]
        rows = [
            [
                tape.minute_start(minute),
                price_text(pair, bar.open), price_text(pair, bar.high),
                price_text(pair, bar.low), price_text(pair, bar.close),
                quantity_text(pair, bar.volume), quote_text(pair, bar.quote), bar.trades,
                quantity_text(pair, bar.taker_buy_volume), quote_text(pair, bar.taker_buy_quote),
                bar.first_id, bar.last_id,
            ]
            for minute, bar in zip(candles.minute.tolist(), candles.rows(), strict=True)
        ]  # fmt: skip
        columns = [
            "open_time", "open", "high", "low", "close", "volume", "quote_volume", "trade_count",
            "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id",
        ]  # fmt: skip
        return {"symbol": symbol, "columns": columns, "rows": rows}


def routes(truth: Truth, sent: SentRecord) -> list[web.RouteDef]:
    """`/truth/market`, `/truth/trades`, `/truth/sent`; of a made market `/truth/klines` and `/truth/planted`."""

    async def market(_request: web.Request) -> web.Response:
        return json_reply(json_text(truth.market()))

    async def trades(request: web.Request) -> web.Response:
        symbol, first = request.query["symbol"], int(request.query.get("fromId", "1"))
        limit = min(int(request.query.get("limit", TRADES_AT_MOST)), TRADES_AT_MOST)
        rows: list[TradeRow] = []
        while len(rows) < limit:
            part = truth.trades(symbol, rows[-1].trade_id + 1 if rows else first, min(_PART, limit - len(rows)))
            if not part:
                break
            rows += part
            await asyncio.sleep(0)
        return json_reply(json_text({"symbol": symbol, "columns": TradeRow._fields, "rows": rows}))

    async def sent_ranges(request: web.Request) -> web.Response:
        symbol = request.query["symbol"]
        minutes = sent.ranges(symbol, "kline_1m")
        return json_reply(
            json_text(
                {
                    "symbol": symbol,
                    "trade": sent.ranges(symbol, "trade"),
                    "kline_1m": [[first * MINUTE, last * MINUTE] for first, last in minutes],
                }
            )
        )

    async def klines(request: web.Request) -> web.Response:
        assert isinstance(truth, MarketTruth)  # noqa: S101 (the route exists only then)
        start, end = int(request.query.get("startTime", "0")), int(request.query.get("endTime", str(2**62)))
        return json_reply(json_text(await truth.klines(request.query["symbol"], start, end)))

    async def planted_ones(request: web.Request) -> web.Response:
        assert isinstance(truth, MarketTruth)  # noqa: S101 (the route exists only then)
        start, end = int(request.query.get("startTime", "0")), int(request.query.get("endTime", str(2**62)))
        return json_reply(json_text(truth.planted(start, end)))

    found = [
        web.get("/truth/market", _told(market)),
        web.get("/truth/trades", _told(trades)),
        web.get("/truth/sent", _told(sent_ranges)),
    ]
    if isinstance(truth, MarketTruth):
        found += [web.get("/truth/klines", _told(klines)), web.get("/truth/planted", _told(planted_ones))]
    return found


def _told(handler: Handler) -> Handler:
    """Answers a wrong parameter with a sentence."""

    async def told(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (KeyError, ValueError, OverflowError) as error:
            text = f"Unknown symbol, or a parameter is missing or wrong: {error}."
            return web.json_response({"error": text}, status=400)

    return told
