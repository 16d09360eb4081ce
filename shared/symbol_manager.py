"""What to stream: `config/symbols.yaml`, read whole or refused whole, and how a symbol becomes a topic.

A tier lists symbols, and selectors, which choose many: `{quote: USDT, top: 50}`.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)

from shared import yaml_file
from shared.events import StreamName
from shared.yaml_file import Loc, YamlFileError

Asset = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[^\s\x00-\x1fa-z/@,]+$")]
TOPIC_LENGTH = 249
"""The longest name that Kafka allows."""

TRADING = "TRADING"
"""The status of a pair that can be traded now; every exchange's own word is translated to it."""

TOPIC_PREFIX = "crypto_raw_"
"""How the topic of a symbol begins."""
DEAD_LETTERS = "crypto_dead_letters"
"""The topic of what could not be parsed."""
REFERENCE = "crypto_reference"
"""The topic of what is not about one stream of one symbol: instruments, selections, connections."""

QUOTE_ASSETS = (
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "USD1", "DAI", "USD",
    "EUR", "GBP", "JPY", "TRY", "BRL", "AUD", "PLN", "UAH", "ZAR", "MXN", "ARS", "IDR", "COP", "CZK", "RON",
    "BTC", "ETH", "BNB", "XRP", "TRX", "SOL", "DOGE",
)  # fmt: skip
"""The quote assets that a symbol's tail is read as, longest match first; another pair names its `base` and `quote`."""


class SymbolsFileError(YamlFileError):
    """A `symbols.yaml` that is refused; the message gives file, line and reason."""


class _Entry(BaseModel):
    """What symbols and selectors have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    priority: Annotated[int, Field(ge=1, le=100)] = 50
    """1 is served first."""
    enabled: bool = True
    streams: tuple[StreamName, ...] = Field(default=("trade", "ticker", "kline_1m", "depth5"), min_length=1)
    exchanges: tuple[str, ...] = Field(default=("binance",), min_length=1)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for field in ("streams", "exchanges"):
            values = getattr(self, field)
            if len(set(values)) != len(values):
                raise ValueError(f"{field} names one twice")
        return self


class Symbol(_Entry):
    """A pair, and which of its streams to take from which exchanges."""

    symbol: Asset
    name: str
    base: Asset = ""
    quote: Asset = ""

    def __str__(self) -> str:
        return self.symbol

    @model_validator(mode="before")
    @classmethod
    def _split_pair(cls, values: Any) -> Any:
        if isinstance(values, dict) and "base" not in values and "quote" not in values:
            pair = split_pair(str(values.get("symbol", "")))
            if pair:
                return {**values, "base": pair[0], "quote": pair[1]}
        return values

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.base or not self.quote:
            raise ValueError(f"the quote asset of {self.symbol} is not known: give base and quote")
        if self.base + self.quote != self.symbol:
            raise ValueError(f"{self.base} and {self.quote} do not make {self.symbol}")
        if self.symbol.lower().upper() != self.symbol:
            raise ValueError(f"{self.symbol} does not survive lower case, in which topics and streams are named")
        if len(topic(self.symbol)) > TOPIC_LENGTH:
            raise ValueError(f"the topic of {self.symbol} would be longer than {TOPIC_LENGTH} characters")
        return self


class Selector(_Entry):
    """The pairs of a quote asset with the largest turnover of the last 24 hours; chosen anew each day."""

    quote: Asset
    top: Annotated[int, Field(ge=1, le=2000)]

    def __str__(self) -> str:
        return f"quote={self.quote} top={self.top}"


class Watchlist(NamedTuple):
    """What a `symbols.yaml` says, the most important first."""

    symbols: tuple[Symbol, ...]
    selectors: tuple[Selector, ...]
    disabled: frozenset[str]
    """Symbols with `enabled: false`, which no selector chooses."""


class Listed(NamedTuple):
    """A pair as an exchange lists it today."""

    base: str
    quote: str
    quote_volume: Decimal
    """Turnover of the last 24 hours, in the quote asset."""
    status: str


class Selected(NamedTuple):
    """A pair that a selector chose."""

    exchange: str
    symbol: Symbol
    selector: Selector
    rank: int
    """1 has the largest turnover."""
    quote_volume: Decimal


class Resolved(NamedTuple):
    """A watchlist with its selectors worked out."""

    symbols: tuple[Symbol, ...]
    """All that is to be streamed, the most important first."""
    selected: tuple[Selected, ...]
    """What each selector chose, also where the symbol is streamed on another entry's terms."""
    is_whole: bool = True
    """Whether every exchange that a selector names has said what it lists."""


