"""What is open to a network, with real servers behind it; 127.0.0.2 is the network's address of this machine."""

import base64
import json
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import psutil
import psycopg
import pytest
from botocore.config import Config
from pydantic import SecretStr
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from deployment import probes, public
from deployment.command import Command
from shared.settings import Settings
from tests.servers import MinioServer, PostgresServer, Server, free_ports
from tests.system import wait_for

HOST = "127.0.0.2"
PATIENCE = 60
"""Seconds: the machine may be busy."""
PUBLIC = [name for name in Settings.model_fields if name.startswith("public_") and name.endswith("_port")]
pytestmark = pytest.mark.skipif(
    not public.is_installed(), reason="HAProxy and stunnel are not installed: apt-get install haproxy stunnel4"
)


class Page(BaseHTTPRequestHandler):
    """A page that says what it was asked with, and one that sends to another."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        moved = self.path == "/moved"
        self.send_response(302 if moved else 200)
        if moved:
            self.send_header("Location", f"http://{self.headers['Host']}/jobs/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_given: object) -> None:
        """Nothing."""


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


class DagsterServer(Server):
    """Dagster's webserver, with no code."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(dagster_port=free_ports(1)[0])
        (folder / "workspace.yaml").write_text("load_from: []\n")
        argv = [
            str(Path(sys.executable).with_name("dagster-webserver")),
            *("-h", "127.0.0.1", "-p", str(self.settings.dagster_port), "-w", str(folder / "workspace.yaml")),
        ]
        super().__init__(
            folder,
            lambda: Command(tuple(argv), {"DAGSTER_HOME": str(folder), "DAGSTER_DISABLE_TELEMETRY": "1"}),
            lambda: probes.dagster_webserver(self.settings),
        )


@dataclass
class Opened:
    settings: Settings
    server: Server
    folder: Path

    @property
    def ca(self) -> Path:
        return self.settings_state / "public" / "ca.pem"

    @property
    def settings_state(self) -> Path:
        return self.folder / "var" / self.settings.mode

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def ask(
        self, door: str = "dashboard", path: str = "/", method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        port = getattr(self.settings, f"public_{door}_port")
        connection = HTTPSConnection(HOST, port, timeout=PATIENCE, context=self.trusting())
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=given)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def websocket(self, door: str, path: str = "/", kind: str = "", **headers: str) -> ClientConnection:
        return connect(
            f"wss://{HOST}:{getattr(self.settings, f'public_{door}_port')}{path}",
            ssl=self.trusting(),
            additional_headers=headers,
            subprotocols=[Subprotocol(kind)] if kind else None,
            open_timeout=PATIENCE,
        )


LOGIN = "Basic " + base64.b64encode(b"crypto:pages").decode()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """MinIO and PostgreSQL as they are deployed, and pages; Kafka has its own test."""
    public_ports = dict(zip(PUBLIC, free_ports(len(PUBLIC)), strict=True))
    opening = {
        "public_host": HOST,
        "public_address": HOST,
        "public_user": "crypto",
        "public_password": SecretStr("pages"),
        "public_token": SecretStr("a-token"),
        **public_ports,
    }
    store, database = MinioServer(tmp_path_factory.mktemp("minio")), PostgresServer()
    dagster = DagsterServer(tmp_path_factory.mktemp("dagster"))
    pages = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    sockets = serve(echo, "127.0.0.1", 0)
    for run in (pages.serve_forever, sockets.serve_forever):
        threading.Thread(target=run, daemon=True).start()
    for server in (store, database, dagster):
        server.start()
    yield Settings().model_copy(
        update={
            **opening,
            "dashboard_port": pages.server_port,
            "dagster_port": dagster.settings.dagster_port,
            "prometheus_port": sockets.socket.getsockname()[1],
            "minio_port": store.settings.minio_port,
            "minio_console_port": store.settings.minio_console_port,
            "s3_access_key": store.settings.s3_access_key,
            "s3_secret_key": store.settings.s3_secret_key,
            "s3_bucket": store.settings.s3_bucket,
            "postgres_port": database.settings.postgres_port,
            "postgres_password": database.settings.postgres_password,
            "dagster_password": database.settings.dagster_password,
            "serving_reader_password": database.settings.serving_reader_password,
        }
    )
    pages.shutdown()
    pages.server_close()
    sockets.shutdown()
    dagster.kill()
    store.stop()
    database.remove()


