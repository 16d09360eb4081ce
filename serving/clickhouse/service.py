"""The service of the trades, `python -m serving.clickhouse.service`: from Kafka into ClickHouse."""

import logging
import signal
import sys
import threading
from collections.abc import Mapping

from kafka.errors import KafkaError

from serving.clickhouse.follower import Follower
from serving.clickhouse.metrics import Metrics
from serving.clickhouse.server import ServingError, connected
from shared import logs
from shared.pages import Pages, figures_and_health
from shared.settings import Settings, SettingsError, settings

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class Service:
    """Wires the parts together; `run` lasts until `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._stopping = threading.Event()
        self._trouble = "it has not begun"

    def stop(self) -> None:
        """End `run` in good order. May be called from a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Bring trades over; what is away is tried again. Raises `SettingsError` where the port is taken."""
        pages = Pages(figures_and_health(self._metrics.registry, self._health))
        try:
            pages.serve(self._settings.bind_address, self._settings.clickhouse_trades_port)
        except OSError as error:
            port = f"CLICKHOUSE_TRADES_PORT {self._settings.clickhouse_trades_port}"
            raise SettingsError(
                f"{port} cannot be used ({error.strerror}): end what holds it, or set another."
            ) from None
        while not self._stopping.is_set():
            try:
                self._follow()
            except (ServingError, KafkaError) as error:
                trouble = str(error) or type(error).__name__
                if trouble != self._trouble:
                    log.warning("trades cannot be brought over, and are tried again: %s", trouble)
                self._trouble = trouble
                self._stopping.wait(RETRY_SECONDS)
        pages.close()

    def _follow(self) -> None:
        with connected(self._settings) as client:
            follower = Follower(self._settings, client, self._metrics)
            try:
                while not self._stopping.is_set():
                    follower.step()
                    self._trouble = ""
            finally:
                follower.close()

    def _health(self) -> tuple[bool, Mapping[str, str]]:
        return not self._trouble, {"trades": self._trouble} if self._trouble else {}


def main() -> None:
    """Run until TERM."""
    try:
        # Kafka's client reports each attempt; we say what matters.
        logs.set_up(settings().log_format, quiet={"kafka": logging.CRITICAL})
        service = Service(settings())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: service.stop())
        service.run()
    except SettingsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
