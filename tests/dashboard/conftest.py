"""The dashboard over a made market, in a real server, PostgreSQL, Kafka and browser."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import uvicorn

from dashboard.__main__ import SERVED
from dashboard.app import create_app
from shared.settings import Settings
from tests.dashboard import made_alerts, made_market
from tests.dashboard.made_market import Stream
from tests.servers import KafkaServer, PostgresServer, free_ports, running_kafka

HISTORY_MINUTES = 2200


def eventually(what: str, condition: Callable[[], Any], seconds: float = 20) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not: {what}"
        time.sleep(0.1)


@dataclass(frozen=True)
class Served:
    """The dashboard as a user reaches it, and what lies behind it."""

    url: str
    postgres: PostgresServer
    kafka: KafkaServer
    stream: Stream

    def get(self, path: str, **values: Any) -> httpx.Response:
        """An answer of the API."""
        return httpx.get(f"{self.url}/api/v1/{path}", params=values, timeout=20)

    def rows(self, path: str, **values: Any) -> list[dict[str, Any]]:
        """The rows of an answer."""
        response = self.get(path, **values)
        assert response.status_code == 200, response.text
        found: list[dict[str, Any]] = response.json()["rows"]
        return found


@pytest.fixture(scope="package")
def postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL with the made market's history; a test that stops it starts it again."""
    server = PostgresServer()
    server.start()
    try:
        made_market.create(server.settings)
        made_alerts.create(server.settings)
        with made_market.writer(server.settings) as connection:
            made_market.fill(connection, datetime.now(UTC), HISTORY_MINUTES)
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="package")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Kafka with the made market; a test that stops it starts it again."""
    yield from running_kafka(tmp_path_factory.mktemp("kafka"))


def serving(settings: Settings) -> Iterator[str]:
    """Serve an application with these settings; gives its address."""
    [port] = free_ports(1)
    config = uvicorn.Config(
        create_app(settings, made_market.made_hour),
        port=port,
        timeout_graceful_shutdown=1,
        **SERVED,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually("the dashboard serves", lambda: server.started, 30)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="package")
def settings(
    postgres_server: PostgresServer, kafka_server: KafkaServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Of a demo with a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYPTO_HOME", str(tmp_path_factory.mktemp("home")))
        yield postgres_server.settings.model_copy(
            update={"mode": "demo", "kafka_port": kafka_server.settings.kafka_port}
        )


@pytest.fixture(scope="package")
def served(settings: Settings, postgres_server: PostgresServer, kafka_server: KafkaServer) -> Iterator[Served]:
    """The dashboard, with the made market streaming."""
    stream = Stream(kafka_server.settings)
    stream.past(time.time(), 30)  # the history ends where filling it began, and a slow machine needs minutes for it
    running = threading.Thread(target=stream.run, daemon=True)
    running.start()
    served = serving(settings)
    yield Served(next(served), postgres_server, kafka_server, stream)
    stream.close()
    running.join(10)
    next(served, None)
