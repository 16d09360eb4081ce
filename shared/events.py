"""The events that flow through Kafka, made once at the edge by an exchange's module and never changed after.

Times are integers: microseconds since 1970 in UTC. Prices and quantities are exact decimals that fit `decimal(38, 18)`;
in JSON they are strings. One event is one Kafka message, whose `stream` field names its type.
"""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import ClassVar, Literal, get_args

import msgspec

Source = Literal["websocket", "rest", "archive"]
StreamName = Literal["trade", "ticker", "kline_1m", "depth5"]
STREAMS: tuple[StreamName, ...] = get_args(StreamName)
"""The streams that `symbols.yaml` may name."""
GapCause = Literal[
    "disconnect", "id_jump", "silence", "no_closed_kline", "service_stopped", "spool_damaged", "offsets_expired"
]
GapStatus = Literal["open", "repaired", "lost", "venue_gap"]
"""`lost`: nobody can give it again. `venue_gap`: the exchange itself never issued these ids."""

TRADE_BEGINS = b'{"stream":"trade",'
"""How the message of each trade begins, and no other: most messages are none, and need not be decoded to see it."""

DECIMAL_SCALE = 18
_DIGITS = 20
"""Before the point."""
DECIMAL_LIMIT = Decimal(10) ** _DIGITS
LARGEST_WHOLE = 2**63 - 1
"""Of a table's bigint."""
AHEAD = 5 * 60 * 1_000_000
_SMALLEST = Decimal(1).scaleb(-DECIMAL_SCALE)
_plain = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,18})?").fullmatch
_exact = Context(prec=76, rounding=ROUND_HALF_EVEN, traps=[Inexact, InvalidOperation, Overflow])


class UnfitDecimal(ValueError):  # noqa: N818 (it names the number)
    """A number that `decimal(38, 18)` cannot hold exactly, or that is no number."""


def exact_decimal(text: str) -> Decimal:
    """The decimal that `text` writes, exactly.

    Raises `UnfitDecimal` where it has more than 20 digits before or 18 after the point, or is not a finite number.
    """
    if _plain(text):  # nearly every number; twice as fast as looking at the digits
        return Decimal(text)
    try:
        value = Decimal(text)
    except (InvalidOperation, TypeError, ValueError):
        raise UnfitDecimal(f"{text!r} is not a number") from None
    return _fitting(value)


def exact_product(left: Decimal, right: Decimal) -> Decimal:
    """`left * right` without rounding. Raises `UnfitDecimal` where the product does not fit `decimal(38, 18)`."""
    return _fitting(_exact.multiply(left, right))


def _fitting(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise UnfitDecimal(f"{value} is not a finite number")
    if exponent < -DECIMAL_SCALE:
        try:
            value = value.quantize(_SMALLEST, context=_exact)
        except (Inexact, InvalidOperation):
            raise UnfitDecimal(f"{value} has more than {DECIMAL_SCALE} decimal places") from None
    if value.copy_abs() >= DECIMAL_LIMIT:
        raise UnfitDecimal(f"{value} is not below 10^20")
    return value


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="stream"):
    """What all events have in common."""

    stream: ClassVar[str]

    exchange: str
    """The market, lower case: `binance` is Binance spot."""
    symbol: str
    """Canonical: base and quote in upper case, joined."""
    base_asset: str
    quote_asset: str
    event_time: int | None
    """When it happened by the exchange's clock; null where the exchange gives none."""
    published_at: int | None = None
    """When the exchange sent it, where it says so."""
    received_at: int | None = None
    """When we had it; null for archive and REST."""
    source: Source
    connection_id: str


class Trade(Event, frozen=True, kw_only=True, tag="trade"):
    """One fill. `is_buyer_maker` true: the buyer's order was resting, so the taker sold."""

    stream: ClassVar[str] = "trade"

    event_time: int
    trade_id: int
    price: Decimal
    quantity: Decimal
    quote_quantity: Decimal
    """`price * quantity`, exact."""
    is_buyer_maker: bool


class Ticker(Event, frozen=True, kw_only=True, tag="ticker"):
    """Rolling statistics of the last 24 hours (not of the UTC day), with the best bid and ask."""

    stream: ClassVar[str] = "ticker"

    event_time: int
    last_price: Decimal
    last_quantity: Decimal
    open_price: Decimal
    high_price: Decimal
    low_price: Decimal
    price_change: Decimal
    price_change_percent: Decimal
    weighted_average_price: Decimal
    volume: Decimal
    quote_volume: Decimal
    bid_price: Decimal
    bid_quantity: Decimal
    ask_price: Decimal
    ask_quantity: Decimal
    open_time: int
    close_time: int
    first_trade_id: int
    last_trade_id: int
    trade_count: int


class Kline(Event, frozen=True, kw_only=True, tag="kline_1m"):
    """The exchange's own candle of one minute, `[open_time, open_time + interval)`, finished or not."""

    stream: ClassVar[str] = "kline_1m"

    event_time: int
    interval: str
    open_time: int
    close_time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trade_count: int
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal
    first_trade_id: int | None
    """-1 where nothing traded; null where the exchange does not say it (Binance's REST and archive)."""
    last_trade_id: int | None
    is_closed: bool