@pytest.fixture(scope="module")
def opened(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """The door of them all."""
    folder = tmp_path_factory.mktemp("public")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYPTO_HOME", str(folder))
        for name in ("PUBLIC_HOST", "PUBLIC_ADDRESS", "PUBLIC_USER", *(n.upper() for n in PUBLIC)):
            patch.setenv(name, str(getattr(servers, name.lower())))
        for name in ("DASHBOARD", "DAGSTER", "PROMETHEUS", "MINIO", "MINIO_CONSOLE", "POSTGRES"):
            patch.setenv(f"{name}_PORT", str(getattr(servers, f"{name.lower()}_port")))
        for name in ("PUBLIC_PASSWORD", "PUBLIC_TOKEN"):
            patch.setenv(name, getattr(servers, name.lower()).get_secret_value())
        server = Server(folder, lambda: public.command(servers), lambda: probes.public(servers))
        server.start()
        yield Opened(servers, server, folder)
        server.stop()


def test_who_has_no_login_is_asked_for_one(opened: Opened) -> None:
    for door in ("dashboard", "dagster", "spark_ui", "spark_master_ui", "prometheus"):
        status, headers, _ = opened.ask(door)
        assert (status, headers["www-authenticate"]) == (401, 'Basic realm="crypto-lakehouse"'), door
    wrong = "Basic " + base64.b64encode(b"crypto:wrong").decode()
    assert opened.ask(Authorization=wrong)[0] == 401


def test_who_has_the_password_comes_in_and_the_service_does_not_see_it(opened: Opened) -> None:
    status, headers, seen = opened.ask(Authorization=LOGIN, X_Forwarded_For="10.9.8.7")
    assert status == 200
    asked = json.loads(seen)
    assert "authorization" not in asked
    assert asked["x-forwarded-for"] == "127.0.0.1"
    assert asked["host"] == f"{HOST}:{opened.settings.public_dashboard_port}"
    assert "max-age" in headers["strict-transport-security"]


def test_the_cookie_of_a_login_opens_the_other_pages_too(opened: Opened) -> None:
    _, headers, _ = opened.ask(Authorization=LOGIN)
    cookie, *kept = headers["set-cookie"].split("; ")
    assert set(kept) == {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"}
    assert opened.ask(Cookie=cookie)[0] == 200
    with opened.websocket("prometheus", Cookie=cookie) as connection:
        connection.send("there?")
        assert connection.recv() == "there?"
    assert opened.ask(Cookie="crypto_lakehouse=wrong")[0] == 401


def test_a_program_comes_to_the_dashboard_with_a_token_and_to_nothing_else(opened: Opened) -> None:
    assert opened.ask(Authorization="Bearer a-token")[0] == 200
    assert opened.ask(Authorization="Bearer another")[0] == 401
    assert opened.ask("dagster", Authorization="Bearer a-token")[0] == 401


def test_a_websocket_passes_with_a_login_and_not_without(opened: Opened) -> None:
    with opened.websocket("prometheus", Authorization=LOGIN) as connection:
        connection.send("there?")
        assert connection.recv() == "there?"
    with pytest.raises(InvalidStatus, match="401"):
        opened.websocket("prometheus")


def test_dagsters_page_is_told_by_its_websocket_what_happens(opened: Opened) -> None:
    query = 'subscription { pipelineRunLogs(runId: "none") { __typename } }'
    own = f"https://{HOST}:{opened.settings.public_dagster_port}"
    with opened.websocket("dagster", "/graphql", "graphql-ws", Authorization=LOGIN, Origin=own) as connection:
        connection.send(json.dumps({"type": "connection_init", "payload": {}}))
        connection.send(json.dumps({"id": "1", "type": "start", "payload": {"query": query}}))
        answers = [json.loads(connection.recv(PATIENCE)) for _ in range(2)]
    assert [answer["type"] for answer in answers] == ["connection_ack", "data"]
    assert answers[1]["payload"]["data"]["pipelineRunLogs"]["__typename"] == "PipelineRunLogsSubscriptionFailure"
    status, _, page = opened.ask("dagster", Authorization=LOGIN)
    assert (status, b"dagster" in page.lower()) == (200, True)


def test_another_sites_page_does_nothing_with_the_browsers_login(opened: Opened) -> None:
    assert opened.ask(method="POST", Authorization=LOGIN, Origin="https://elsewhere.example")[0] == 403
    own = f"https://{HOST}:{opened.settings.public_dashboard_port}"
    assert opened.ask(method="POST", Authorization=LOGIN, Origin=own)[0] == 200
    with pytest.raises(InvalidStatus, match="403"):
        opened.websocket("prometheus", Authorization=LOGIN, Origin="https://elsewhere.example")


def test_another_name_that_leads_here_opens_nothing(opened: Opened) -> None:
    assert opened.ask(Authorization=LOGIN, Host="rebound.example")[0] == 421


def test_a_redirect_of_a_service_stays_on_https(opened: Opened) -> None:
    status, headers, _ = opened.ask(path="/moved", Authorization=LOGIN)
    place = f"https://{HOST}:{opened.settings.public_dashboard_port}/jobs/"
    assert (status, headers["location"]) == (302, place)


def test_a_page_speaks_no_plain_http_and_no_old_tls(opened: Opened) -> None:
    place = (HOST, opened.settings.public_dashboard_port)
    with socket.create_connection(place, timeout=PATIENCE) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with suppress(ConnectionResetError):
            assert not plain.recv(100).startswith(b"HTTP")
    old = opened.trusting()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(place, timeout=PATIENCE) as connection, pytest.raises((ssl.SSLError, OSError)):
        old.wrap_socket(connection, server_hostname=HOST)


def test_who_does_not_know_our_authority_or_means_another_host_is_warned(opened: Opened) -> None:
    place = (HOST, opened.settings.public_dashboard_port)
    with socket.create_connection(place, timeout=PATIENCE) as one, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(one, server_hostname=HOST)
    with socket.create_connection(place, timeout=PATIENCE) as one, pytest.raises(ssl.SSLCertVerificationError):
        opened.trusting().wrap_socket(one, server_hostname="lake.example.org")


def test_objects_are_read_and_written_over_tls_with_the_buckets_own_keys(opened: Opened) -> None:
    def client(secret: str) -> object:
        return boto3.client(
            "s3",
            endpoint_url=f"https://{HOST}:{opened.settings.public_minio_port}",
            region_name="us-east-1",
            aws_access_key_id=opened.settings.s3_access_key,
            aws_secret_access_key=secret,
            verify=str(opened.ca),
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    store = client(opened.settings.s3_secret_key.get_secret_value())
    body = os.urandom(9_000_000)
    store.put_object(Bucket="tests", Key="a/b", Body=body)
    assert store.get_object(Bucket="tests", Key="a/b")["Body"].read() == body
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        client("wrong").list_buckets()
    assert opened.ask("minio_console")[0] == 200  # its page asks who it is


def from_a_network(opened: Opened, login: str, **options: object) -> psycopg.Connection:
    """A connection by the public port, with the role, password and database of an address."""
    port = opened.settings.public_postgres_port
    return psycopg.connect(login, host=HOST, port=port, connect_timeout=PATIENCE, **options)


def reader(opened: Opened, **options: object) -> psycopg.Connection:
    return from_a_network(opened, opened.settings.serving_reader_url, **options)


def test_postgresql_lets_in_over_tls_and_refuses_without(opened: Opened) -> None:
    with reader(opened, sslmode="verify-full", sslrootcert=str(opened.ca)) as connection:
        assert connection.execute("SELECT 7").fetchone() == (7,)
        assert connection.pgconn.ssl_in_use
    with pytest.raises(psycopg.OperationalError, match=r"closed|reset"):
        reader(opened, sslmode="disable")
    with pytest.raises(psycopg.OperationalError, match="certificate"):
        reader(opened, sslmode="verify-full", sslrootcert="system")


def test_postgresqls_superuser_does_not_come_in_from_a_network(opened: Opened) -> None:
    for database in ("postgres", opened.settings.postgres_database, opened.settings.serving_database):
        login = opened.settings.superuser_url(database)
        psycopg.connect(login).close()
        with pytest.raises(psycopg.OperationalError, match="rejects connection"):
            from_a_network(opened, login, sslmode="require")


def test_a_new_certificate_is_shown_without_a_restart(opened: Opened) -> None:
    place = opened.folder / "var" / opened.settings.mode / "public"

    def shown(port: int) -> bytes | None:
        with (
            socket.create_connection((HOST, port), timeout=PATIENCE) as one,
            opened.trusting().wrap_socket(one, server_hostname=HOST) as over,
        ):
            return over.getpeercert(binary_form=True)

    before = shown(opened.settings.public_dashboard_port)
    process = psutil.Process(opened.server.pid)
    with opened.websocket("prometheus", Authorization=LOGIN) as connection:
        (place / "server.pem").unlink()
        process.send_signal(signal.SIGHUP)  # look now
        wait_for("a new certificate", lambda: shown(opened.settings.public_dashboard_port) != before, 20, 0.2)
        connection.send("still there?")
        assert connection.recv() == "still there?"
    with reader(opened, sslmode="verify-full", sslrootcert=str(opened.ca)) as database:
        assert database.execute("SELECT 7").fetchone() == (7,)


def test_nothing_but_the_doors_listens_on_the_network(opened: Opened) -> None:
    mine = psutil.Process(opened.server.pid)
    of_us = [mine, *mine.children(recursive=True)]
    workers = [one for one in of_us if one.name() == "haproxy" and (one.parent() or one).name() == "haproxy"]
    assert workers
    assert all(one.uids().real for one in workers), "who serves connections is not root"
    found = {one.laddr for process in of_us for one in process.net_connections("tcp") if one.status == "LISTEN"}
    assert {address.ip for address in found} == {HOST}
    there = {name for name in PUBLIC if getattr(opened.settings, name) in {address.port for address in found}}
    assert there == set(PUBLIC) - {"public_grafana_port"}


def test_no_secret_is_shown_on_a_command_line_in_a_file_or_in_the_log(opened: Opened) -> None:
    place = opened.folder / "var" / opened.settings.mode / "public"
    texts = [(place / name).read_text() for name in ("haproxy.cfg", "stunnel.conf")]
    for secret in ("pages", "a-token"):
        assert not any(f'"{secret}"' in text for text in texts)
    shown = opened.server.shown()
    assert "a-token" not in shown
    for file in ("server.pem", "ca.key"):
        assert (place / file).stat().st_mode & 0o777 == 0o600


def test_who_guesses_is_shut_out_for_a_while(opened: Opened) -> None:
    answers = {opened.ask("prometheus", Authorization="Basic eDp5")[0] for _ in range(130)}
    assert answers == {401, 429}
