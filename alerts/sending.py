"""Sends what waits in the database: a thread a destination, so that one that is slow or down keeps no other waiting."""

import logging
import threading
from collections.abc import Callable

import psycopg2

from alerts import delivery
from alerts.rules import AlertsFile, Retry
from alerts.store import Store

log = logging.getLogger(__name__)

IDLE_SECONDS = 5.0
"""How often a courier looks by itself; what is new wakes it."""


class Courier(threading.Thread):
    """Brings one destination its messages in their order, each until it is taken.

    Killed after a message was taken and before that was noted, the next one sends it again, with the same key.
    """

    def __init__(
        self, name: str, url: str, retry: Retry, store: Callable[[], Store], told: Callable[..., None]
    ) -> None:
        super().__init__(name=f"courier of {name}", daemon=True)
        self._destination, self._url, self._retry = name, url, retry
        self._store = store
        self._told = told
        self._wake = threading.Event()
        self._stopping = threading.Event()

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def stop(self) -> None:
        """End after what is being sent."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                store = self._store()
            except psycopg2.Error:
                self._stopping.wait(1)  # the evaluation says so
                continue
            try:
                self._serve(store)
            except psycopg2.Error as error:
                log.warning("%s: the database is away (%s)", self.name, type(error).__name__)
                self._stopping.wait(1)
            finally:
                store.close()

    def _serve(self, store: Store) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            waiting = store.next_delivery(self._destination)
            if waiting is None or waiting.wait > 0:
                self._wake.wait(min(waiting.wait, IDLE_SECONDS) if waiting else IDLE_SECONDS)
                continue
            answer = delivery.send(self._url, waiting.message)
            if answer:
                seconds = self._retry.after(waiting.attempts + 1)
                store.not_delivered(waiting.number, answer, seconds)
                log.warning("%s did not take a message, next try in %.0f s: %s", self._destination, seconds, answer)
            else:
                store.delivered(waiting.number)
            self._told(self._destination, not answer)


class Sending:
    """The couriers of the destinations."""

    def __init__(self, store: Callable[[], Store], told: Callable[..., None]) -> None:
        self._store = store
        self._told = told
        self._couriers: dict[tuple[str, str, Retry], Courier] = {}

    def follow(self, file: AlertsFile) -> None:
        """From now on send to these destinations."""
        wanted = {(name, each.url.get_secret_value(), file.retry) for name, each in file.destinations.items()}
        gone = [self._couriers.pop(key) for key in self._couriers.keys() - wanted]
        for courier in gone:
            courier.stop()
        for courier in gone:  # two for one destination would send twice
            courier.join()
        for key in wanted - self._couriers.keys():
            self._couriers[key] = Courier(*key, self._store, self._told)
            self._couriers[key].start()

    def wake(self) -> None:
        """There is something to send."""
        for courier in self._couriers.values():
            courier.wake()

    def stop(self) -> None:
        """End after what is being sent."""
        self.follow(AlertsFile())