class DepthSnapshot(Event, frozen=True, kw_only=True, tag="depth5"):
    """The best levels of the book, best first; each level is `(price, quantity)`."""

    stream: ClassVar[str] = "depth5"

    received_at: int | None
    update_id: int
    levels: int
    """How many levels a side the stream carries at most; a thin book may show fewer."""
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]


class AggTrade(Event, frozen=True, kw_only=True, tag="agg_trade"):
    """Fills of one taker order at one price, merged by the exchange. It proves its range of ids, and is no trade."""

    stream: ClassVar[str] = "agg_trade"

    event_time: int
    agg_trade_id: int
    price: Decimal
    quantity: Decimal
    quote_quantity: Decimal
    """`price * quantity`, exact."""
    first_trade_id: int
    last_trade_id: int
    is_buyer_maker: bool


class Gap(Event, frozen=True, kw_only=True, tag="gap"):
    """Something that should have come and did not: absence is data too.

    `event_time` is where the hole begins: the time of the last thing before it. It and `first_missing` never change, so
    later events about the same hole replace the earlier ones.
    """

    stream: ClassVar[str] = "gap"

    event_time: int
    gap_stream: StreamName
    """What is missing."""
    first_missing: int
    """Trades: the first missing id. Klines: the first missing `open_time`. Else the time when silence began."""
    last_missing: int | None
    """Inclusive, in the unit of `first_missing`; null while the hole still grows or its end is not known."""
    missing: int | None
    """How many trades or klines are still missing: the last ones up to `last_missing`. Null where that is not known."""
    cause: GapCause
    status: GapStatus
    repaired_from: str
    """What filled it: `websocket` (it was only late), `rest`, `archive`, `agg_trades`; empty while nothing has."""
    detail: str
    """A sentence for a person: what happened, what was tried, what comes next."""
    updated_at: int


class Instrument(Event, frozen=True, kw_only=True, tag="instrument"):
    """What the exchange says of a pair, sent when it is first seen and at each change."""

    stream: ClassVar[str] = "instrument"

    event_time: int
    """When the exchange said so."""
    status: str
    """The exchange's word (`TRADING`, `HALT`, `BREAK`, …), or `DELISTED` where it no longer lists the pair."""
    tick_size: Decimal | None
    step_size: Decimal | None
    min_notional: Decimal | None


class Selection(Event, frozen=True, kw_only=True, tag="selection"):
    """A pair that a selector such as `top: 50` chose for a day."""

    stream: ClassVar[str] = "selection"

    event_time: int
    """When it was chosen."""
    selector: str
    """As it reads: `quote=USDT top=50`."""
    rank: int
    quote_volume: Decimal
    """Of the 24 hours before."""


LiveEvent = Trade | Ticker | Kline | DepthSnapshot
"""What an exchange's WebSocket brings."""
AnyEvent = LiveEvent | AggTrade | Gap | Instrument | Selection


class ConnectionReport(msgspec.Struct, frozen=True, kw_only=True, tag_field="stream", tag="connection"):
    """The life of one WebSocket, sent when it opens, when its clock offset is known, and when it ends."""

    exchange: str
    connection_id: str
    opened_at: int
    closed_at: int | None
    reason: str
    """Why it ended; empty while it lives."""
    channels: int
    clock_offset: int | None
    """Microseconds by which the exchange's clock is ahead of ours, measured and never corrected away."""
    updated_at: int


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, tag_field="stream", tag="dead_letter"):
    """A frame that could not be parsed, whole, with the reason and where it came from."""

    exchange: str
    connection_id: str
    received_at: int
    error: str
    frame: str


_encoder = msgspec.json.Encoder()
_CHECKED = (Decimal, int, tuple)
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: AnyEvent | ConnectionReport | DeadLetter) -> bytes:
    """The Kafka message of an event: compact JSON, decimals as Python writes them in strings (so also `0E-8`)."""
    return _encoder.encode(event)


def decode(message: bytes | None) -> AnyEvent:
    """The event of a Kafka message.

    Raises `msgspec.ValidationError` where it is none: no JSON, nothing, or a number that is too great for any table.
    """
    try:
        event = _decoder.decode(message or b"")
        for value in msgspec.structs.astuple(event):
            if type(value) in _CHECKED:
                _check(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, UnfitDecimal) as error:
        raise msgspec.ValidationError(str(error)) from None
    return event


def _check(value: object) -> None:
    if isinstance(value, Decimal):
        # Written out, 1E+999999999 is a gigabyte, and so is a zero of that kind.
        if not value.is_finite() or not -DECIMAL_SCALE <= value.adjusted() < _DIGITS:
            raise UnfitDecimal(f"{value} does not fit decimal(38, 18)")
    elif isinstance(value, int) and not -1 <= value <= LARGEST_WHOLE:
        raise UnfitDecimal(f"{value} is neither an id nor a time")
    elif isinstance(value, tuple):
        for part in value:
            _check(part)


def lies_ahead(event: AnyEvent, now: int) -> bool:
    """Whether it says that it is of later than five minutes from `now`, in microseconds: bronze refuses it too."""
    times = (event.event_time, event.open_time if isinstance(event, Kline) else None)
    return any(at is not None and at > now + AHEAD for at in times)


def message_key(exchange: str, stream: str) -> bytes:
    """The Kafka key within a symbol's topic: order is kept per exchange and stream."""
    return f"{exchange}:{stream}".encode()
