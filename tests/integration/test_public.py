"""A whole system that is open to a network: 127.0.0.2 is its address there."""

import base64
import json
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPSConnection

import psycopg
import pytest
from websockets.sync.client import connect

from deployment import public
from shared.settings import Settings
from tests.servers import free_ports
from tests.system import PATIENCE, System, deployed, wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long,
    pytest.mark.skipif(not public.is_installed(), reason="HAProxy and stunnel are not installed"),
]
HOST = "127.0.0.2"


@pytest.fixture(scope="module")
def opened() -> Iterator[System]:
    names = [name for name in Settings.model_fields if name.startswith("public_") and name.endswith("_port")]
    ports = {name.upper(): str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    with deployed(PUBLIC_HOST=HOST, PUBLIC_ADDRESS=HOST, **ports) as system:
        yield system


def trusting(system: System) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(system.home / "var" / "demo" / "public" / "ca.pem"))


def login(settings: Settings) -> dict[str, str]:
    words = f"{settings.public_user}:{settings.public_password.get_secret_value()}"
    return {"Authorization": "Basic " + base64.b64encode(words.encode()).decode()}


def test_each_page_answers_to_who_has_the_login_and_sends_to_no_plain_one(opened: System) -> None:
    settings = opened.settings()
    for door in public.doors(settings):
        port = getattr(settings, door.public_port)
        place = f"{HOST}:{port}"
        for headers in (login(settings), {}):
            connection = HTTPSConnection(HOST, port, timeout=PATIENCE, context=trusting(opened))
            connection.request("GET", "/", headers=headers)
            answer = connection.getresponse()
            answer.read()
            connection.close()
            if door.login and not headers:
                assert answer.status == 401, door.name
            elif door.name != "MinIO":  # which knows no page, and refuses who signs nothing
                assert answer.status in (200, 302, 303, 307), (door.name, answer.status)
                location = answer.getheader("Location") or "/"
                assert location.startswith(("/", f"https://{place}")), (door.name, location)


def test_dagsters_page_follows_a_run_by_its_websocket(opened: System) -> None:
    settings = opened.settings()
    run = opened.launch("serving", {}, {})
    with connect(
        f"wss://{HOST}:{settings.public_dagster_port}/graphql",
        ssl=trusting(opened),
        additional_headers=login(settings),
        subprotocols=["graphql-ws"],
        open_timeout=PATIENCE,
    ) as socket_:
        socket_.send(json.dumps({"type": "connection_init", "payload": {}}))
        query = f'subscription {{ pipelineRunLogs(runId: "{run}") {{ __typename }} }}'
        socket_.send(json.dumps({"id": "1", "type": "start", "payload": {"query": query}}))
        kinds = {json.loads(socket_.recv(PATIENCE))["type"] for _ in range(2)}
    assert kinds <= {"connection_ack", "data", "ka"}
    assert "data" in kinds


def test_the_dashboards_socket_and_its_api_are_reached(opened: System) -> None:
    settings = opened.settings()
    place = f"{HOST}:{settings.public_dashboard_port}"
    headers = {**login(settings), "Origin": f"https://{place}"}
    with connect(f"wss://{place}/api/v1/live", ssl=trusting(opened), additional_headers=headers) as live:
        assert live.ping().wait(PATIENCE)
    connection = HTTPSConnection(HOST, settings.public_dashboard_port, timeout=PATIENCE, context=trusting(opened))
    token = settings.public_token.get_secret_value()
    connection.request("GET", "/api/v1/symbols", headers={"Authorization": f"Bearer {token}"})
    assert connection.getresponse().status == 200
    connection.close()


def test_postgresql_and_kafka_know_their_logins_there(opened: System) -> None:
    settings = opened.settings()
    ca = opened.home / "var" / "demo" / "public" / "ca.pem"
    with psycopg.connect(
        host=HOST,
        port=settings.public_postgres_port,
        user=settings.serving_reader,
        password=settings.serving_reader_password.get_secret_value(),
        dbname=settings.serving_database,
        sslmode="verify-full",
        sslrootcert=str(ca),
    ) as database:
        assert database.execute("SELECT 7").fetchone() == (7,)
    there = Settings(
        kafka_broker=f"{HOST}:{settings.public_kafka_port}",
        kafka_username=settings.public_user,
        kafka_password=settings.public_kafka_password,
        kafka_ca=ca,
    )
    wait_for("Kafka lets in", lambda: there.broker.ask(PATIENCE) is None)


def test_nothing_else_listens_anywhere_but_on_loopback(opened: System) -> None:
    found = opened.asked(lambda process: process.net_connections("tcp"))
    listening = {one.laddr for _, connections in found for one in connections if one.status == "LISTEN"}
    settings = opened.settings()
    ours = {getattr(settings, name) for name in public_ports(settings)}
    assert {address.port for address in listening if address.ip == HOST} == ours
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1", HOST}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, settings.postgres_port), timeout=5)


def public_ports(settings: Settings) -> list[str]:
    return [*(door.public_port for door in public.doors(settings)), "public_kafka_port", "public_postgres_port"]
