"""The streaming service, `python -m streaming.service`: from the exchanges of `symbols.yaml` into Kafka."""

import gc
import logging
import signal
import sys
import threading
import time

from kafka.errors import KafkaError

from shared import logs
from shared.settings import Settings, SettingsError, settings
from shared.symbol_manager import DEAD_LETTERS, REFERENCE, Resolved, SymbolsFileError, Watchlist
from streaming.archive import Archive
from streaming.exchange import exchanges
from streaming.feed import Feed, addresses
from streaming.instruments import Instruments
from streaming.kafka_producer import EventProducer, topic_of
from streaming.ledger import LedgerError
from streaming.metrics import Metrics
from streaming.repair import Repairer
from streaming.rest import RestClient
from streaming.spool import Spool, SpoolError, spool_folder
from streaming.symbols_file import Choice, SymbolsFile
from streaming.worker import Worker

log = logging.getLogger(__name__)

LOOK_SECONDS = 1
"""How often `symbols.yaml` is looked at."""
TOPICS_SECONDS = 3
"""How long a change waits for its topics: with Kafka away it is still followed within five seconds."""
FLUSH_SECONDS = 6
"""Twice this and five seconds for the sockets is less than what supervisor grants."""
COLLECT_AFTER = (100_000, 20, 20)
"""Python's thresholds for collecting garbage. With its own (700, 10, 10) it looks at every message on its way to Kafka
again and again, for a tenth of the CPU, and finds nothing: none is part of a cycle once it is acknowledged."""


class Service:
    """Wires the parts together; `run` lasts until `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file = SymbolsFile(settings.symbols_file, settings.active_symbols)
        self._metrics = Metrics()
        self._stopping = threading.Event()
        self._clients: list[RestClient] = []
        self._repairers: dict[str, Repairer] = {}
        self._instruments: dict[str, Instruments] = {}

    def stop(self) -> None:
        """End `run` in good order. May be called from a signal handler."""
        self._stopping.set()

    def run(self) -> int:
        """Stream; the exit code.

        Raises `SymbolsFileError`, `SettingsError`, `SpoolError` or `LedgerError` where it cannot start.
        """
        watchlist = self._file.changed()
        if watchlist is None:
            raise SymbolsFileError(f"{self._settings.symbols_file}: is empty.")
        self._serve_metrics()
        self._open()
        choice = self._choice(watchlist)
        while not self._stopping.is_set():
            try:
                if changed := self._file.changed():
                    choice = self._choice(changed)
            except SymbolsFileError as error:
                log.error("%s Streaming goes on with what it had.", error)  # noqa: TRY400 (a sentence for the user)
            listed = {name: poller.listed() for name, poller in self._instruments.items()}
            if wanted := choice.renewed(listed, time.time_ns() // 1000):
                self._follow(wanted)
            if self._worker.failure:
                break
            self._stopping.wait(LOOK_SECONDS)
        return self._end()

    def _choice(self, watchlist: Watchlist) -> Choice:
        """Look at the exchanges that it names: what they list now, and what is missing of theirs."""
        names = {name for entry in (*watchlist.symbols, *watchlist.selectors) for name in entry.exchanges}
        for name in sorted(names - self._repairers.keys()):
            self._attend(name)
        for poller in self._instruments.values():
            poller.poke()
        return Choice(watchlist)

    def _serve_metrics(self) -> None:
        try:
            self._metrics.serve(self._settings.bind_address, self._settings.metrics_port)
        except OSError as error:
            port = f"METRICS_PORT {self._settings.metrics_port}"
            raise SettingsError(
                f"{port} cannot be used ({error.strerror}): end what holds it, or set another."
            ) from None

    def _open(self) -> None:
        spool = Spool(spool_folder(self._settings), self._settings.stream_spool_mb << 20)
        self._producer = EventProducer(self._settings, self._metrics, spool)
        self._archive = Archive(self._settings, self._metrics) if self._settings.raw_archive else None
        self._feed = Feed(self._settings, self._metrics.connection)
        self._worker = Worker(self._settings, self._feed, self._producer, self._archive, self._metrics)
        if self._archive:
            self._archive.start()

    def _follow(self, wanted: Resolved) -> None:
        """Stream these: first what is to be known of their past, then their sockets."""
        self._prepare(wanted)
        if not self._worker.is_alive():
            self._worker.start()
        while not self._worker.follow(wanted):
            if self._worker.failure or self._stopping.is_set():
                return
        self._feed.follow(wanted.symbols)
        log.info(
            "streaming %s", ", ".join(f"{symbol.symbol} ({', '.join(symbol.streams)})" for symbol in wanted.symbols)
        )

    def _prepare(self, wanted: Resolved) -> None:
        """Make the topics. Where Kafka is not there in time, they are made once it is; events wait in the spool."""
        topics = dict.fromkeys(topic_of(self._settings, symbol.symbol) for symbol in wanted.symbols)
        making = threading.Thread(target=self._make, args=([DEAD_LETTERS, REFERENCE, *topics],), daemon=True)
        making.start()
        making.join(TOPICS_SECONDS)

    def _make(self, topics: list[str]) -> None:
        try:
            self._producer.prepare(topics)
        except (KafkaError, OSError) as error:
            log.warning("%s; what comes waits in the spool", self._settings.broker.trouble(error))

    def _attend(self, name: str) -> None:
        """Repair the gaps of an exchange, and follow what it lists."""
        exchange = exchanges()[name](*addresses(self._settings, name))
        client = RestClient(exchange, self._stopping, self._settings.bans)
        self._clients.append(client)
        self._repairers[name] = Repairer(exchange, client, self._worker.is_covered, self._stopping)
        known = self._worker.ledger.instruments(name)
        self._instruments[name] = Instruments(exchange, client, known, self._stopping)
        self._worker.repairers = dict(self._repairers)
        self._worker.instruments = dict(self._instruments)
        self._repairers[name].start()
        self._instruments[name].start()

    def _end(self) -> int:
        self._stopping.set()  # also where the worker has failed
        self._feed.close()
        self._worker.stop()
        if self._worker.is_alive():
            self._worker.join(FLUSH_SECONDS)
            self._worker.give_up()
            self._worker.join(FLUSH_SECONDS)
        unsent = self._producer.close(FLUSH_SECONDS)
        self._worker.ledger.close()
        if self._archive:
            self._archive.close(FLUSH_SECONDS)
        for client in self._clients:
            client.close()
        self._metrics.close()
        if unsent:
            log.error("%d messages were not acknowledged by Kafka at %s and are lost", unsent, self._settings.kafka)
        if self._worker.failure:
            log.error("streaming cannot go on", exc_info=self._worker.failure)
        return 1 if self._worker.failure or unsent else 0


def serve(settings: Settings) -> int:
    """Run the service until SIGTERM or Ctrl-C; the exit code.

    Raises `SymbolsFileError`, `SettingsError`, `SpoolError` or `LedgerError` where it cannot start.
    """
    # Kafka's client reports each attempt; the producer says what matters.
    logs.set_up(settings.log_format, quiet=dict.fromkeys(("kafka", "websocket"), logging.CRITICAL))
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    service = Service(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    return service.run()


def main() -> int:
    """`serve` with the environment's settings; 2, with a sentence, where they or a file that it needs are wrong."""
    try:
        return serve(settings())
    except (SettingsError, SymbolsFileError, SpoolError, LedgerError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
