"""The heartbeat of a dead-man's switch: whoever expects it tells when it stays away."""

import logging
import threading
import urllib.request
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

BEAT_SECONDS = 60.0
PATIENCE_SECONDS = 10


class Heartbeat(threading.Thread):
    """Asks the address each minute, while every rule is evaluated; any other time it is silent."""

    def __init__(
        self, url: Callable[[], str], faults: Callable[[], Mapping[str, str]], seconds: float = BEAT_SECONDS
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._url = url
        self._faults = faults
        self._seconds = seconds
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End soon."""
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.wait(self._seconds):
            if (url := self._url()) and not self._faults():
                try:
                    urllib.request.urlopen(url, timeout=PATIENCE_SECONDS).close()  # noqa: S310 (http, by alerts.rules)
                except (OSError, ValueError) as error:  # its text may have the address in it
                    log.warning("the heartbeat was not taken (%s)", type(error).__name__)
