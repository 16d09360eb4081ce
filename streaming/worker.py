"""The one thread in which frames become events, are told from gaps, and go to Kafka."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial

from shared.events import AnyEvent, ConnectionReport, DeadLetter, Gap, Instrument, Selection, encode, message_key
from shared.settings import Settings
from shared.symbol_manager import DEAD_LETTERS, REFERENCE, Resolved
from streaming.archive import Archive
from streaming.connection import Frame
from streaming.coverage import Outage, Restored
from streaming.exchange import exchanges
from streaming.feed import Feed, letter
from streaming.gaps import Gaps
from streaming.instruments import Instruments, selections
from streaming.kafka_producer import EventProducer, Refused, address
from streaming.ledger import Ledger
from streaming.metrics import Metrics
from streaming.repair import Repairer, Sought
from streaming.seams import Lost, Unread

log = logging.getLogger(__name__)

TICK_SECONDS = 0.2
SECOND = 1.0
COUNTING = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that nobody sets, and that goes on while the machine sleeps, where there is such a one."""
COMPLAIN_SECONDS = 10
"""How often refused messages are written to the log; the metric counts them all."""
CLOCK_SECONDS = 60
"""A clock of ours that is further off is complained of; where it is five minutes behind, bronze refuses every row."""
_OF_A_HALT = ("silence", "no_closed_kline")
"""How a halt of trading shows first."""