def _kind(entry: object) -> str:
    names = entry.keys() if isinstance(entry, dict) else ()
    return "selector" if "top" in names or ("quote" in names and "symbol" not in names) else "symbol"


_KINDS = ("symbol", "selector")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tiers: dict[
        str,
        list[Annotated[Annotated[Symbol, Tag("symbol")] | Annotated[Selector, Tag("selector")], Discriminator(_kind)]],
    ]


def split_pair(symbol: str) -> tuple[str, str] | None:
    """Base and quote of a canonical symbol, `BTCUSDT` -> `("BTC", "USDT")`; none where the quote is not known."""
    for quote in sorted(QUOTE_ASSETS, key=len, reverse=True):
        if symbol.endswith(quote) and symbol != quote:
            return symbol.removesuffix(quote), quote
    return None


def load_symbols(path: Path, active: str = "") -> tuple[Symbol, ...]:
    """The symbols that the file names, without what its selectors choose; else as `load_watchlist`."""
    return load_watchlist(path, active).symbols


def load_watchlist(path: Path, active: str = "") -> Watchlist:
    """What to stream.

    `active` (the setting `ACTIVE_SYMBOLS`, comma-separated) chooses symbols from the file regardless of `enabled`, and
    then no selector counts. Raises `SymbolsFileError` with file, line and reason; nothing of a wrong file is used.
    """
    return _chosen(path, _parsed(path), active)


def named_entries(path: Path) -> tuple[Symbol | Selector, ...]:
    """Every symbol and selector that the file names, also those with `enabled: false`. Raises `SymbolsFileError`."""
    return tuple(_parsed(path))


def named_symbols(path: Path) -> tuple[Symbol, ...]:
    """Every symbol that the file names, also those with `enabled: false`. Raises `SymbolsFileError`."""
    return tuple(entry for entry in named_entries(path) if isinstance(entry, Symbol))


def symbols_by_tier(path: Path) -> dict[str, tuple[str, ...]]:
    """The symbols that each tier of the file names itself; a selector's are of none. Raises `SymbolsFileError`."""
    _parsed(path)  # whether the file is right
    file, _ = yaml_file.load(path, _File, SymbolsFileError, "`tiers`, each a list of symbols", _without_tag)
    return {
        tier: tuple(entry.symbol for entry in entries if isinstance(entry, Symbol))
        for tier, entries in file.tiers.items()
    }


def resolved(watchlist: Watchlist, listed: Mapping[str, Iterable[Listed]]) -> Resolved:
    """What a watchlist streams, given what each exchange lists.

    A selector takes the first `top` pairs by turnover, then by name, that trade or have traded within the day: what is
    halted now may go on in a minute, and is not chosen anew before tomorrow. A symbol that the file names itself
    stays as it is there, and a disabled one is passed over. Where selectors overlap, the first sets streams and
    priority. An exchange that is not in `listed` gives nothing.
    """
    symbols = {entry.symbol: entry for entry in watchlist.symbols}
    explicit = frozenset(symbols)
    selected = []
    for selector in watchlist.selectors:
        for exchange in selector.exchanges:
            for rank, (entry, volume) in enumerate(_top(selector, listed.get(exchange, ()), watchlist.disabled), 1):
                known = symbols.setdefault(entry.symbol, entry.model_copy(update={"exchanges": (exchange,)}))
                if entry.symbol not in explicit and exchange not in known.exchanges:
                    known = known.model_copy(update={"exchanges": (*known.exchanges, exchange)})
                    symbols[entry.symbol] = known
                selected.append(Selected(exchange, known, selector, rank, volume))
    is_whole = all(listed.get(name) for selector in watchlist.selectors for name in selector.exchanges)
    return Resolved(_by_importance(symbols.values()), tuple(selected), is_whole)


