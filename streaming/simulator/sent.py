"""The record of what really left: trade ids and closed klines that went to at least one subscriber, as ranges."""

import json
from bisect import bisect_right
from pathlib import Path

from streaming.simulator import SimulatorError
from streaming.simulator.checkpoint import read_json, write_atomically


class Ranges:
    """A set of integers as sorted, separate ranges `[first, last]`, both included."""

    def __init__(self, ranges: list[list[int]] | None = None) -> None:
        self.ranges: list[list[int]] = ranges or []

    def add(self, first: int, last: int) -> None:
        """Adds `first` to `last`."""
        kept = self.ranges
        if kept and kept[-1][0] <= first <= kept[-1][1] + 1:  # the usual case: it goes on
            kept[-1][1] = max(kept[-1][1], last)
            return
        start = bisect_right(kept, [first]) if kept else 0
        if start and kept[start - 1][1] >= first - 1:
            start -= 1
            first = kept[start][0]
        end = start
        while end < len(kept) and kept[end][0] <= last + 1:
            last = max(last, kept[end][1])
            end += 1
        kept[start:end] = [[first, last]]


class SentRecord:
    """Ranges by symbol and stream; kept in a folder where one is given."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "sent.json" if folder else None
        self._record: dict[str, dict[str, Ranges]] = {}
        self._is_changed = False
        if self._path:
            kept = read_json(self._path)
            try:
                for symbol, streams in (kept or {}).items():  # type: ignore[attr-defined]
                    self._record[symbol] = {stream: Ranges(ranges) for stream, ranges in streams.items()}
            except AttributeError:
                raise SimulatorError(f"{self._path} is no record of sent trades: delete it.") from None

    def add(self, symbol: str, stream: str, first: int, last: int) -> None:
        """Notes that `first` to `last` went out: trade ids, or minutes since 1970 of closed klines."""
        streams = self._record.setdefault(symbol, {})
        streams.setdefault(stream, Ranges()).add(first, last)
        self._is_changed = True

    def ranges(self, symbol: str, stream: str) -> list[list[int]]:
        """The ranges so far, in the unit of `add`."""
        streams = self._record.get(symbol, {})
        return streams[stream].ranges if stream in streams else []

    def symbols(self) -> list[str]:
        """The symbols of which anything was sent."""
        return list(self._record)

    def save(self) -> None:
        """Writes the record where it has changed since."""
        if not self._path or not self._is_changed:
            return
        self._is_changed = False
        write_atomically(self._path, json.dumps(self.content()))

    def content(self) -> dict[str, dict[str, list[list[int]]]]:
        """All ranges, by symbol and stream."""
        return {
            symbol: {stream: kept.ranges for stream, kept in streams.items()}
            for symbol, streams in self._record.items()
        }
