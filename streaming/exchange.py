"""The seam to an exchange: what the shared loop asks of a venue.

A venue is a module in `streaming/exchanges/`, found by being there. `Exchange` holds what is usual; a venue says what
is its own: data as class attributes, behaviour as short methods.
"""

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from importlib import import_module
from typing import ClassVar

import streaming.exchanges
from shared.events import STREAMS, AggTrade, Instrument, Kline, LiveEvent, StreamName, Trade
from shared.symbol_manager import Selector, Symbol, SymbolsFileError

HIGHEST_ID = 10**15 - 1
"""No exchange counts so far: beyond it an id or a count is a fault of the message."""


class UnparsableMessage(ValueError):  # noqa: N818 (it names the message)
    """A message that the venue's module does not know or may not believe; it goes to the dead letters, whole."""


@dataclass(frozen=True)
class Request:
    """A GET, and what it costs of the exchange's weight limit."""

    url: str
    weight: int


@dataclass(frozen=True)
class Ask:
    """A message of ours that adds or takes away channels."""

    text: str
    channels: tuple[str, ...]
    id: str = ""
    """Under which it is answered; empty where the exchange does not answer."""


@dataclass(frozen=True)
class Answer:
    """What the exchange says to an `Ask`."""

    id: str
    refusal: str = ""
    """Why not; empty where it was granted."""


