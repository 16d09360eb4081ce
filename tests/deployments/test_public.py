"""A whole system that is open to a network."""

import json
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from websockets.sync.client import connect

from deployment import public
from shared.settings import Settings
from tests.opened import HOST, check_logins, check_pages, login, opening
from tests.system import PATIENCE, System, deployed

pytestmark = pytest.mark.skipif(not public.is_installed(), reason="HAProxy and stunnel are not installed")


@pytest.fixture(scope="module")
def opened() -> Iterator[System]:
    with deployed(**opening()) as system:
        yield system


def authority(system: System) -> Path:
    return system.home / "var" / "demo" / "public" / "ca.pem"


def trusting(system: System) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority(system)))


def test_each_page_answers_to_who_has_the_login_and_sends_to_no_plain_one(opened: System) -> None:
    check_pages(opened.settings(), authority(opened))


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
    check_logins(opened.settings(), authority(opened))


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
