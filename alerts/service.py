"""The alerts service, `python -m alerts.service`: evaluates the rules of `config/alerts.yaml`, and sends alerts."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping

import psycopg2
from kafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from alerts import schema
from alerts.asking import Asking
from alerts.evaluation import Evaluation
from alerts.heartbeat import Heartbeat
from alerts.metrics import Metrics
from alerts.rules import AlertsFile, AlertsFileError, Watched, load
from alerts.sending import Sending
from alerts.sources import Market
from alerts.store import NotAloneError, Store
from alerts.stream import Stream
from shared import logs
from shared.pages import Pages, figures_and_health
from shared.settings import Settings, SettingsError, settings

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often the file is looked at."""
RETRY_SECONDS = 1.0
STALE_SECONDS = 15.0
"""After so long without a step the rules on trades are not evaluated."""
ASKED_STALE_SECONDS = 60.0


class Service:
    """Wires the parts together; `run` lasts until `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._watched = Watched(settings.alerts_file)
        self._last_right = settings.state / "alerts" / "alerts.yaml"
        self._file = AlertsFile()
        self._next_look = 0.0
        self._metrics = Metrics()
        self._seen: dict[Market, int] = {}
        self._stopping = threading.Event()
        self._asking = Asking(settings, self._seen)
        self._sending = Sending(lambda: Store(settings), self._metrics.sent)
        self._heartbeat = Heartbeat(self._heartbeat_url, self.faults)
        self._pages = Pages(figures_and_health(self._metrics.registry, lambda: (self._is_evaluating, self.faults())))
        self._stepped_at = float("-inf")
        self._trouble = "it has not begun"

    def stop(self) -> None:
        """End `run` in good order. May be called from a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Evaluate and send. Raises `AlertsFileError` or `SettingsError` where it cannot start."""
        self._file = self._begin()
        self._serve_pages()
        self._asking.start()
        self._heartbeat.start()
        while not self._stopping.is_set():
            try:
                self._follow()
            except (psycopg2.Error, SQLAlchemyError, KafkaError, NotAloneError) as error:
                self._tell(error)
                if isinstance(error, NotAloneError):  # the other one sends too
                    self._sending.stop()
                self._stopping.wait(RETRY_SECONDS)
        self._heartbeat.stop()
        self._asking.stop()
        self._sending.stop()
        self._pages.close()

    def _begin(self) -> AlertsFile:
        """The file; where it is wrong, the last right one, if there was one."""
        try:
            file = self._watched.changed() or self._file
        except AlertsFileError as error:
            if not self._last_right.exists():
                raise
            log.error("%s The rules are those of %s.", error, self._last_right)  # noqa: TRY400 (for the user)
            return load(self._last_right)
        self._note_right()
        return file

    def _note_right(self) -> None:
        self._last_right.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._last_right.write_bytes(self._watched.content)

    def _serve_pages(self) -> None:
        try:
            self._pages.serve(self._settings.bind_address, self._settings.alerts_port)
        except OSError as error:
            port = f"ALERTS_PORT {self._settings.alerts_port}"
            raise SettingsError(
                f"{port} cannot be used ({error.strerror}): end what holds it, or set another."
            ) from None

    def _follow(self) -> None:
        """Evaluate the rules of the file until it is another."""
        self._asking.follow(self._file)
        schema.upgrade(self._settings)
        store = Store(self._settings)
        try:
            store.be_alone()
            self._sending.follow(self._file)
            stream = Stream(self._settings, store.offsets())
            try:
                self._evaluate(store, stream)
            finally:
                stream.close()
        finally:
            store.close()

    def _evaluate(self, store: Store, stream: Stream) -> None:
        evaluation = Evaluation(self._file, store, stream, self._asking, self._seen, self._metrics)
        while not self._stopping.is_set():
            if evaluation.step():
                self._sending.wake()
            self._stepped_at, self._trouble = time.monotonic(), ""
            if changed := self._changed():
                self._file = changed
                self._note_right()
                log.info("%s is followed: %d rules", self._settings.alerts_file, len(changed.rules))
                break
        evaluation.commit()

    def _changed(self) -> AlertsFile | None:
        """The file, where it was written; a wrong one is reported once, and what was goes on."""
        if time.monotonic() < self._next_look:
            return None
        self._next_look = time.monotonic() + LOOK_SECONDS
        try:
            return self._watched.changed()
        except AlertsFileError as error:
            log.error("%s The rules stay as they were.", error)  # noqa: TRY400 (a sentence for the user)
            return None

    # --- how it is

    @property
    def _is_evaluating(self) -> bool:
        return time.monotonic() - self._stepped_at < STALE_SECONDS

    def faults(self) -> Mapping[str, str]:
        """What is not evaluated, and why; empty where all is."""
        faults = dict(self._asking.failing)
        if not self._is_evaluating:
            faults["trades"] = self._trouble
        if time.monotonic() - self._asking.asked_at > ASKED_STALE_SECONDS:
            faults["asking"] = f"no rule was asked for {ASKED_STALE_SECONDS:.0f} s"
        return faults

    def _tell(self, error: Exception) -> None:
        lines = str(error).strip().splitlines()
        trouble = f"{type(error).__name__}{': ' + lines[0] if lines else ''}"
        if trouble != self._trouble:
            log.warning("the rules cannot be evaluated, and are tried again: %s", trouble)
        self._trouble = trouble

    def _heartbeat_url(self) -> str:
        return self._file.heartbeat.url.get_secret_value() if self._file.heartbeat else ""


def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or Ctrl-C. Raises `AlertsFileError` or `SettingsError` where it cannot start."""
    # Kafka's client reports each attempt; we say what matters.
    logs.set_up(settings.log_format, quiet={"kafka": logging.CRITICAL, "alembic": logging.WARNING})
    service = Service(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    service.run()


def main() -> int:
    """`serve` with the environment's settings; 2, with a sentence, where they or the file are wrong."""
    try:
        serve(settings())
    except (SettingsError, AlertsFileError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
