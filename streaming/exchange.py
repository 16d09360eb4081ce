"""The seam to an exchange: what the shared loop asks of a venue.

A venue is a module in `streaming/exchanges/`, found by being there. `Exchange` holds what is usual; a venue says what
is its own: data as class attributes, behaviour as short methods.
"""

import pkgutil
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import ClassVar

import streaming.exchanges
from shared.events import STREAMS, AnyEvent
from shared.symbol_manager import Symbol, SymbolsFileError


class UnparsableMessage(ValueError):  # noqa: N818 (it names the message)
    """A message that the venue's module does not know or may not believe; it goes to the dead letters, whole."""


class Exchange:
    """One venue, its limits, and how its messages are written and read.

    A *channel* is one stream of one symbol by the venue's own name, such as `btcusdt@trade`.
    """

    name: ClassVar[str]
    """The market as `symbols.yaml` and the tables name it, in lower case."""
    ws_url: ClassVar[str]
    rest_url: ClassVar[str]

    channels_per_connection: ClassVar[int] = 1024
    connections_per_5_minutes: ClassVar[int] = 300
    seconds_between_messages: ClassVar[float] = 0.3
    """The pace of what we send; sending faster gets the connection cut."""
    max_age_seconds: ClassVar[int] = 24 * 3600
    """A connection that lives this long is cut by the exchange."""
    silence_seconds: ClassVar[int] = 60
    """A connection on which nothing came for so long, not even a ping, is dead."""
    keep_alive_seconds: ClassVar[float] = 0
    """How often `keep_alive()` is sent; 0 where the exchange pings us."""

    def __init__(self, ws_url: str = "", rest_url: str = "") -> None:
        self.base_ws_url = ws_url or self.ws_url
        self.base_rest_url = rest_url or self.rest_url
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

    def native(self, base: str, quote: str) -> str:
        """How the venue spells a pair."""
        raise NotImplementedError

    def canonical(self, native: str) -> Symbol:
        """The symbol that the venue spells so, the inverse of `native`.

        Raises `UnparsableMessage` for one that nobody asked for.
        """
        try:
            return self.symbols[native]
        except KeyError:
            raise UnparsableMessage(f"nobody asked for {native!r}") from None

    def channel(self, symbol: Symbol, stream: str) -> str:
        """The venue's name of a stream of a symbol."""
        raise NotImplementedError

    def address(self, channels: Sequence[str]) -> str:
        """Where to connect to receive `channels`; it may ask REST first, and may name some of them already."""
        raise NotImplementedError

    def greeting(self, channels: Sequence[str]) -> list[str]:
        """What to send once connected to `address(channels)`; the subscriptions that the address does not carry."""
        return self.subscribe(channels)

    def subscribe(self, channels: Sequence[str]) -> list[str]:
        """The messages that add channels to a live connection."""
        raise NotImplementedError

    def unsubscribe(self, channels: Sequence[str]) -> list[str]:
        """The messages that take channels from a live connection."""
        raise NotImplementedError

    def keep_alive(self) -> str:
        """The message that is sent every `keep_alive_seconds`."""
        raise NotImplementedError

    def clock_address(self) -> str:
        """Where the exchange tells its time, by REST and without a key."""
        raise NotImplementedError

    def clock(self, reply: bytes) -> int:
        """The time in microseconds of a reply from `clock_address`. Raises `UnparsableMessage` where it has none."""
        raise NotImplementedError

    def says_goodbye(self, frame: bytes) -> bool:  # noqa: ARG002
        """Whether the exchange announces that it ends this connection: a new one is opened at once."""
        return False

    def parse(self, frame: bytes, received_at: int, connection_id: str) -> list[AnyEvent]:
        """The events of one message; none for an answer to one of ours. Changes nothing.

        Raises `UnparsableMessage` with the reason.
        """
        raise NotImplementedError


@lru_cache(maxsize=1)
def exchanges() -> dict[str, type[Exchange]]:
    """Every venue by name, from the modules in `streaming/exchanges/`."""
    package = streaming.exchanges
    for module in pkgutil.iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return {venue.name: venue for venue in Exchange.__subclasses__() if venue.__module__.startswith(package.__name__)}


def check_exchanges(symbols: Iterable[Symbol]) -> None:
    """Raises `SymbolsFileError` where a symbol names an exchange that has no module."""
    for symbol in symbols:
        for name in symbol.exchanges:
            if name not in exchanges():
                known = ", ".join(sorted(exchanges()))
                raise SymbolsFileError(f"{symbol.symbol}: there is no exchange {name!r}; there is {known}.")
