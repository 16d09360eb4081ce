"""What the service tells of itself on `ALERTS_PORT`: `/metrics` for Prometheus, and `/health`."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

DELAY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 60)


class Metrics:
    """The figures of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.fired = Counter("alerts_fired", "Alerts that fired.", ("rule", "severity"), registry=self.registry)
        self.active = Gauge("alerts_active", "Alerts that are not resolved.", registry=self.registry)
        self.failing = Gauge("alerts_rules_failing", "Rules that could not be asked.", registry=self.registry)
        self.deliveries = Counter(
            "alerts_deliveries", "Messages that were sent, by what came of it.", ("destination", "outcome"),
            registry=self.registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "alerts_waiting", "Messages that their destination has not taken.", ("destination",), registry=self.registry
        )
        self.delay = Histogram(
            "alerts_delay_seconds", "From a trade, by the exchange's clock, until the rules have seen it.",
            buckets=DELAY_BUCKETS, registry=self.registry,
        )  # fmt: skip

    def sent(self, destination: str, is_taken: bool) -> None:
        """Count a message that was sent."""
        self.deliveries.labels(destination, "taken" if is_taken else "refused").inc()

    def wait(self, waiting: Mapping[str, int]) -> None:
        """Note how many messages wait for each destination."""
        self.waiting.clear()
        for destination, count in waiting.items():
            self.waiting.labels(destination).set(count)
