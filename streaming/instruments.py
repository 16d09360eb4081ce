"""What an exchange lists: asked hourly, when told to, and when a pair falls silent; sent where it is new or changed."""

import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from queue import Empty, SimpleQueue

from msgspec.structs import replace

from shared.events import Instrument, Selection
from shared.symbol_manager import Listed, Selected
from streaming.exchange import Exchange, UnparsableMessage
from streaming.rest import RestClient, RestError, Stopped

log = logging.getLogger(__name__)

EVERY_SECONDS = 3600.0
RETRY_SECONDS = 60.0
SUSPICION_SECONDS = 60.0
"""How long it rests after an answer before a suspicion has it ask again."""
HALTED_SECONDS = 600.0
"""The same where the pair is known not to trade."""
DELISTED = "DELISTED"


class Instruments(threading.Thread):
    """A thread for one exchange. `known` is what was sent of each pair before, by symbol."""

    def __init__(
        self, exchange: Exchange, client: RestClient, known: Mapping[str, Instrument], stopping: threading.Event
    ) -> None:
        super().__init__(name=f"{exchange.name}-instruments", daemon=True)
        self._exchange = exchange
        self._client = client
        self._known = dict(known)
        self._stopping = stopping
        self._poked = threading.Event()
        self._patience = EVERY_SECONDS
        self._events: SimpleQueue[Instrument] = SimpleQueue()
        self._listed: tuple[Listed, ...] = ()

    def poke(self) -> None:
        """Ask now, because something may have changed."""
        self._poked.set()

    def suspect(self, symbol: str) -> None:
        """Ask soon: the pair fell silent, which may be a halt."""
        known = self._known.get(symbol)
        trades = known is None or known.status == "TRADING"
        self._patience = min(self._patience, SUSPICION_SECONDS if trades else HALTED_SECONDS)

    def take(self) -> Instrument | None:
        """The next pair that is new or has changed, if there is one."""
        try:
            return self._events.get_nowait()
        except Empty:
            return None

    def listed(self) -> tuple[Listed, ...]:
        """Every pair with its turnover, as of the last answer; none before the first."""
        return self._listed

    def run(self) -> None:
        while not self._stopping.is_set():
            self._poked.clear()
            self._patience = EVERY_SECONDS
            try:
                self._ask()
                seconds = EVERY_SECONDS
            except Stopped:
                return
            except (RestError, UnparsableMessage) as error:
                log.warning("%s: what it lists cannot be read: %s", self._exchange.name, error)
                seconds = RETRY_SECONDS
            except Exception:
                log.exception("%s: what it lists could not be read", self._exchange.name)
                seconds = EVERY_SECONDS
            answered = time.monotonic()
            while not self._stopping.is_set() and not self._poked.wait(1):
                if time.monotonic() >= answered + min(seconds, self._patience):
                    break

    def _ask(self) -> None:
        reply = self._client.get(self._exchange.instruments_request())
        told = self._exchange.instruments(reply)
        for event in changes(self._known, told, self._exchange.unread_pairs(reply)):
            self._known[event.symbol] = event
            self._events.put(event)
        volumes = self._exchange.volumes(self._client.get(self._exchange.volumes_request()))
        self._listed = tuple(
            Listed(
                event.base_asset,
                event.quote_asset,
                volumes.get(self._exchange.native(event.base_asset, event.quote_asset), Decimal(0)),
                event.status,
            )
            for event in told
        )


def changes(
    known: Mapping[str, Instrument], told: Iterable[Instrument], unread: Collection[str] = ()
) -> list[Instrument]:
    """The pairs of `told` that are not as they were known, and those that are no longer told, as `DELISTED`.

    `unread` were told and not understood; one without a name may be any.

    Raises `UnparsableMessage` where nothing is told: an exchange without pairs is a fault of the answer.
    """
    now = {event.symbol: event for event in told}
    if not now:
        raise UnparsableMessage("the exchange names no pair")
    asked_at = max(event.event_time or 0 for event in now.values())
    changed = [
        event
        for event in now.values()
        if event.symbol not in known or event != replace(known[event.symbol], event_time=event.event_time)
    ]
    gone = [
        replace(event, status=DELISTED, event_time=asked_at)
        for event in known.values()
        if event.symbol not in now and event.status != DELISTED and event.symbol not in unread and "" not in unread
    ]
    return changed + gone


def selections(selected: Iterable[Selected], at: int) -> list[Selection]:
    """What selectors chose at a time (microseconds), as events."""
    return [
        Selection(
            exchange=chosen.exchange,
            symbol=chosen.symbol.symbol,
            base_asset=chosen.symbol.base,
            quote_asset=chosen.symbol.quote,
            event_time=at,
            source="rest",
            connection_id="rest",
            selector=str(chosen.selector),
            rank=chosen.rank,
            quote_volume=chosen.quote_volume,
        )
        for chosen in selected
    ]
