"""What can go wrong at an exchange, each on demand.

A fault is a class: its fields are its parameters, `recorded` says what whoever listens must record of it, and `repair`
whether that can be mended. `schedule` says when they come, `controller` runs them. What traded (`/truth/trades`) is
changed only by those of the market itself (halt, list, delist, relist, venue_gap), and they change its future alone.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from random import Random
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from streaming.simulator.calendar import NEVER, Relisting, Skip
from streaming.simulator.hub import Client, Outgoing
from streaming.simulator.instruments import instrument
from streaming.simulator.market import MINUTE
from streaming.simulator.messages import MILLISECOND, Form, event_frame, json_text, payload_of, text_frame
from streaming.simulator.stage import FaultError, Note, Stage, Tamper, Which, concerning

Repair = Literal["yes", "in part", "no", "nothing is lost"]
"""Whether what is missing can be had again. Tickers and depth never can: "in part" is trades and candles alone."""
StreamKind = Literal["trade", "ticker", "kline_1m", "depth5"]
Endpoint = Literal["historicalTrades", "trades", "aggTrades", "klines", "depth", "ticker/24hr", "exchangeInfo", "time"]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Lasting = Annotated[float, Field(ge=0, le=86_400)]
"""Seconds; 0: until it is ended by `POST /faults/end`."""
Count = Annotated[int, Field(ge=1, le=100_000)]
Name = Annotated[str, Field(max_length=50, description="Its streams alone; empty: all symbols.")]

STRANGER = "币安人生USDT"
_AFTER_CLOSE = 5.0
"""Seconds within which the closed candles of a minute have left."""
_NAP = 0.005


class Fault(BaseModel):
    """One thing that goes wrong once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ClassVar[str] = ""
    recorded: ClassVar[str]
    repair: ClassVar[Repair]

    def prepare(self, stage: Stage) -> None:
        """What must be so from the start on. Raises `FaultError` where the fault cannot be."""

    async def run(self, stage: Stage, note: Note) -> None:
        """Does it, and comes back when it is over."""
        raise NotImplementedError

    @classmethod
    def drawn(cls, _random: Random, _symbol: str) -> Self | None:
        """One with drawn parameters for the mixture `chaos`; none where it is no part of that."""
        return None


def kinds() -> dict[str, type[Fault]]:
    """Every fault by its name."""
    found = itertools.chain.from_iterable([one, *one.__subclasses__()] for one in Fault.__subclasses__())
    return {one.kind: one for one in found if one.kind}


# --- connections


class Cut(Fault):
    """Connections end without a word, and new ones are refused for a while. REST works."""

    kind = "cut"
    recorded = "a disconnect of each stream; trades by id and closed minutes that passed; tickers and depth as lost"
    repair = "in part"

    symbol: Name = ""
    seconds: Lasting = Field(20.0, description="How long new connections are refused.")
    mid_frame: bool = Field(False, description="End in the middle of a message.")
    connections: Which = "all"

    async def run(self, stage: Stage, note: Note) -> None:
        victims = _touched(stage, note, self.symbol, self.connections)
        with ExitStack() as refusal:
            if self.connections == "all" and self.seconds:
                refusal.enter_context(stage.hub.refusing(concerning(self.symbol)))
            for client in victims:
                client.cut(mid_frame=self.mid_frame)
            if self.connections == "all" and self.seconds:
                await stage.sleep(self.seconds)

    @classmethod
    def drawn(cls, random: Random, symbol: str) -> Self:
        which: Which = random.choice(("all", "one"))
        chosen = random.choice(("", symbol))
        return cls(symbol=chosen, seconds=random.randint(0, 20), mid_frame=random.random() < 0.5, connections=which)


