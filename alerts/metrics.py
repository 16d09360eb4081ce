"""What the service tells of itself on `ALERTS_PORT`: `/metrics` for Prometheus, and `/health`."""

import json
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, make_wsgi_app

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


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
        """Not each request is news."""


class Pages:
    """Answers HTTP in a thread."""

    def __init__(self, registry: CollectorRegistry, healthy: Callable[[], tuple[bool, Mapping[str, str]]]) -> None:
        self._metrics = make_wsgi_app(registry)
        self._healthy = healthy

    def serve(self, address: str, port: int) -> None:
        """Begin. Raises `OSError` where the port is taken."""
        self._server = make_server(address, port, self._answer, _Server, _Quiet)
        self._thread = Thread(target=self._server.serve_forever, name="pages", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """That it listens on, where it was asked for as 0."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop answering, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/health":
            shown: Iterable[bytes] = self._metrics(environ, start)
            return shown
        is_healthy, faults = self._healthy()
        start("200 OK" if is_healthy else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps({"healthy": is_healthy, "faults": faults}).encode()]
