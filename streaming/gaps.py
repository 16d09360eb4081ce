"""What should have come and did not, told at once: holes in trade ids, minutes without a closed kline, interruptions.

Pure: it reads no clock and asks nobody. One thread calls it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from shared.events import AnyEvent, Gap, GapCause, Trade
from shared.symbol_manager import Symbol
from streaming.seams import Lost
from streaming.series import KINDS, Clock, Interruption, Klines, Series, Snapshots, Trades, Watermark

SETTLE = 5_000_000
"""How long after it was asked for a quiet series counts as covered, when other streams of its symbol come."""

QUIET = 30_000_000
"""After so long without a trade REST is asked for the last ones."""
LINGER = 600_000_000
"""For so long the past of a series still counts that is asked for, once every exchange has said what it lists."""

SeriesKey = tuple[str, str, str]
"""Exchange, symbol, stream."""


class Gaps:
    """Follows series and tells their gaps. Every `Gap` that it gives is to be sent, noted, and offered for repair.

    `contiguous` names the exchanges whose trade ids have no jumps; on others, holes in trades cannot be seen.
    `watermarks` and `gaps` are what the ledger has kept from before.
    """

    def __init__(
        self, contiguous: Collection[str], watermarks: Mapping[SeriesKey, Watermark], gaps: Iterable[Gap]
    ) -> None:
        self._contiguous = contiguous
        self._watermarks = dict(watermarks)
        self._began = 0
        self._kept: dict[SeriesKey, list[Gap]] = {}
        for gap in gaps:
            self._kept.setdefault((gap.exchange, gap.symbol, gap.gap_stream), []).append(gap)
        self._series: dict[SeriesKey, Trades | Klines | Snapshots] = {}
        self._new: dict[SeriesKey, int] = {}
        """Since when a trade series was asked for that was never heard of yet."""
        self._unknown: dict[SeriesKey, tuple[int, Symbol]] = {}
        """From when on REST is to be asked how far a trade series is."""
        self._clock = Clock()
        self._changed: set[Series] = set()

    def __len__(self) -> int:
        """How many holes are open."""
        return sum(len(series) for series in self._series.values())

    def follow(self, symbols: Iterable[Symbol], at: int) -> list[Gap]:
        """These symbols are wanted from `at` (microseconds) on, and no others.

        What was missed since the ledger's last mark is told at once.
        """
        self._clock.hear(at)
        wanted: dict[SeriesKey, Symbol] = {
            (exchange, symbol.symbol, stream): symbol
            for symbol in symbols
            for exchange in symbol.exchanges
            for stream in symbol.streams
            if stream != "trade" or exchange in self._contiguous
        }
        rows = []
        for key, symbol in wanted.items():
            series = self._series.get(key)
            if series is None:
                series = self._add(key, symbol.base, symbol.quote)
            elif series.is_wanted:
                continue
            series.is_wanted, series.is_covered = True, False
            if isinstance(series, Trades):
                self._new[key] = at
                self._unknown[key] = at + QUIET, symbol
            rows += series.start(at, self._watermarks.pop(key, None))
        for key in [key for key in self._kept if key not in wanted]:
            self._add(key, self._kept[key][0].base_asset, self._kept[key][0].quote_asset)
        for key, series in self._series.items():
            if series.is_wanted and key not in wanted:
                rows += series.left(at)
        return rows

    def linger(self, at: int) -> None:
        """All that can be asked for is known: the past of anything else counts only for `LINGER` more."""
        self._began = self._began or at

    def _add(self, key: SeriesKey, base: str, quote: str) -> Trades | Klines | Snapshots:
        exchange, symbol, stream = key
        series = KINDS[stream](exchange, symbol, base, quote, stream, self._clock, self._changed)
        for gap in self._kept.pop(key, []):
            series.load(gap)
        self._series[key] = series
        return series

    def saw(self, event: AnyEvent) -> Sequence[Gap]:
        """An event came, by whichever way. Duplicates and late ones are normal."""
        series = self._series.get((event.exchange, event.symbol, event.stream))
        return () if series is None else series.saw(event)

    def outage(
        self, exchange: str, series: Iterable[tuple[Symbol, str]], at: int, reason: str, cause: GapCause
    ) -> list[Gap]:
        """No connection covers these any more since `at` (microseconds)."""
        self._clock.hear(at)
        outage = Interruption(at, None, cause, reason)
        series = list(series)
        for symbol, stream in series:
            if stream == "trade":
                self._unknown[exchange, symbol.symbol, stream] = at, symbol
        return [row for one in self._named(exchange, series) for row in one.outage(outage)]

    def restored(self, exchange: str, series: Iterable[tuple[Symbol, str]], at: int) -> list[Gap]:
        """These are covered again."""
        self._clock.hear(at)
        return [row for one in self._named(exchange, series) for row in one.restored(at)]

    def _named(self, exchange: str, series: Iterable[tuple[Symbol, str]]) -> list[Series]:
        found: list[Series] = []
        for symbol, stream in series:
            key = (exchange, symbol.symbol, stream)
            self._new.pop(key, None)
            if key in self._series and self._series[key].is_wanted:
                found.append(self._series[key])
        return found

    def tick(self, now: int, counted: int = 0) -> list[Gap]:
        """What the clock shows: to be called about each second, with the microseconds of our clock.

        `counted` are those of a clock that nobody sets, by which it is known that ours was.
        """
        self._clock.hear(now)
        self._clock.tick(now, counted)
        if self._began and now - self._began > LINGER:
            self._watermarks.clear()
        rows = []
        for series in self._series.values():
            if isinstance(series, Klines) and series.is_wanted:
                rows += series.judge(now)
        for key in [key for key, since in self._new.items() if abs(now - since) > SETTLE and self._is_heard(key)]:
            del self._new[key]
            rows += self._series[key].restored(now)
        changed = list(self._changed)
        self._changed.clear()
        for one in changed:
            rows += one.flush()
        for key in [key for key, series in self._series.items() if not series.is_wanted and not len(series)]:
            del self._series[key]
        return rows

    def unknown(self, now: int) -> list[tuple[str, Symbol]]:
        """Exchange and symbol of trades of which none has come for a while, or none before an interruption, each once.

        What REST has of them is for `anchor`.
        """
        found = []
        for key in [key for key, (at, _) in self._unknown.items() if now >= at]:
            series, (_, symbol) = self._series.get(key), self._unknown.pop(key)
            if isinstance(series, Trades) and series.is_wanted and not series.is_known:
                found.append((key[0], symbol))
        return found

    def anchor(self, exchange: str, symbol: Symbol, trades: Sequence[Trade]) -> tuple[Trade | None, list[Gap]]:
        """The last trades of a symbol by REST: the one from which on nothing may be missed, and what was since."""
        series = self._series.get((exchange, symbol.symbol, "trade"))
        return series.anchor(trades) if isinstance(series, Trades) else (None, [])

    def _is_heard(self, key: SeriesKey) -> bool:
        """Whether any stream of this symbol comes, so that a quiet one is covered as well."""
        others = (self._series.get((key[0], key[1], stream)) for stream in KINDS)
        return any(other is not None and other.is_covered for other in others)

    def settle(self, verdict: Gap, detail: str) -> list[Gap]:
        """What the repair found out about a gap, after the events that it fetched were seen."""
        series = self._series.get((verdict.exchange, verdict.symbol, verdict.gap_stream))
        return [] if series is None else series.settle(verdict, detail)

    def lost(self, lost: Lost) -> list[Gap]:
        """What came, and was sent, may be nowhere any more."""
        if lost.stream == "trade" and lost.exchange not in self._contiguous:
            return []
        key = (lost.exchange, lost.symbol, lost.stream)
        if key not in self._series:
            self._add(key, lost.base_asset, lost.quote_asset).left(lost.time)
        return self._series[key].lost(lost.first, lost.last, lost.time)

    def is_covered(self, gap: Gap) -> bool:
        """Whether a gap without an end can be closed: its stream is back. May be asked by any thread."""
        series = self._series.get((gap.exchange, gap.symbol, gap.gap_stream))
        return series is not None and series.is_covered
