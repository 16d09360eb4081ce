"""Live events as lines on a terminal: the feed without Kafka."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from pydantic import ValidationError

from shared.events import DeadLetter, DepthSnapshot, Kline, LiveEvent, Ticker, Trade, encode
from shared.settings import Settings
from shared.symbol_manager import Symbol, load_symbols, split_pair
from streaming.connection import Frame
from streaming.feed import Feed

GREEN, RED, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"


def chosen(settings: Settings, symbols: str = "", streams: str = "") -> list[Symbol]:
    """The symbols to print: those named, whether or not `symbols.yaml` has them, else the enabled ones of the file.

    Raises `ValueError` for a name that cannot be used, `SymbolsFileError` for a wrong file.
    """
    names = list(dict.fromkeys(name.strip().upper() for name in symbols.split(",") if name.strip()))
    wanted = [name.strip() for name in streams.split(",") if name.strip()]
    try:
        if names:
            entries = [Symbol.model_validate({"symbol": name, "name": name}) for name in names if _pair(name)]
        else:
            entries = list(load_symbols(settings.symbols_file, settings.active_symbols))
            if not entries:
                raise ValueError(f"{settings.symbols_file} has only selectors; name the symbols to print")
        if wanted:
            entries = [Symbol.model_validate({**entry.model_dump(), "streams": wanted}) for entry in entries]
    except ValidationError as error:
        fault = error.errors()[0]
        raise ValueError(f"{fault['input']!r}: {fault['msg'].lower()}") from None
    return entries


def _pair(name: str) -> tuple[str, str]:
    pair = split_pair(name)
    if pair is None:
        raise ValueError(f"the quote asset of {name} is not known; a symbol is base and quote joined, such as BTCUSDT")
    return pair


def print_events(settings: Settings, symbols: Sequence[Symbol], json: bool = False, limit: int = 0) -> None:
    """Print the live events of the symbols until `limit` of them (0: for ever), Ctrl-C, or a reader that goes away."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("websocket").setLevel(logging.CRITICAL)
    coloured = sys.stdout.isatty()
    feed = Feed(settings)
    try:
        feed.follow(symbols)
        for number, event in enumerate(_events(feed), start=1):
            print(encode(event).decode() if json else line(event, coloured), flush=True)
            if number == limit:
                break
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        # Python flushes stdout once more at its end and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        feed.close()


def _events(feed: Feed) -> Iterator[LiveEvent]:
    while True:
        frame = feed.take(timeout=0.5)
        if not isinstance(frame, Frame):
            continue
        parsed = feed.events(frame)
        if isinstance(parsed, DeadLetter):
            print(f"{parsed.exchange}: a message was refused: {parsed.error}: {parsed.frame[:200]}", file=sys.stderr)
        else:
            yield from parsed


def line(event: LiveEvent, coloured: bool = False) -> str:
    """An event on one line; the time is the exchange's where it gives one, in UTC."""
    micros = event.event_time or event.received_at or 0
    time = datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%H:%M:%S.%f")[:-3]
    what, rises = _what(event)
    if coloured and rises is not None:
        what = f"{GREEN if rises else RED}{what}{PLAIN}"
    return f"{time} {event.exchange} {event.symbol:<9} {event.stream:<8} {what}"


def _what(event: LiveEvent) -> tuple[str, bool | None]:
    match event:
        case Trade():
            side = "sell" if event.is_buyer_maker else "buy "
            return f"{side} {short(event.quantity)} @ {short(event.price)}", not event.is_buyer_maker
        case Ticker():
            change = event.price_change_percent
            volume = f"{short(event.volume)} {event.base_asset}"
            what = f"last {short(event.last_price)} {change:+.2f} % volume {volume} in 24 h"
            return what, change >= 0
        case Kline():
            minute = datetime.fromtimestamp(event.open_time / 1_000_000, UTC).strftime("%H:%M")
            prices = " ".join(short(price) for price in (event.open, event.high, event.low, event.close))
            what = f"{minute} {prices} volume {short(event.volume)} {'closed' if event.is_closed else 'open'}"
            return what, event.close >= event.open
        case DepthSnapshot():
            bid, ask = (_level(side) for side in (event.bids, event.asks))
            return f"bid {bid} | ask {ask}", None


def _level(side: tuple[tuple[Decimal, Decimal], ...]) -> str:
    return f"{short(side[0][1])} @ {short(side[0][0])}" if side else "none"


def short(value: Decimal) -> str:
    """A decimal without the zeros at its end, but with two places at least: `60123.45000000` -> `60123.45`."""
    whole, _, places = f"{value:f}".partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"