class Worker(threading.Thread):
    """Takes from the feed and the repairers and sends, until `stop`; then it ends when nothing more comes."""

    def __init__(
        self, settings: Settings, feed: Feed, producer: EventProducer, archive: Archive | None, metrics: Metrics
    ) -> None:
        super().__init__(name="worker", daemon=True)
        self._settings = settings
        self._feed = feed
        self._producer = producer
        self._archive = archive
        self._metrics = metrics
        self.ledger = Ledger(settings.state / "streaming" / "ledger.sqlite")
        contiguous = [name for name, venue in exchanges().items() if venue.trade_ids_are_contiguous]
        self._gaps = Gaps(contiguous, self.ledger.watermarks(), self.ledger.gaps())
        self.repairers: Mapping[str, Repairer] = {}
        self.instruments: Mapping[str, Instruments] = {}
        self.failure: Exception | None = None
        self._stopping = threading.Event()
        self._given_up = threading.Event()
        self._wanted: Resolved | None = None
        self._followed = threading.Event()
        self._next_tick = self._next_second = 0.0
        self._last_complaint = float("-inf")

    def is_covered(self, gap: Gap) -> bool:
        """Whether the stream of a gap is back; any thread may ask."""
        return self._gaps.is_covered(gap)

    def follow(self, wanted: Resolved) -> bool:
        """From now on these are wanted; True when their gaps are told, so that streaming them may begin."""
        if self._wanted is not wanted:
            self._followed.clear()
            self._wanted = wanted
        return self._followed.wait(SECOND)

    def stop(self) -> None:
        """End when all that was received is sent."""
        self._stopping.set()

    def give_up(self) -> None:
        """End now."""
        self._given_up.set()
        self._producer.abandon.set()

    def run(self) -> None:
        for gap in self.ledger.gaps():
            self._offer(gap)
        try:
            while not self._given_up.is_set():
                item = self._feed.take(timeout=TICK_SECONDS)
                match item:
                    case Frame():
                        self._take_in(item)
                    case Outage():
                        gaps = self._gaps.outage(item.exchange, item.series, item.at, item.reason, item.cause)
                        self._tell(gaps)
                    case Restored():
                        self._tell(self._gaps.restored(item.exchange, item.series, item.at))
                    case ConnectionReport():
                        self._report(item)
                    case None if self._stopping.is_set():
                        return
                if time.monotonic() >= self._next_tick:
                    self._tick()
        except Exception as error:  # noqa: BLE001 (the main thread ends the process with it)
            self.failure = error

    def _take_in(self, frame: Frame) -> None:
        parsed = self._feed.parsed(frame)
        events = () if isinstance(parsed, DeadLetter) else parsed
        if self._archive:
            symbol = events[0].symbol if events else "_other"
            self._archive.append(frame.body, frame.received_at, frame.connection_id, frame.exchange.name, symbol)
        if isinstance(parsed, DeadLetter):
            self._refuse(parsed)
        else:
            for event in self._feed.news(parsed, frame.received_at):
                self._take(event)

    def _take(self, event: AnyEvent) -> None:
        """Send it, then what it shows: a gap may not count as repaired before what fills it is safe."""
        self._send(event)
        self._tell(self._gaps.saw(event))

    def _tick(self) -> None:
        self._next_tick = time.monotonic() + TICK_SECONDS
        now, counted = time.time_ns() // 1000, time.clock_gettime_ns(COUNTING) // 1000
        if self._wanted and not self._followed.is_set():
            self._begin(self._wanted, now)
        for repairer in self.repairers.values():
            while repaired := repairer.take():
                if isinstance(repaired, Sought):
                    self._anchor(repaired)
                    continue
                for event in repaired.events:
                    self._take(event)
                    self._metrics.repairs.labels(event.exchange, event.stream, event.source).inc()
                self._tell(self._gaps.settle(repaired.gap, repaired.detail))
        for poller in self.instruments.values():
            while instrument := poller.take():
                self._refer(instrument)
        self._producer.sweep()
        while self._producer.losses:
            self._tell_loss(self._producer.losses.popleft(), now)
        if self._next_tick >= self._next_second:
            self._next_second = self._next_tick + SECOND
            self._feed.tick(now)
            self._tell(self._gaps.tick(now, counted))
            for exchange, symbol in self._gaps.unknown(now):
                if exchange in self.repairers:
                    self.repairers[exchange].seek(symbol)
            self._metrics.gaps_open.set(len(self._gaps))
            self.ledger.commit()

    def _anchor(self, sought: Sought) -> None:
        trade, gaps = self._gaps.anchor(*sought)
        if trade:
            self._send(trade)
        self._tell(gaps)

    def _begin(self, wanted: Resolved, now: int) -> None:
        self.ledger.keep(
            (exchange, symbol.symbol, stream)
            for symbol in wanted.symbols
            for exchange in symbol.exchanges
            for stream in symbol.streams
        )
        if wanted.is_whole:
            self.ledger.linger()
            self._gaps.linger(now)
        self._tell(self._gaps.follow(wanted.symbols, now))
        for selection in selections(wanted.selected, now):
            self._refer(selection)
        self._followed.set()

    def _tell(self, gaps: Sequence[Gap]) -> None:
        # First into the ledger's file: of a gap that Kafka alone knew, nobody would tell the end if this process ended.
        for gap in gaps:
            self.ledger.note(gap)
        if gaps:
            self.ledger.commit()
        for gap in gaps:
            if gap.status == "open" and gap.cause in _OF_A_HALT and gap.exchange in self.instruments:
                self.instruments[gap.exchange].suspect(gap.symbol)
            self._send(gap)
            self._offer(gap)

    def _offer(self, gap: Gap) -> None:
        if gap.exchange in self.repairers:
            self.repairers[gap.exchange].offer(gap)

    def _send(self, event: AnyEvent) -> None:
        topic, key = address(self._settings, event)
        self._producer.send(topic, key, encode(event), partial(self.ledger.safe, event))
        self._metrics.count(event)

    def _refer(self, event: Instrument | Selection) -> None:
        key = message_key(event.exchange, event.stream)
        self._producer.send(REFERENCE, key, encode(event), partial(self.ledger.safe, event))

    def _report(self, report: ConnectionReport) -> None:
        self._producer.send(REFERENCE, message_key(report.exchange, "connection"), encode(report))
        if report.clock_offset is not None:
            self._metrics.clock_offset.labels(report.exchange).set(report.clock_offset / 1_000_000)
            if abs(report.clock_offset) > CLOCK_SECONDS * 1_000_000:
                seconds = report.clock_offset / 1_000_000
                log.error(
                    "%s: this machine's clock is off by %.0f s; set it, or rows are refused", report.exchange, seconds
                )

    def _tell_loss(self, loss: Refused | Unread | Lost, now: int) -> None:
        """What did not come to Kafka: trades and klines are fetched again, all else is a dead letter."""
        match loss:
            case Lost():
                self._tell(self._gaps.lost(loss))
            case Refused(value, reason):
                self._refuse(letter("kafka", "", now, reason, value))
            case Unread(damage):
                self._refuse(letter("spool", "", now, str(loss), damage.part))

    def _refuse(self, refused: DeadLetter) -> None:
        if time.monotonic() - self._last_complaint > COMPLAIN_SECONDS:
            self._last_complaint = time.monotonic()
            log.warning("%s: a message was refused and kept in %s: %s", refused.exchange, DEAD_LETTERS, refused.error)
        self._producer.send(DEAD_LETTERS, refused.exchange.encode(), encode(refused))
        self._metrics.dead_letters.labels(refused.exchange).inc()
