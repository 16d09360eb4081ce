"""A recording sent again, word for word.

A line is the local time in nanoseconds, a space, and a combined-stream message; files may be gzipped. A line that is no
stream message is the REST snapshot of the order book with which a recorder starts.
"""

import asyncio
import gzip
import heapq
import json
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from streaming.simulator import SimulatorError
from streaming.simulator.calendar import TRADING
from streaming.simulator.clock import Clock
from streaming.simulator.hub import Hub
from streaming.simulator.messages import MILLISECOND, Form, json_text, text_frame
from streaming.simulator.recorded import RecordedTape
from streaming.simulator.rest import RequestError, common_routes, json_reply, limit_of, symbol_of, trade_routes
from streaming.simulator.truth import TradeRow

_AHEAD = 256 * 1024
"""Bytes a client may be behind before a replay as fast as it reads waits for it."""
_BATCH = 500


class Message(NamedTuple):
    """One recorded stream message."""

    received: int
    """The recorder's clock, nanoseconds."""
    stream: str
    text: str
    symbol: str
    trade_id: int
    """0 where it is no trade."""
    time: int
    """Of the trade, microseconds."""


@dataclass
class Recording:
    """All files as one, in the order of the recorder's clock."""

    files: Sequence[Path]
    messages: list[Message] = field(default_factory=list)
    tapes: dict[str, list[TradeRow]] = field(default_factory=dict)
    """Recorded trades by symbol, in id order."""
    books: dict[str, dict[str, Any]] = field(default_factory=dict)
    now: int = 0
    """The time, microseconds, up to which it was sent: of the latest trade."""

    @classmethod
    def load(cls, files: Sequence[Path]) -> "Recording":
        """Reads the files whole. Raises `SimulatorError` with file and line where one is no recording."""
        recording = cls(files)
        recording.messages = list(heapq.merge(*map(recording._read, files), key=lambda message: message.received))
        if not recording.messages:
            raise SimulatorError(f"{', '.join(map(str, files))}: no stream message to replay.")
        for tape in recording.tapes.values():
            tape.sort()
        return recording

    def _read(self, path: Path) -> Iterator[Message]:
        messages, snapshot = [], None
        try:
            with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
                for number, line in enumerate(lines, start=1):
                    try:
                        received, text = line.rstrip("\n").split(" ", 1)
                        content = json.loads(text)
                        if "stream" in content:
                            messages.append(self._message(int(received), text, content))
                        elif "lastUpdateId" in content:
                            snapshot = content
                    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                        raise SimulatorError(
                            f"{path}:{number}: is not nanoseconds, a space and a combined-stream message ({error})."
                        ) from None
        except OSError as error:
            raise SimulatorError(f"{path}: cannot be read ({error.strerror or error}).") from None
        except (UnicodeDecodeError, EOFError, zlib.error) as error:
            raise SimulatorError(f"{path}: is damaged ({error}).") from None
        symbols = {message.symbol for message in messages}
        if snapshot and len(symbols) == 1:
            self.books[symbols.pop()] = snapshot
        return iter(messages)

    def _message(self, received: int, text: str, content: dict[str, Any]) -> Message:
        stream, data = content["stream"], content["data"]
        symbol = stream.partition("@")[0].upper()
        if data.get("e") != "trade":
            return Message(received, stream, text, symbol, 0, 0)
        moment = data["T"] * MILLISECOND if data["T"] < 10**14 else data["T"]
        row = TradeRow(data["t"], data["p"], data["q"], moment, data["m"])
        self.tapes.setdefault(symbol, []).append(row)
        return Message(received, stream, text, symbol, data["t"], moment)

    # --- the truth

    @cached_property
    def symbols(self) -> list[str]:
        """What was recorded."""
        return sorted({message.symbol for message in self.messages})

    def market(self) -> dict[str, object]:
        """What is replayed."""
        return {"kind": "replay", "files": [path.name for path in self.files], "symbols": self.symbols}

    def trades(self, symbol: str, first: int, count: int) -> Sequence[TradeRow]:
        """The recorded trades from id `first` on."""
        tape = self.tapes[symbol]
        place = bisect_left(tape, first, key=lambda row: row.trade_id)
        return tape[place : place + count]

    def routes(self, clock: Clock) -> list[web.RouteDef]:
        """What a recording can answer: its trades and whole minutes until now, and its first order book."""
        tapes = {symbol: RecordedTape(symbol, rows) for symbol, rows in self.tapes.items()}

        async def depth(request: web.Request) -> web.Response:
            book = self.books.get(symbol_of(request))
            if book is None:
                raise RequestError(-1121, "Invalid symbol.")
            limit = limit_of(request, 100, 5000)
            return json_reply(json_text({**book, "bids": book["bids"][:limit], "asks": book["asks"][:limit]}))

        return [
            *common_routes(clock, lambda: dict.fromkeys(self.symbols, TRADING)),
            *trade_routes(tapes.get, lambda: self.now, has_open=False),
            web.get("/api/v3/depth", depth),
        ]


def frame(message: Message, form: Form) -> bytes:
    """The recorded text, or for a raw connection its data, whatever time unit was asked for."""
    if form.is_combined:
        return text_frame(message.text.encode())
    start = message.text.index('"data":') + len('"data":')
    return text_frame(message.text[start : message.text.rindex("}")].encode())


async def replay(recording: Recording, hub: Hub, speed: float) -> None:
    """Sends the recording once, beginning when someone listens to one of its streams.

    `speed` 1 is as recorded, 2 twice as fast, 0 as fast as the clients read.
    """
    streams = {message.stream for message in recording.messages}
    while streams.isdisjoint(hub.streams):
        hub.changed.clear()
        await hub.changed.wait()
    loop = asyncio.get_running_loop()
    begun, first = loop.time(), recording.messages[0].received
    for number, message in enumerate(recording.messages):
        if speed:
            ahead = (message.received - first) / 1e9 / speed - (loop.time() - begun)
            if ahead > 0.001:
                await asyncio.sleep(ahead)
        elif number % _BATCH == 0:
            await asyncio.sleep(0)
            while hub.most_waiting() > _AHEAD:
                await asyncio.sleep(0.002)
        recording.now = max(recording.now, message.time)
        numbers = (message.trade_id, message.trade_id) if message.trade_id else None
        hub.publish(message.stream, partial(frame, message), numbers)
