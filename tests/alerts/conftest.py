"""What tests of alerts share: a database, a receiver of messages, and the service as a process."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extras import RealDictCursor

from alerts import schema
from alerts.store import Store, login
from deployment import probes
from serving.migrate import migrate
from shared.settings import PROJECT, Settings
from tests.servers import KafkaServer, PostgresServer, free_ports, running_kafka

TABLES = "alerts.alerts, alerts.outbox, alerts.offsets, alerts.memories, alerts.digests"


def until(condition: Callable[[], Any], seconds: float = 20, every: float = 0.02) -> Any:
    """The first true answer; fails where there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(every)
    return answer


class Database:
    """A PostgreSQL with the tables of alerts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        connection = login(self.settings)
        try:
            with connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
                cursor.execute(sql, values)
                return [dict(row) for row in cursor.fetchall()] if cursor.description else []
        finally:
            connection.close()


@pytest.fixture(scope="package")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A real Kafka; a test that stops it starts it again."""
    yield from running_kafka(tmp_path_factory.mktemp("kafka"))


@pytest.fixture(scope="session")
def postgres_settings(postgres_server: PostgresServer) -> Settings:
    """A server with the tables of alerts, and the serving database that rules ask."""
    schema.upgrade(postgres_server.settings)
    migrate(postgres_server.settings)
    return postgres_server.settings


@pytest.fixture
def database(postgres_settings: Settings) -> Database:
    """The tables, empty."""
    made = Database(postgres_settings)
    made.rows(f"truncate {TABLES} restart identity cascade")
    return made


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    made = Store(database.settings)
    yield made
    made.close()


class Receiver:
    """Takes messages as a webhook does, or refuses them."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.arrived: list[float] = []
        """When each came, in seconds since 1970."""
        self.refused = 0
        self.status = 200
        self.on_message: Callable[[], object] = lambda: None
        """What happens before a message is answered."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(json.loads(body))
                receiver.on_message()
                self.send_response(receiver.status)
                self.end_headers()

            def do_GET(self) -> None:
                receiver.take({"path": self.path})
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.port = self._server.server_port

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/hook"

    def take(self, message: dict[str, Any]) -> None:
        if self.status == 200:
            self.arrived.append(time.time())
            self.taken.append(message)
        else:
            self.refused += 1

    @property
    def told(self) -> list[str]:
        return [message["title"] for message in self.taken]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


class ServiceProcess:
    """`python -m alerts.service`, which can be killed."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self.file = home / "alerts.yaml"
        self.log = home / "log"
        (self.port,) = free_ports(1)
        self._environment = {
            **{name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields},
            "CRYPTO_HOME": str(home), "CRYPTO_MODE": "demo", "PYTHONPATH": str(PROJECT),
            "ALERTS_FILE": str(self.file), "ALERTS_PORT": str(self.port), "KAFKA_PORT": str(settings.kafka_port),
            "POSTGRES_PORT": str(settings.postgres_port), "SERVING_ALERTS_PASSWORD": "alert's",
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "alerts.service"]
            self.process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        until(self.is_healthy)

    def is_healthy(self) -> bool:
        assert self.process is None or self.process.poll() is None, self.log.read_text()
        try:
            probes.get(f"http://127.0.0.1:{self.port}/health")
        except probes.UnhealthyError:
            return False
        return True

    def kill(self) -> None:
        """As the kernel does when memory ends."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)
