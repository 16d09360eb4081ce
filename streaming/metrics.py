"""What the streaming service tells Prometheus, on `METRICS_PORT`."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from shared.events import AnyEvent
from shared.pages import Pages, figures

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BOUNDS = (*(str(float(bound)) for bound in LATENCY_BUCKETS), "+Inf")
BY_STREAM = ("exchange", "symbol", "stream")


class _Stream:
    """The figures of one stream of one symbol."""

    __slots__ = ("buckets", "events", "seconds")

    def __init__(self) -> None:
        self.events = 0
        self.seconds = 0.0
        """The sum of all latencies."""
        self.buckets = [0] * (len(LATENCY_BUCKETS) + 1)
        """How many latencies are at most as long as each of `LATENCY_BUCKETS` and longer than the one before."""


class _Traffic(Collector):
    """Events and their latencies, counted by one thread without a lock: it is done with each of them."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str, str], _Stream] = {}

    def count(self, event: AnyEvent) -> None:
        key = (event.exchange, event.symbol, event.stream)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream()
        stream.events += 1
        sent_at = event.published_at or event.event_time
        if sent_at and event.received_at:
            seconds = (event.received_at - sent_at) / 1_000_000
            stream.seconds += seconds
            stream.buckets[bisect_left(LATENCY_BUCKETS, seconds)] += 1

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """What Prometheus asks for, in a thread of its server."""
        events = CounterMetricFamily("ingestor_messages", "Events handed to Kafka.", labels=BY_STREAM)
        latencies = HistogramMetricFamily(
            "latency_seconds",
            "From the exchange's clock (when it sent the message) to ours when it came.",
            labels=BY_STREAM,
        )
        for key, stream in list(self._streams.items()):
            events.add_metric(key, stream.events)
            counts = accumulate(stream.buckets)
            latencies.add_metric(key, list(zip(_BOUNDS, counts, strict=True)), stream.seconds)
        yield events
        yield latencies


class Metrics:
    """The figures of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._traffic = _Traffic()
        self.registry.register(self._traffic)
        self.count = self._traffic.count
        """Count an event and how long it was on the way; to be called by one thread."""
        self._pages = Pages(figures(self.registry))
        self.kafka_send_errors = Counter(
            "kafka_send_errors_total", "Messages that Kafka refused for good.", ("topic",), registry=self.registry
        )
        self.reconnects = Counter(
            "ws_reconnects_total",
            "Connections that ended and were opened again.",
            ("exchange",),
            registry=self.registry,
        )
        self.connected = Gauge("ws_connected", "Open connections.", ("exchange",), registry=self.registry)
        self.dead_letters = Counter(
            "dead_letters_total", "Messages that could not be parsed.", ("exchange",), registry=self.registry
        )
        self.buffer_bytes = Gauge(
            "buffer_bytes", "Memory of what Kafka has not acknowledged yet.", registry=self.registry
        )
        self.reading_paused = Gauge(
            "reading_paused",
            "1 while memory and spool are full and nothing is read from the exchange.",
            registry=self.registry,
        )
        self.spool_bytes = Gauge("spool_bytes", "Bytes on disk that wait for Kafka.", registry=self.registry)
        self.spool_messages = Gauge("spool_messages", "Messages on disk that wait for Kafka.", registry=self.registry)
        self.archive_paused = Gauge(
            "archive_paused", "1 while the disk is full and frames are not archived.", registry=self.registry
        )
        self.archive_dropped = Counter(
            "archive_dropped_total", "Frames that could not be archived.", ("exchange",), registry=self.registry
        )
        self.archive_waiting = Gauge(
            "archive_waiting_bytes", "Archived bytes that wait to be uploaded.", registry=self.registry
        )
        self.gaps_open = Gauge("gaps_open", "Gaps that are not repaired.", registry=self.registry)
        self.repairs = Counter(
            "repairs_total",
            "Events that filled a gap.",
            ("exchange", "stream", "source"),
            registry=self.registry,
        )
        self.clock_offset = Gauge(
            "clock_offset_seconds",
            "By how much the exchange's clock is ahead of ours.",
            ("exchange",),
            registry=self.registry,
        )

    def connection(self, exchange: str, connected: bool) -> None:
        """Note that a connection of an exchange was opened, or ended."""
        if connected:
            self.connected.labels(exchange).inc()
        else:
            self.connected.labels(exchange).dec()
            self.reconnects.labels(exchange).inc()

    def serve(self, address: str, port: int) -> int:
        """Answer `/metrics` in a thread; the port, which may be asked for as 0. Raises `OSError` where it is taken."""
        return self._pages.serve(address, port)

    def close(self) -> None:
        """Stop answering, and free the port."""
        self._pages.close()