class Exchange(ABC):
    """One venue, its limits, and how its messages are written and read.

    A *channel* is one stream of one symbol by the venue's own name, such as `btcusdt@trade`.
    """

    name: ClassVar[str]
    """The market as `symbols.yaml` and the tables name it, in lower case."""
    ws_url: ClassVar[str]
    rest_url: ClassVar[str]
    archive_url: ClassVar[str] = ""
    """Where its public archive of files lies; empty where it has none."""

    channels_per_connection: ClassVar[int] = 1024
    connections_per_5_minutes: ClassVar[int] = 300
    seconds_between_messages: ClassVar[float] = 0.3
    """The pace of what we send; sending faster gets the connection cut."""
    answer_seconds: ClassVar[float] = 10
    """How long an answer to a subscription, or the first message of a new connection, is waited for."""
    max_age_seconds: ClassVar[float] = 24 * 3600
    """A connection that lives this long is cut by the exchange."""
    rotate_seconds_before: ClassVar[float] = 600
    """How long before that its replacement is opened."""
    overlap_seconds: ClassVar[float] = 2
    """How long both deliver: the exchange's servers do not send the same message at the same moment."""
    silence_seconds: ClassVar[float] = 60
    """A connection on which nothing came for so long, not even a ping, is dead."""
    pong_seconds: ClassVar[float] = 60
    """A ping that is answered later than this gets the connection cut."""
    keep_alive_seconds: ClassVar[float] = 0
    """How often `keep_alive()` is sent; 0 where the exchange pings us."""
    weight_per_minute: ClassVar[int] = 6000
    """How much REST requests may weigh together in a minute."""
    used_weight_header: ClassVar[str] = ""
    """The header of a reply that says how much was used in this minute; empty where none does."""
    rest_headers: ClassVar[dict[str, str]] = {}
    """What each REST request carries."""
    trade_ids_are_contiguous: ClassVar[bool] = False
    """Whether each trade's id is one above that of the trade before it, so that a jump is a hole."""

    def __init__(self, ws_url: str = "", rest_url: str = "", archive_url: str = "") -> None:
        self.base_ws_url = ws_url or self.ws_url
        self.base_rest_url = rest_url or self.rest_url
        self.base_archive_url = archive_url or self.archive_url
        self.symbols: dict[str, Symbol] = {}
        self.channels: dict[str, tuple[str, Symbol]] = {}

    def learn(self, symbols: Iterable[Symbol]) -> None:
        """Make symbols known, so that their messages can be read.

        None is ever forgotten: its last messages may be on the way.
        """
        for symbol in symbols:
            self.symbols[self.native(symbol.base, symbol.quote)] = symbol
            for stream in STREAMS:
                self.channels[self.channel(symbol, stream)] = (stream, symbol)

    @abstractmethod
    def native(self, base: str, quote: str) -> str:
        """How the venue spells a pair."""

    def canonical(self, native: str) -> Symbol:
        """The symbol that the venue spells so, the inverse of `native`.

        Raises `UnparsableMessage` for one that nobody asked for.
        """
        try:
            return self.symbols[native]
        except KeyError:
            raise UnparsableMessage(f"nobody asked for {native!r}") from None

    @abstractmethod
    def channel(self, symbol: Symbol, stream: str) -> str:
        """The venue's name of a stream of a symbol."""

    @abstractmethod
    def address(self, channels: Sequence[str]) -> str:
        """Where to connect to receive `channels`; it may ask REST first, and may name some of them already."""

    def greeting(self, channels: Sequence[str]) -> list[Ask]:
        """What to send once connected to `address(channels)`; the subscriptions that the address does not carry."""
        return self.subscribe(channels)

    @abstractmethod
    def subscribe(self, channels: Sequence[str]) -> list[Ask]:
        """The messages that add channels to a live connection."""

    @abstractmethod
    def unsubscribe(self, channels: Sequence[str]) -> list[Ask]:
        """The messages that take channels from a live connection."""

    def answer(self, frame: bytes) -> Answer | None:  # noqa: ARG002
        """What a frame answers to one of our messages; none for every other frame."""
        return None

    def keep_alive(self) -> str:
        """The message that is sent every `keep_alive_seconds`; none where the exchange pings us."""
        return ""

    @abstractmethod
    def clock_address(self) -> str:
        """Where the exchange tells its time, by REST and without a key."""

    @abstractmethod
    def clock(self, reply: bytes) -> int:
        """The time in microseconds of a reply from `clock_address`. Raises `UnparsableMessage` where it has none."""

    def says_goodbye(self, frame: bytes) -> bool:  # noqa: ARG002
        """Whether the exchange announces that it ends this connection: its replacement is opened at once."""
        return False

    # --- REST, without a key. A request is built here and sent by `streaming.rest`, which keeps to the limits.

    @abstractmethod
    def trades_request(self, symbol: Symbol, from_id: int) -> Request:
        """Asks for single trades from an id on, the oldest first."""

    @abstractmethod
    def recent_trades_request(self, symbol: Symbol) -> Request:
        """Asks for the last single trades, as many as the exchange gives."""

    @abstractmethod
    def agg_trades_request(self, symbol: Symbol, from_time: int) -> Request:
        """Asks for merged fills from a time (microseconds) on, the oldest first."""

    @abstractmethod
    def klines_request(self, symbol: Symbol, start: int, end: int) -> Request:
        """Asks for one-minute klines that open in `[start, end)` (microseconds), the oldest first."""

    @abstractmethod
    def instruments_request(self) -> Request:
        """Asks for every pair that the exchange lists."""

    @abstractmethod
    def volumes_request(self) -> Request:
        """Asks for the turnover of the last 24 hours of every pair."""

    @abstractmethod
    def trades(self, reply: bytes, symbol: Symbol) -> list[Trade]:
        """The trades of a reply, by id. A row that is not understood is left out and named in the log.

        Raises `UnparsableMessage` where that are all, or the reply is none; so do the readers below.
        """

    @abstractmethod
    def agg_trades(self, reply: bytes, symbol: Symbol) -> list[AggTrade]:
        """The merged fills of a reply, by id."""

    @abstractmethod
    def klines(self, reply: bytes, symbol: Symbol, now: int) -> list[Kline]:
        """The finished klines of a reply, by time; one that is still open at `now` (microseconds) is left out."""

    @abstractmethod
    def instruments(self, reply: bytes) -> list[Instrument]:
        """Every pair of a reply."""

    @abstractmethod
    def volumes(self, reply: bytes) -> dict[str, Decimal]:
        """The 24-hour turnover in the quote asset, by native symbol."""

    def unread_places(self, reply: bytes, stream: StreamName, symbol: Symbol) -> dict[int, str]:  # noqa: ARG002
        """The ids of trades, or minutes of klines, that `trades` or `klines` left out of a reply, and why.

        -1 stands for rows that name none.
        """
        return {}

    def unread_pairs(self, reply: bytes) -> set[str]:  # noqa: ARG002
        """The symbols that `instruments` left out of a reply; an empty one for pairs without a name."""
        return set()

    @abstractmethod
    def parse(self, frame: bytes, received_at: int, connection_id: str) -> list[LiveEvent]:
        """The events of one message; none for an answer to one of ours. Changes nothing.

        Raises `UnparsableMessage` with the reason.
        """


@lru_cache(maxsize=1)
def exchanges() -> dict[str, type[Exchange]]:
    """Every venue by name, from the modules in `streaming/exchanges/`."""
    package = streaming.exchanges
    for module in pkgutil.iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return {venue.name: venue for venue in Exchange.__subclasses__() if venue.__module__.startswith(package.__name__)}


def check_exchanges(entries: Iterable[Symbol | Selector]) -> None:
    """Raises `SymbolsFileError` where a symbol or selector names an exchange that has no module."""
    for entry in entries:
        for name in entry.exchanges:
            if name not in exchanges():
                known = ", ".join(sorted(exchanges()))
                raise SymbolsFileError(f"{entry}: there is no exchange {name!r}; there is {known}.")
