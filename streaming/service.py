"""The streaming service, `python -m streaming.service`: from the exchanges of `symbols.yaml` into Kafka."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from kafka.errors import KafkaError

from shared.events import AnyEvent, DeadLetter, encode, message_key
from shared.settings import Settings, SettingsError, settings
from shared.symbol_manager import DEAD_LETTERS, Symbol, SymbolsFileError, load_symbols, topic
from streaming.exchange import check_exchanges
from streaming.feed import Feed
from streaming.kafka_producer import EventProducer
from streaming.metrics import Metrics

log = logging.getLogger(__name__)

LOOK_SECONDS = 2
"""How often `symbols.yaml` is looked at."""
RETRY_SECONDS = 2
FLUSH_SECONDS = 6
"""Twice this and five seconds for the sockets is less than what supervisor grants."""
TELL_SECONDS = 10
"""How often refused messages are written to the log; the metric counts them all."""


class SymbolsFile:
    """`symbols.yaml` as it changes. A wrong one is reported once and changes nothing."""

    def __init__(self, path: Path, active: str) -> None:
        self._path = path
        self._active = active
        self._seen: bytes | None = None

    def changed(self) -> tuple[Symbol, ...] | None:
        """The symbols, where the file was written since the last call; else none.

        Raises `SymbolsFileError`, once for each wrong content.
        """
        try:
            content = self._path.read_bytes()
        except OSError:
            content = b""
        if content == self._seen:
            return None
        self._seen = content
        symbols = load_symbols(self._path, self._active)
        check_exchanges(symbols)
        return symbols


class Service:
    """Wires the parts together; `run` lasts until `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file = SymbolsFile(settings.symbols_file, settings.active_symbols)
        self._metrics = Metrics()
        self._producer = EventProducer(settings, self._metrics)
        self._feed = Feed(settings, self._metrics.connection)
        self._stopping = threading.Event()
        self._drained = threading.Event()
        self._failure: Exception | None = None
        self._last_complaint = ""
        self._last_told = float("-inf")

    def stop(self) -> None:
        """End `run` in good order. May be called from a signal handler."""
        self._stopping.set()

    def run(self) -> int:
        """Stream; the exit code. Raises `SymbolsFileError` or `SettingsError` where it cannot start."""
        symbols = self._file.changed()
        try:
            self._metrics.serve(self._settings.bind_address, self._settings.metrics_port)
        except OSError as error:
            port = f"METRICS_PORT {self._settings.metrics_port}"
            raise SettingsError(
                f"{port} cannot be used ({error.strerror}): end what holds it, or set another."
            ) from None
        worker = threading.Thread(target=self._work, name="worker", daemon=True)
        worker.start()
        while not self._stopping.is_set():
            if symbols and self._follow(symbols):
                symbols = None
            try:
                symbols = self._file.changed() or symbols
            except SymbolsFileError as error:
                log.error("%s Streaming goes on with what it had.", error)  # noqa: TRY400 (a sentence for the user)
            self._stopping.wait(RETRY_SECONDS if symbols else LOOK_SECONDS)
        return self._end(worker)

    def _follow(self, symbols: Sequence[Symbol]) -> bool:
        """Make the topics, then stream. False where Kafka is not there yet."""
        try:
            self._producer.prepare([DEAD_LETTERS, *dict.fromkeys(self._topic(symbol.symbol) for symbol in symbols)])
        except (KafkaError, OSError) as error:
            complaint = f"Kafka at {self._settings.kafka} cannot be used yet ({type(error).__name__})"
            if complaint != self._last_complaint:
                log.warning("%s; nothing new is streamed before it is there", complaint)
            self._last_complaint = complaint
            return False
        self._last_complaint = ""
        self._feed.follow(symbols)
        log.info("streaming %s", ", ".join(f"{symbol.symbol} ({', '.join(symbol.streams)})" for symbol in symbols))
        return True

    def _work(self) -> None:
        try:
            while not self._drained.is_set():
                frame = self._feed.take(timeout=0.2)
                if frame is None:
                    self._producer.sweep()
                    if self._stopping.is_set():
                        return
                    continue
                parsed = self._feed.events(frame)
                if isinstance(parsed, DeadLetter):
                    self._refuse(parsed)
                else:
                    for event in parsed:
                        self._send(event)
        except Exception as error:  # noqa: BLE001 (the main thread ends the process with it)
            self._failure = error
            self._stopping.set()

    def _send(self, event: AnyEvent) -> None:
        key = event.symbol.encode() if self._settings.kafka_topic else message_key(event.exchange, event.stream)
        self._producer.send(self._topic(event.symbol), key, encode(event))
        self._metrics.count(event)

    def _refuse(self, letter: DeadLetter) -> None:
        if time.monotonic() - self._last_told > TELL_SECONDS:
            self._last_told = time.monotonic()
            log.warning("%s: a message was refused and kept in %s: %s", letter.exchange, DEAD_LETTERS, letter.error)
        self._producer.send(DEAD_LETTERS, letter.exchange.encode(), encode(letter))
        self._metrics.dead_letters.labels(letter.exchange).inc()

    def _topic(self, symbol: str) -> str:
        return self._settings.kafka_topic or topic(symbol)

    def _end(self, worker: threading.Thread) -> int:
        self._feed.close()
        self._producer.abandon.set()
        worker.join(FLUSH_SECONDS)
        self._drained.set()
        unsent = self._producer.close(FLUSH_SECONDS)
        self._metrics.close()
        if unsent:
            log.error("%d messages were not acknowledged by Kafka at %s and are lost", unsent, self._settings.kafka)
        if self._failure:
            log.error("streaming cannot go on", exc_info=self._failure)
        return 1 if self._failure or unsent else 0


def serve(settings: Settings) -> int:
    """Run the service until SIGTERM or Ctrl-C; the exit code.

    Raises `SymbolsFileError` or `SettingsError` where it cannot start.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # it reports each attempt; the producer says what matters
    logging.getLogger("websocket").setLevel(logging.CRITICAL)
    service = Service(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    return service.run()


def main() -> int:
    """`serve` with the environment's settings; 2, with a sentence, where they or `symbols.yaml` are wrong."""
    try:
        return serve(settings())
    except (SettingsError, SymbolsFileError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
