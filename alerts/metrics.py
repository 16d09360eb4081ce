"""What the service tells of itself on `ALERTS_PORT`: `/metrics` for Prometheus, and `/health`."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from shared.pages import Pages, figures

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


def pages(metrics: Metrics, healthy: Callable[[], tuple[bool, Mapping[str, str]]]) -> Pages:
    """`/metrics`, and `/health`: whether the rules are evaluated, and which are not, and why."""
    told = figures(metrics.registry)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/health":
            return told(environ, start)
        is_healthy, faults = healthy()
        start("200 OK" if is_healthy else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps({"healthy": is_healthy, "faults": faults}).encode()]

    return Pages(answer)
