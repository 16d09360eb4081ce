"""What each source answered last, for Prometheus: a scrape asks nobody, and none waits for another."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from alerts.kinds._kind import SourceError

log = logging.getLogger(__name__)


class Source(Protocol):
    """A part of the deployment that is asked."""

    name: str
    every: float
    """Seconds between two questions."""

    def ask(self) -> Iterable[Metric]:
        """How it is now. Raises `SourceError`."""


class Asking(threading.Thread):
    """Asks one source until `stop`."""

    def __init__(self, source: Source) -> None:
        super().__init__(name=f"asks {source.name}", daemon=True)
        self.source = source
        self.answer: Sequence[Metric] = ()
        """The last one; empty where the source did not answer: what is old is not told as if it were so now."""
        self.is_up = False
        self.seconds = 0.0
        """How long the last question took."""
        self._trouble = ""
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End soon."""
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            self.ask()
            self._stopping.wait(self.source.every)

    def ask(self) -> None:
        """Ask once. Trouble is told once."""
        began = time.monotonic()
        answer: Sequence[Metric] = ()
        trouble = ""
        try:
            answer = tuple(self.source.ask())
        except SourceError as error:
            trouble = str(error)
            if trouble != self._trouble:
                log.warning("%s is left out: %s", self.source.name, trouble)
        except Exception as error:  # the others go on
            trouble = repr(error)
            if trouble != self._trouble:
                log.exception("%s cannot be asked", self.source.name)
        self.answer, self.is_up, self._trouble = answer, not trouble, trouble
        self.seconds = time.monotonic() - began


class Answers(Collector):
    """All that the sources answered."""

    def __init__(self, asking: Sequence[Asking]) -> None:
        self._asking = asking

    def collect(self) -> Iterator[Metric]:
        """What Prometheus asks for."""
        up = GaugeMetricFamily("monitoring_source_up", "1 where the source answered last time.", labels=["source"])
        seconds = GaugeMetricFamily("monitoring_source_seconds", "How long its answer took.", labels=["source"])
        for one in self._asking:
            up.add_metric([one.source.name], one.is_up)
            seconds.add_metric([one.source.name], one.seconds)
            yield from one.answer
        yield up
        yield seconds