class Silence(Fault):
    """The connections that are open now bring nothing more, though they stay open. A new connection brings all."""

    kind = "silence"
    recorded = "the silence of each stream, by the watchdog or by the hole; trades and minutes that passed"
    repair = "in part"

    symbol: Name = ""
    stream: StreamKind | Literal[""] = Field("", description="One stream alone; empty: all, and pings and answers too.")
    seconds: Lasting = 30.0
    connections: Which = "all"

    async def run(self, stage: Stage, note: Note) -> None:
        victims = _touched(stage, note, self.symbol, self.connections)
        concerns = concerning(self.symbol, *([self.stream] if self.stream else []))
        is_whole = not self.stream and not self.symbol
        muted = {client: [stream for stream in client.streams if concerns(stream)] for client in victims}
        note.streams = sorted({stream for streams in muted.values() for stream in streams})
        try:
            for client, streams in muted.items():
                client.is_silent = is_whole
                stage.hub.mute(client, streams)
            await stage.sleep(self.seconds)
        finally:
            for client, streams in muted.items():
                client.is_silent = False
                stage.hub.unmute(client, streams)

    @classmethod
    def drawn(cls, random: Random, symbol: str) -> Self:
        stream: StreamKind | Literal[""] = random.choice(("", "trade", "kline_1m"))
        return cls(symbol=symbol if stream else "", stream=stream, seconds=random.randint(5, 30))


