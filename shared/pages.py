"""Answering HTTP in a thread: what a process tells Prometheus of itself, and pages beside it."""

import json
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""As WSGI has it."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
        """Not each request is news."""


class Pages:
    """An application behind a port, from `serve` until `close`."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def serve(self, address: str, port: int) -> int:
        """Begin; the port, which may be asked for as 0. Raises `OSError` where it is taken."""
        self._server = make_server(address, port, self._application, _Server, _Quiet)
        self._thread = Thread(target=self._server.serve_forever, name="pages", daemon=True)
        self._thread.start()
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop answering, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def figures(registry: CollectorRegistry) -> Application:
    """What answers with the metrics of a registry."""
    tell: Application = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        try:
            return tell(environ, start)
        except TypeError:  # prometheus-client compares the version that is asked for, whatever it is, with numbers
            return tell(environ | {"HTTP_ACCEPT": ""}, start)

    return answer


def figures_and_health(
    registry: CollectorRegistry, healthy: Callable[[], tuple[bool, Mapping[str, str]]]
) -> Application:
    """What answers `/health` with whether all is well, and what is not, and everything else with the metrics."""
    told = figures(registry)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/health":
            return told(environ, start)
        is_healthy, faults = healthy()
        start("200 OK" if is_healthy else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps({"healthy": is_healthy, "faults": faults}).encode()]

    return answer
