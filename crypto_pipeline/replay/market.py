"""What the lake knows of a symbol at a moment: trades, candles, the book and the ticker. Nothing later is ever shown.

Trades and candles are the mended ones, and reach back as far as the lake does, so that a bot can warm up.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crypto_pipeline import contracts, utc
from crypto_pipeline.lake_part import Span, partitions_of
from crypto_pipeline.reader import arrow_schema
from crypto_pipeline.replay.messages import TIMES, Row
from crypto_pipeline.replay.stored import EXCHANGE, MINUTE, Stored, best
from crypto_pipeline.silver.candles import INTERVALS
from shared.symbol_manager import split_pair
from streaming.archive import HOUR

CHUNK = 2_000
"""So many candles are read at once."""
_LOOK_BACK = 48
"""Hours in which the latest trades of a quiet symbol are looked for."""
_FRESH = 2
"""Hours for which a book or a ticker may stand."""
_NAMES = {seconds * 1_000_000: name for name, seconds in INTERVALS.items()}
"""The stored intervals by their width in microseconds."""
_SUMS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trade_count")
_CANDLE = ("open", "high", "low", "close", *_SUMS)
_ZERO = Decimal(0)
_FILLS = ("trade_id", "event_time", "price", "quantity", "quote_quantity", "is_buyer_maker")


class Candle(NamedTuple):
    """Prices in the quote asset; exact."""

    start: int
    """Microseconds."""
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal
    trade_count: int


class Pair(NamedTuple):
    """What the exchange said of a pair."""

    base: str
    quote: str
    status: str
    tick_size: Decimal
    step_size: Decimal
    min_notional: Decimal


class Market:
    """Of the symbols that are played. Each method reads what it needs, and may raise `LakeError`."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._hour = lru_cache(maxsize=32)(self._read_hour)
        self._chunk = lru_cache(maxsize=64)(self._read_chunk)
        self._hours = lru_cache(maxsize=1)(self._trading_hours)

    @property
    def symbols(self) -> list[str]:
        return sorted(self._stored.found.streams)

    # --- trades

    def last_trades(self, symbol: str, now: int, limit: int) -> list[Row]:
        """The latest trades, in order."""
        found: list[Row] = []
        hours = self._hours()
        place = bisect_right(hours, now // HOUR)
        for hour in reversed(hours[max(place - _LOOK_BACK, 0) : place]):
            fills = _until(self._hour("bronze.trades", symbol, hour), now)
            found = fills.slice(max(fills.num_rows - limit + len(found), 0)).to_pylist() + found
            if len(found) >= limit:
                break
        return found

    def trades_from(self, symbol: str, first: int, now: int, limit: int) -> list[Row]:
        """So many trades from an id on, in order."""
        hours = self._hours()
        hours = hours[: bisect_right(hours, now // HOUR)]
        found: list[Row] = []
        for hour in hours[self._place(symbol, first, hours) :]:
            fills = _until(self._hour("bronze.trades", symbol, hour), now)
            found += fills.filter(pc.field("trade_id") >= first).slice(0, limit - len(found)).to_pylist()
            if len(found) >= limit:
                break
        return found

    def first_id(self, symbol: str, start: int, now: int) -> int | None:
        """The id of the first trade at `start` or later; none where there is none yet."""
        hours = self._hours()
        for hour in hours[bisect_right(hours, start // HOUR - 1) : bisect_right(hours, now // HOUR)]:
            fills = _until(self._hour("bronze.trades", symbol, hour), now)
            ids = fills.filter(pc.field("event_time") >= utc.moment_of(start)).slice(0, 1)["trade_id"].to_pylist()
            if ids:
                return int(ids[0])
        return None

    def _place(self, symbol: str, first: int, hours: Sequence[int]) -> int:
        """Of the hours, the place of the last one that begins with this id or an earlier one."""
        low, high, place = 0, len(hours), 0
        while low < high:
            middle = (low + high) // 2
            at, ids = middle, pa.chunked_array([], pa.int64())
            while at >= low and not len(ids := self._hour("bronze.trades", symbol, hours[at])["trade_id"]):
                at -= 1
            if at < low:
                low = middle + 1
            elif ids[0].as_py() <= first:
                low, place = middle + 1, at
            else:
                high = at
        return place

    def _trading_hours(self) -> list[int]:
        snapshot = self._stored.snapshot("bronze.trades")
        there = snapshot.partitions() if snapshot else []
        return sorted({utc.micros(utc.moment(f"{each['date']}T{each['hour']}:00")) // HOUR for each in there})

    # --- candles

    def opening(self, symbol: str) -> int:
        """Since when there may be candles, in microseconds."""
        return self._stored.opening(symbol)

    def candles(self, symbol: str, width: int, start: int, end: int, now: int) -> list[Candle]:
        """The candles of `width` microseconds that begin in `[start, end)`, the running one last.

        One in which nothing traded is there where the exchange's own candle of a minute says so.
        """
        whole = self._closed(symbol, width, start, min(end, now // width * width))
        running = now // width * width
        if start <= running < end:
            minutes = self._closed(symbol, MINUTE, running, now // MINUTE * MINUTE)
            since = self.first_id(symbol, now // MINUTE * MINUTE, now)
            if since is not None:
                minutes.append(_of_fills(self._every_trade(symbol, since, now)))
            if minutes:
                whole.append(folded(minutes, running))
        return whole

    def _every_trade(self, symbol: str, since: int, now: int) -> list[Row]:
        fills = _until(self._hour("bronze.trades", symbol, now // HOUR), now)
        rows: list[Row] = fills.filter(pc.field("trade_id") >= since).to_pylist()
        return rows

    def _closed(self, symbol: str, width: int, start: int, end: int) -> list[Candle]:
        if start >= end:
            return []
        base = max(each for each in _NAMES if width % each == 0)
        chunk = CHUNK * base
        rows: list[Candle] = []
        for number in range(start // chunk, (end - 1) // chunk + 1):
            rows += self._chunk(symbol, base, number * chunk)
        inside = [row for row in rows if start <= row.start < end]
        if base == width:
            return inside
        groups = groupby(inside, key=lambda row: row.start // width * width)
        return [folded(list(parts), at) for at, parts in groups]

    def _read_chunk(self, symbol: str, base: int, start: int) -> list[Candle]:
        interval = _NAMES[base]
        span = Span(utc.moment_of(start), utc.moment_of(start + CHUNK * base))
        table = "silver.ohlcv_1m" if interval == "1m" else "silver.ohlcv"
        made = self._rows(table, symbol, span, "interval_start", _CANDLE, {"interval": interval})
        found = {utc.micros(row["interval_start"]): row for row in made}
        if interval == "1m":
            own = self._rows("bronze.klines", symbol, span, "open_time", (*_CANDLE, "source", "is_closed"), {})
            found |= {utc.micros(row["open_time"]): row for row in best([row for row in own if row["is_closed"]])}
        return [Candle(at, *(found[at][name] for name in _CANDLE)) for at in sorted(found)]

    # --- the book and the ticker

    def latest(self, name: str, symbol: str, now: int) -> Row | None:
        """The last row of `bronze.depth` or `bronze.tickers` that was received until now; none where it is old."""
        for hour in range(now // HOUR, now // HOUR - _FRESH, -1):
            rows = _until(self._hour(name, symbol, hour), now)
            if rows.num_rows:
                last: Row = rows.slice(rows.num_rows - 1).to_pylist()[0]
                return last
        return None

    def pair(self, symbol: str, now: int) -> Pair:
        """What the exchange said of a pair then, or first; where it said nothing, what a trade of it shows."""
        base, quote = split_pair(symbol) or (symbol, "")
        columns = ("status", "tick_size", "step_size", "min_notional")
        spans = self._rows("silver.instruments", symbol, Span(None, None), "valid_from", columns, {})
        at = utc.moment_of(now)
        then = [row for row in spans if row["valid_from"] <= at][-1:] or spans[:1]
        if then:
            row = then[0]
            least = row["min_notional"] or _ZERO
            return Pair(base, quote, row["status"], row["tick_size"], row["step_size"], least)
        seen = self.last_trades(symbol, now, 100)
        tick, step = (_step(row[name] for row in seen) for name in ("price", "quantity"))
        return Pair(base, quote, "TRADING", tick, step, _ZERO)

    # --- reading

    def _rows(
        self, name: str, symbol: str, span: Span, time: str, columns: Sequence[str], values: Mapping[str, str]
    ) -> list[Row]:
        """The rows of a table of candles or spans, in time."""
        snapshot = self._stored.snapshot(name)
        if snapshot is None:
            return []
        table = contracts.tables()[name]
        where = (pc.field("exchange") == EXCHANGE) & (pc.field("symbol") == symbol)
        for column, value in values.items():
            where &= pc.field(column) == value
        if span.start and span.end:
            where &= (pc.field(time) >= span.start) & (pc.field(time) < span.end)
        fixed = [(column, "IN", value) for column, value in values.items() if column in table.partitions]
        of_symbol = [(table.bucket, "IN", symbol)] if table.bucket == "symbol" else []
        wanted = [time, "exchange", "symbol", *values, *columns]
        found = [
            snapshot.read(wanted, [*fixed, *of_symbol, *each], where) for each in partitions_of(table.partitions, span)
        ]
        rows: list[Row] = pa.concat_tables(found).sort_by(time).to_pylist()
        return rows

    def _read_hour(self, name: str, symbol: str, hour: int) -> pa.Table:
        """The rows of an hour of a table of bronze: trades by their ids, others as they were received."""
        table = contracts.tables()[name]
        is_trades = name == "bronze.trades"
        columns = _FILLS if is_trades else [each for each in table.column_names if each not in table.partitions]
        times = ("event_time",) if is_trades else TIMES
        snapshot = self._stored.snapshot(name)
        where = (pc.field("exchange") == EXCHANGE) & (pc.field("symbol") == symbol)
        start = utc.moment_of(hour * HOUR)
        asked = list(dict.fromkeys(["exchange", "symbol", *columns]))
        found = [arrow_schema(table, asked).empty_table()]
        if snapshot:
            parts = partitions_of(table.partitions, Span(start, start + timedelta(hours=1)))
            found += [snapshot.read(asked, [*each, (table.bucket, "IN", symbol)], where) for each in parts]
        rows = pa.concat_tables(found)
        rows = rows.append_column("at", pc.coalesce(*(rows[each] for each in times)))
        return rows.sort_by("trade_id" if is_trades else "at")


def _until(rows: pa.Table, now: int) -> pa.Table:
    return rows.filter(pc.field("at") <= utc.moment_of(now))


def fills_of_takers(fills: Iterable[Row]) -> list[list[Row]]:
    """Trades in order, put together as Binance merges them: those of one moment, price and side.

    Binance's own numbers of them are not stored.
    """
    key = itemgetter("event_time", "price", "is_buyer_maker")
    return [list(parts) for _, parts in groupby(fills, key=key)]


def _of_fills(fills: Sequence[Row]) -> Candle:
    """The candle of trades in order, of one minute."""
    prices = [row["price"] for row in fills]
    bought = [row for row in fills if not row["is_buyer_maker"]]
    at = utc.micros(fills[0]["event_time"])
    return Candle(
        at // MINUTE * MINUTE, prices[0], max(prices), min(prices), prices[-1],
        sum((row["quantity"] for row in fills), _ZERO), sum((row["quote_quantity"] for row in fills), _ZERO),
        sum((row["quantity"] for row in bought), _ZERO), sum((row["quote_quantity"] for row in bought), _ZERO),
        len(fills),
    )  # fmt: skip


def folded(parts: Sequence[Candle], start: int) -> Candle:
    """One candle of several in time."""
    traded = [part for part in parts if part.trade_count] or parts
    sums = [sum(getattr(part, name) for part in parts) for name in _SUMS]
    highest, lowest = max(part.high for part in traded), min(part.low for part in traded)
    return Candle(start, traded[0].open, highest, lowest, traded[-1].close, *sums)


def _step(values: Iterable[Decimal]) -> Decimal:
    """The coarsest power of ten of which all are multiples; 1e-8 where there is none."""
    exponents = [int(value.normalize().as_tuple().exponent) for value in values if value]
    return Decimal(1).scaleb(min(*exponents, 0)) if exponents else Decimal("1e-8")