def _top(selector: Selector, pairs: Iterable[Listed], disabled: frozenset[str]) -> list[tuple[Symbol, Decimal]]:
    chosen: list[tuple[Symbol, Decimal]] = []
    for pair in sorted(pairs, key=lambda pair: (-pair.quote_volume, pair.base)):
        if len(chosen) == selector.top:
            break
        name = pair.base + pair.quote
        is_dead = pair.status != TRADING and not pair.quote_volume
        if pair.quote != selector.quote or is_dead or name in disabled:
            continue
        try:
            entry = Symbol(
                symbol=name, name=pair.base, base=pair.base, quote=pair.quote, priority=selector.priority,
                streams=selector.streams,
            )  # fmt: skip
        except ValidationError:  # a name that no topic can carry
            continue
        chosen.append((entry, pair.quote_volume))
    return chosen


def _by_importance(symbols: Iterable[Symbol]) -> tuple[Symbol, ...]:
    return tuple(sorted(symbols, key=lambda entry: (entry.priority, entry.symbol)))


def _parsed(path: Path) -> list[Symbol | Selector]:
    file, parsed = yaml_file.load(path, _File, SymbolsFileError, "`tiers`, each a list of symbols", _without_tag)
    seen: set[str] = set()
    found = []
    for tier, entries in file.tiers.items():
        for index, entry in enumerate(entries):
            if str(entry) in seen:
                raise SymbolsFileError(f"{parsed.at(('tiers', tier, index))}: {entry} stands twice.")
            seen.add(str(entry))
            found.append(entry)
    return found


def _without_tag(loc: Loc) -> Loc:
    """Pydantic's path without the name of the kind that it tried an entry as."""
    return [part for place, part in enumerate(loc) if place != 3 or part not in _KINDS]


def _chosen(path: Path, entries: list[Symbol | Selector], active: str) -> Watchlist:
    symbols = {entry.symbol: entry for entry in entries if isinstance(entry, Symbol)}
    selectors = [entry for entry in entries if isinstance(entry, Selector) and entry.enabled]
    wanted = list(dict.fromkeys(name.strip().upper() for name in active.split(",") if name.strip()))
    if wanted:
        unknown = [name for name in wanted if name not in symbols]
        if unknown:
            names = ", ".join(unknown)
            raise SymbolsFileError(f"ACTIVE_SYMBOLS names {names}, which {path} does not have: add it there.")
        return Watchlist(_by_importance(symbols[name] for name in wanted), (), frozenset())
    enabled = [entry for entry in symbols.values() if entry.enabled]
    if not enabled and not selectors:
        raise SymbolsFileError(f"{path}: no symbol is enabled; set `enabled: true` on one.")
    return Watchlist(
        _by_importance(enabled),
        tuple(sorted(selectors, key=lambda entry: entry.priority)),
        frozenset(name for name, entry in symbols.items() if not entry.enabled),
    )


def topic(symbol: str) -> str:
    """The Kafka topic of a canonical symbol: `crypto_raw_btcusdt`.

    Kafka allows few characters: every byte of the UTF-8 name outside `a-z0-9` is written `.xx` in hexadecimal.
    """
    encoded = "".join(
        chr(byte) if chr(byte) in "abcdefghijklmnopqrstuvwxyz0123456789" else f".{byte:02x}"
        for byte in symbol.lower().encode()
    )
    return f"{TOPIC_PREFIX}{encoded}"


def symbol_of(topic: str) -> str:
    """The canonical symbol of a topic, the inverse of `topic`. Raises `ValueError` for another topic."""
    prefix, encoded = topic[: len(TOPIC_PREFIX)], topic[len(TOPIC_PREFIX) :]
    if prefix != TOPIC_PREFIX or not encoded:
        raise ValueError(f"{topic} is no topic of a symbol")
    first, *rest = encoded.split(".")
    raw = first.encode() + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode() for part in rest)
    return raw.decode().upper()