class ServerShutdown(Fault):
    """`serverShutdown` is announced, and the connections that got it are closed a little later."""

    kind = "server_shutdown"
    recorded = "nothing: a replacement is up before the end"
    repair = "nothing is lost"

    symbol: Name = ""
    seconds: Seconds = Field(10.0, description="Between the announcement and the end.")
    connections: Which = "all"

    async def run(self, stage: Stage, note: Note) -> None:
        victims = _touched(stage, note, self.symbol, self.connections)
        data = json_text({"e": "serverShutdown", "E": stage.clock() // MILLISECOND})
        for client in victims:
            client.send(event_frame("!serverShutdown", data, client.form))
        await stage.sleep(self.seconds)
        for client in victims:
            client.end(1001, "server shutdown")

    @classmethod
    def drawn(cls, random: Random, _symbol: str) -> Self:
        return cls(seconds=random.randint(5, 15))


class Rotate(Fault):
    """Connections are closed as after 24 hours, early and unannounced."""

    kind = "rotate"
    recorded = "a disconnect, as of `cut`"
    repair = "in part"

    symbol: Name = ""
    connections: Which = "all"

    async def run(self, stage: Stage, note: Note) -> None:
        for client in _touched(stage, note, self.symbol, self.connections):
            client.end(1001, "24 hours")

    @classmethod
    def drawn(cls, random: Random, _symbol: str) -> Self:
        return cls(connections=random.choice(("all", "one")))


# --- messages


class Repeat(Fault):
    """Each message comes again."""

    kind = "repeat"
    recorded = "nothing: each counts once"
    repair = "nothing is lost"

    symbol: Name = ""
    stream: StreamKind | Literal[""] = ""
    copies: Annotated[int, Field(ge=1, le=10)] = 1
    later: Annotated[float, Field(ge=0, le=600)] = Field(0.0, description="Seconds until a copy comes.")
    seconds: Lasting = 10.0

    async def run(self, stage: Stage, note: Note) -> None:
        def repeated(message: Outgoing) -> Iterable[tuple[float, Outgoing]]:
            _seen(note, message)
            return [(0.0, message), *[(self.later, message)] * self.copies]

        with stage.hub.disturbed(_of(self.symbol, self.stream), repeated):
            await stage.sleep(self.seconds)

    @classmethod
    def drawn(cls, random: Random, symbol: str) -> Self:
        return cls(symbol=symbol, copies=random.randint(1, 3), later=random.choice((0.0, 2.0)), seconds=10)


class Reorder(Fault):
    """Messages of a stream come in another order."""

    kind = "reorder"
    recorded = "nothing that lasts: a hole that fills by itself"
    repair = "nothing is lost"

    symbol: Name = ""
    stream: StreamKind = "trade"
    window: Annotated[int, Field(ge=2, le=1000)] = Field(5, description="So many are held back and mixed.")
    seconds: Lasting = 10.0

    async def run(self, stage: Stage, note: Note) -> None:
        held: dict[str, list[Outgoing]] = {}

        def mixed(message: Outgoing) -> Iterable[tuple[float, Outgoing]]:
            _seen(note, message)
            waiting = held.setdefault(message.stream, [])
            waiting.append(message)
            if len(waiting) < self.window:
                return []
            leaving, waiting[:] = list(waiting), []
            stage.random.shuffle(leaving)
            return [(0.0, one) for one in leaving]

        try:
            with stage.hub.disturbed(_of(self.symbol, self.stream), mixed):
                await stage.sleep(self.seconds)
        finally:
            for message in itertools.chain.from_iterable(held.values()):
                stage.hub.deliver(message)

    @classmethod
    def drawn(cls, random: Random, symbol: str) -> Self:
        return cls(symbol=symbol, window=random.randint(2, 20), seconds=10)


class Delay(Fault):
    """Messages come late, in order."""

    kind = "delay"
    recorded = "nothing: they are late, not lost"
    repair = "nothing is lost"

    symbol: Name = ""
    stream: StreamKind | Literal[""] = ""
    by: Annotated[float, Field(gt=0, le=600)] = Field(3.0, description="Seconds.")
    seconds: Lasting = 10.0

    async def run(self, stage: Stage, note: Note) -> None:
        loop = asyncio.get_running_loop()
        waiting: deque[tuple[float, Outgoing]] = deque()
        over = asyncio.create_task(stage.sleep(self.seconds))

        def late(message: Outgoing) -> Iterable[tuple[float, Outgoing]]:
            _seen(note, message)
            waiting.append((loop.time() + (0.0 if over.done() else self.by), message))
            return []

        try:
            with stage.hub.disturbed(_of(self.symbol, self.stream), late):
                while waiting or not over.done():  # one queue: what comes last must not overtake what is still late
                    while waiting and waiting[0][0] <= loop.time():
                        stage.hub.deliver(waiting.popleft()[1])
                    await asyncio.sleep(_NAP)
        finally:
            over.cancel()
            for _, message in waiting:
                stage.hub.deliver(message)

    @classmethod
    def drawn(cls, random: Random, symbol: str) -> Self:
        return cls(symbol=symbol, by=random.randint(1, 8), seconds=10)


class SkipIds(Fault):
    """Trades happen, and are not sent: REST has them."""

    kind = "skip"
    recorded = "a jump in the ids, exactly `skipped`"
    repair = "yes"

    symbol: Name = ""
    count: Count = Field(5, description="The next so many trades of each symbol.")
    seconds: Seconds = Field(60.0, description="It is over then, whether or not so many have traded.")

    async def run(self, stage: Stage, note: Note) -> None:
        left: dict[str, int] = {}

        def without(message: Outgoing) -> Iterable[tuple[float, Outgoing]]:
            still = left.setdefault(message.stream, self.count)
            if not still:
                return [(0.0, message)]
            left[message.stream] = still - 1
            _lost(note, message)
            return []

        end = stage.clock.right() + int(self.seconds * 1e6)
        with stage.hub.disturbed(_of(self.symbol, "trade"), without):
            while stage.clock.right() < end and not (self.symbol and left and not any(left.values())):
                await stage.sleep(0.02)

    @classmethod
    def drawn(cls, random: Random, symbol: str) -> Self:
        return cls(symbol=symbol, count=random.choice((1, 3, 20, 500)), seconds=20)


class LateKline(Fault):
    """The closed candle of the current minute comes late."""

    kind = "late_kline"
    recorded = "at most a minute without its closed candle, which then comes or is fetched"
    repair = "yes"

    symbol: Name = ""
    by: Annotated[float, Field(gt=0, le=600)] = Field(30.0, description="Seconds.")

    async def run(self, stage: Stage, note: Note) -> None:
        def late(message: Outgoing) -> Iterable[tuple[float, Outgoing]]:
            if message.numbers is None:
                return [(0.0, message)]
            _seen(note, message)
            return [(self.by, message)]

        with stage.hub.disturbed(_of(self.symbol, "kline_1m"), late):
            await _until_candles_left(stage)
        await stage.sleep(self.by)

    @classmethod
    def drawn(cls, random: Random, symbol: str) -> Self:
        return cls(symbol=symbol, by=random.randint(3, 35))


class NoKline(Fault):
    """The current minute gets no closed candle."""

    kind = "no_kline"
    recorded = "a minute without its closed candle, exactly `skipped` (minutes since 1970)"
    repair = "yes"

    symbol: Name = ""

    async def run(self, stage: Stage, note: Note) -> None:
        def without(message: Outgoing) -> Iterable[tuple[float, Outgoing]]:
            if message.numbers is None:
                return [(0.0, message)]
            _lost(note, message)
            return []

        with stage.hub.disturbed(_of(self.symbol, "kline_1m"), without):
            await _until_candles_left(stage)

    @classmethod
    def drawn(cls, _random: Random, symbol: str) -> Self:
        return cls(symbol=symbol)


class BrokenJson(Fault):
    """The next messages of a stream come cut in half: a whole frame with half a text."""

    kind = "broken_json"
    recorded = "a dead letter each; of trades a jump in the ids too, of a closed candle its minute, exactly `skipped`"
    repair = "in part"

    symbol: Name = ""
    stream: StreamKind = "trade"
    count: Count = Field(3, description="The next so many messages of each symbol.")
    seconds: Seconds = Field(60.0, description="It is over then, whether or not so many came.")

    async def run(self, stage: Stage, note: Note) -> None:
        left: dict[str, int] = {}

        def broken(message: Outgoing) -> Iterable[tuple[float, Outgoing]]:
            still = left.setdefault(message.stream, self.count)
            if not still:
                return [(0.0, message)]
            left[message.stream] = still - 1
            _lost(note, message)

            def half(form: Form) -> bytes:
                payload = payload_of(message.frames(form))
                return text_frame(payload[: len(payload) // 2].decode(errors="ignore").encode())

            return [(0.0, Outgoing(message.stream, half, None))]

        end = stage.clock.right() + int(self.seconds * 1e6)
        with stage.hub.disturbed(_of(self.symbol, self.stream), broken):
            while stage.clock.right() < end and not (self.symbol and left and not any(left.values())):
                await stage.sleep(0.02)

    @classmethod
    def drawn(cls, random: Random, symbol: str) -> Self:
        return cls(symbol=symbol, count=random.randint(1, 5), seconds=20)


class UnknownEvent(Fault):
    """A message of a type that nobody has heard of comes in known streams."""

    kind = "unknown_event"
    recorded = "a dead letter each"
    repair = "nothing is lost"

    symbol: Name = ""

    async def run(self, stage: Stage, note: Note) -> None:
        for client in _touched(stage, note, self.symbol, "all"):
            for stream in list(filter(concerning(self.symbol), client.streams)):
                data = {"e": "tradeCorrection", "E": stage.clock() // client.form.unit, "s": _symbol_of(stream), "r": 1}
                client.send(event_frame(stream, json_text(data), client.form))

    @classmethod
    def drawn(cls, _random: Random, symbol: str) -> Self:
        return cls(symbol=symbol)


class NonAscii(Fault):
    """A well-formed trade of a symbol that nobody asked for, whose name is not ASCII."""

    kind = "non_ascii"
    recorded = "a dead letter each"
    repair = "nothing is lost"

    async def run(self, stage: Stage, note: Note) -> None:
        now = stage.clock()
        for client in _touched(stage, note, "", "all"):
            unit = client.form.unit
            data = {
                "e": "trade", "E": now // unit, "s": STRANGER, "t": 1, "p": "0.10000000", "q": "5.00000000",
                "T": now // unit, "m": False, "M": True,
            }  # fmt: skip
            client.send(event_frame(f"{STRANGER.lower()}@trade", json_text(data), client.form))

    @classmethod
    def drawn(cls, _random: Random, _symbol: str) -> Self:
        return cls()


class Milliseconds(Fault):
    """Times come in milliseconds though microseconds were asked for."""

    kind = "milliseconds"
    recorded = "nothing: the unit is told by the value; the time of a trade is coarser"
    repair = "nothing is lost"

    symbol: Name = ""
    where: Literal["websocket", "rest", "both"] = "websocket"
    seconds: Lasting = 30.0

    async def run(self, stage: Stage, note: Note) -> None:
        def coarse(message: Outgoing) -> Iterable[tuple[float, Outgoing]]:
            _seen(note, message)
            return [(0.0, message._replace(frames=lambda form: message.frames(form._replace(unit=MILLISECOND))))]

        with ExitStack() as changed:
            if self.where != "rest":
                changed.enter_context(stage.hub.disturbed(_of(self.symbol, ""), coarse))
            if self.where != "websocket":
                changed.enter_context(stage.rest.in_milliseconds())
            await stage.sleep(self.seconds)


class Skew(Fault):
    """The exchange's own clock is wrong for a while. It never goes back: set right, it stands still until it is."""

    kind = "skew"
    recorded = "the clock's offset; rows marked as skewed"
    repair = "nothing is lost"

    by: Annotated[float, Field(ge=-60, le=60)] = Field(2.0, description="Seconds by which it is ahead.")
    seconds: Lasting = 30.0

    async def run(self, stage: Stage, note: Note) -> None:
        ahead = int(self.by * 1e6)
        note.details["offset"] = ahead
        stage.clock.offset += ahead
        try:
            await stage.sleep(self.seconds)
        finally:
            stage.clock.offset -= ahead


# --- REST


class RestError(Fault):
    """REST calls answer with an error for a while."""

    kind = "rest_error"
    recorded = "nothing of itself: repairs wait as long as `Retry-After` says"
    repair = "nothing is lost"

    status: Literal[418, 429, 500, 502, 503, 504] = 429
    retry_after: Annotated[int, Field(ge=0, le=86_400)] = Field(5, description="Seconds; 0: none is said.")
    endpoints: tuple[Endpoint, ...] = Field((), description="Empty: all.")
    seconds: Lasting = 10.0

    async def run(self, stage: Stage, note: Note) -> None:
        with stage.rest.refusing(frozenset(self.endpoints), self.status, self.retry_after, note.details):
            await stage.sleep(self.seconds)

    @classmethod
    def drawn(cls, random: Random, _symbol: str) -> Self:
        return cls(
            status=random.choice((418, 429, 500, 503)),
            retry_after=random.randint(1, 5),
            endpoints=(),
            seconds=random.randint(3, 12),
        )


class Refuse(Fault):
    """Single REST calls are forbidden or not there."""

    kind = "refuse"
    recorded = "what the refused call would have repaired stays open; without single trades, proof is `agg`"
    repair = "nothing is lost"

    endpoints: tuple[Endpoint, ...] = ("historicalTrades",)
    status: Literal[403, 404, 451] = 403
    seconds: Lasting = 0.0

    async def run(self, stage: Stage, note: Note) -> None:
        with stage.rest.refusing(frozenset(self.endpoints), self.status, 0, note.details):
            await stage.sleep(self.seconds)


# --- public files


class _ArchiveFault(Fault):
    """Something is wrong with the public files."""

    tamper: ClassVar[Tamper]

    symbol: Name = ""
    seconds: Lasting = 0.0

    async def run(self, stage: Stage, note: Note) -> None:
        note.details["files"] = self.tamper
        with stage.archive.tampered(self.symbol, self.tamper):
            await stage.sleep(self.seconds)


class ArchiveAbsent(_ArchiveFault):
    """The public files are not there."""

    kind = "archive_absent"
    tamper = "absent"
    recorded = "nothing of itself: what only a file could repair stays open"
    repair = "nothing is lost"


class ArchiveChecksum(_ArchiveFault):
    """The checksums of the public files are those of other files."""

    kind = "archive_checksum"
    tamper = "checksum"
    recorded = "the file is refused"
    repair = "nothing is lost"


class ArchiveCorrupt(_ArchiveFault):
    """The public files are no zip that can be read, though their checksums are right."""

    kind = "archive_corrupt"
    tamper = "corrupt"
    recorded = "the file is refused"
    repair = "nothing is lost"


class ArchiveNow(Fault):
    """The public files of today exist, with what there is so far, so that nobody must wait for midnight."""

    kind = "archive_now"
    recorded = "nothing: it repairs"
    repair = "nothing is lost"

    symbol: Name = ""
    seconds: Lasting = 0.0

    async def run(self, stage: Stage, note: Note) -> None:
        note.details["files"] = "of today"
        with stage.archive.early(self.symbol):
            await stage.sleep(self.seconds)


# --- the market


Traded = Annotated[str, Field(min_length=4, max_length=50)]


class _MarketFault(Fault):
    """Something happens to a symbol from the next minute on."""

    symbol: Traded

    def prepare(self, stage: Stage) -> None:
        stage.made_market  # noqa: B018 (raises)
        if instrument(self.symbol) is None:
            raise FaultError(f"{self.symbol} is no pair with a known quote asset")
        try:
            self.plan(stage, Note(0, self.kind, {}, self.repair, 0), is_trial=True)
        except ValueError as error:
            raise FaultError(f"{self.symbol} cannot have {self.kind}: {error}") from None

    def plan(self, stage: Stage, note: Note, *, is_trial: bool) -> int:
        """Changes the calendar (not in a trial); gives the minute in which all is over. Raises `ValueError`."""
        raise NotImplementedError

    async def run(self, stage: Stage, note: Note) -> None:
        end = self.plan(stage, note, is_trial=False)
        note.streams = sorted(filter(concerning(self.symbol), stage.hub.streams))
        stage.save()
        await stage.until(stage.made_market.opening + end * MINUTE)


class Halt(_MarketFault):
    """Trading halts for whole minutes: no trades, no candles."""

    kind = "halt"
    recorded = "the status in `instruments`; the minutes are absent by `halt`, and no gap"
    repair = "nothing is lost"

    status: Literal["HALT", "BREAK"] = "HALT"
    minutes: Annotated[int, Field(ge=1, le=1440)] = 2

    def plan(self, stage: Stage, note: Note, *, is_trial: bool) -> int:
        start = stage.minute + 1
        end = start + self.minutes
        _close(stage, note, self.symbol, start, end, self.status, is_trial=is_trial)
        return end


class List(_MarketFault):
    """A symbol that was not there is listed; in a schedule that is there from the start, it is not there until then."""

    kind = "list"
    recorded = "the symbol in `instruments`; minutes before are `not_listed`"
    repair = "nothing is lost"

    symbol: Traded = STRANGER

    def prepare(self, stage: Stage) -> None:
        market = stage.made_market
        super().prepare(stage)
        calendar = market.change(self.symbol)
        if not calendar.closures:
            calendar.close(0, NEVER, "")
            stage.save()

    def plan(self, stage: Stage, note: Note, *, is_trial: bool) -> int:
        start = stage.minute + 1
        calendar = stage.made_market.calendars.get(self.symbol)
        if calendar is None and stage.sent.ranges(self.symbol, "trade"):
            raise ValueError("it has traded already")
        if calendar and calendar.status(start):
            raise ValueError("it is listed already")
        if not is_trial:
            stage.made_market.change(self.symbol).reopen(start)
            note.details["minute"] = stage.made_market.opening + start * MINUTE
        return start


class Delist(_MarketFault):
    """A symbol is no longer listed, and no longer trades."""

    kind = "delist"
    recorded = "`DELISTED` in `instruments`; the minutes are `not_listed`, and no gap"
    repair = "nothing is lost"

    def plan(self, stage: Stage, note: Note, *, is_trial: bool) -> int:
        start = stage.minute + 1
        _close(stage, note, self.symbol, start, NEVER, "", is_trial=is_trial)
        return start


class Relist(_MarketFault):
    """A symbol is delisted, and its ticker listed again later for another asset, at another price. Its ids go on."""

    kind = "relist"
    recorded = "another `instrument_id`; the minutes between are `not_listed`, and no gap"
    repair = "nothing is lost"

    minutes: Annotated[int, Field(ge=1, le=1440)] = Field(2, description="For which it is not listed.")
    price_factor: Annotated[float, Field(gt=0, le=1000)] = 0.1

    def plan(self, stage: Stage, note: Note, *, is_trial: bool) -> int:
        start = stage.minute + 1
        end = start + self.minutes
        _close(stage, note, self.symbol, start, end, "", is_trial=is_trial)
        if not is_trial:
            stage.made_market.change(self.symbol).relistings.append(Relisting(end, self.price_factor))
        return end


class VenueGap(_MarketFault):
    """The exchange leaves out trade ids: nobody ever has them."""

    kind = "venue_gap"
    recorded = "a jump in the ids, exactly `details.ids`, found to be a `venue_gap`"
    repair = "no"

    count: Count = 3

    def plan(self, stage: Stage, note: Note, *, is_trial: bool) -> int:
        market, minute = stage.made_market, stage.minute + 1
        tape = market.tape(self.symbol)
        assert tape is not None  # noqa: S101 (prepare asked)
        low, high = tape.orders_before(minute), tape.orders_before(minute + 1)
        order = stage.random.randrange(low, max(high, low + 1))
        calendar = market.change(self.symbol)
        if calendar.skips and calendar.skips[-1].order >= order:
            raise ValueError("it has one in this minute already")
        if not is_trial:
            first = tape.first_id(order)
            calendar.skips.append(Skip(order, self.count))
            note.details["ids"] = [first, first + self.count - 1]
        return minute + 1


# --- what they share


def _of(symbol: str, stream: str) -> Callable[[str], bool]:
    return concerning(symbol, *([stream] if stream else []))


def _touched(stage: Stage, note: Note, symbol: str, which: Which) -> list[Client]:
    victims = stage.victims(symbol, which)
    note.connections = len(victims)
    note.streams = sorted({stream for client in victims for stream in client.streams})
    return victims


def _symbol_of(stream: str) -> str:
    return stream.partition("@")[0].upper()


def _seen(note: Note, message: Outgoing) -> None:
    if message.stream not in note.streams:
        note.streams.append(message.stream)


def _lost(note: Note, message: Outgoing) -> None:
    _seen(note, message)
    if message.numbers:
        note.skipped.add(_symbol_of(message.stream), message.stream.partition("@")[2], *message.numbers)


def _close(stage: Stage, note: Note, symbol: str, start: int, end: int, status: str, *, is_trial: bool) -> None:
    market = stage.made_market
    calendar = market.calendars.get(symbol)
    if calendar and any(one.start < end and start < one.end for one in calendar.closures):
        raise ValueError("it is halted or not listed in a part of that time already")
    if not is_trial:
        market.change(symbol).close(start, end, status)
        until = None if end == NEVER else market.opening + end * MINUTE
        note.details["minutes"] = [market.opening + start * MINUTE, until]


async def _until_candles_left(stage: Stage) -> None:
    """Waits until the candles of the current minute must have left."""
    now = stage.clock()
    await stage.sleep((MINUTE - now % MINUTE) / 1e6 + _AFTER_CLOSE)
