import os
import socket
from collections.abc import Iterator

import pytest

from deployment import ports
from deployment.services import TABLE, table
from shared.settings import Settings

KAFKA = next(service for service in TABLE if service.name == "kafka")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_a_busy_port_is_named_with_its_holder_and_the_setting_that_moves_it(demo: Settings, taken: int) -> None:
    settings = demo.model_copy(update={"kafka_port": taken, "kafka_controller_port": free_port()})
    (fault,) = ports.busy([KAFKA], settings, our_pids=set())
    assert f"Port {taken} is held by" in fault
    assert f"(pid {os.getpid()})" in fault
    assert "set KAFKA_PORT to another port" in fault


def test_a_port_that_we_hold_ourselves_is_no_fault(demo: Settings, taken: int) -> None:
    settings = demo.model_copy(update={"kafka_port": taken, "kafka_controller_port": free_port()})
    assert ports.busy([KAFKA], settings, our_pids={os.getpid()}) == []


def test_a_port_that_two_settings_name_is_a_fault(demo: Settings) -> None:
    port = free_port()
    settings = demo.model_copy(update={"kafka_port": port, "kafka_controller_port": port})
    (fault,) = ports.busy([KAFKA], settings, our_pids=set())
    assert fault == (f"KAFKA_PORT and KAFKA_CONTROLLER_PORT are both {port}: give one of them another port in .env.")


def test_a_port_is_looked_at_where_its_service_listens(demo: Settings) -> None:
    public = next(service for service in TABLE if service.name == "public")
    with socket.create_server(("127.0.0.3", 0)) as server:
        port = server.getsockname()[1]
        settings = demo.model_copy(update={"public_host": "lake", "public_dashboard_port": port})
        at_three = settings.model_copy(update={"public_address": "127.0.0.3"})
        (fault,) = ports.busy([public], at_three, our_pids=set())
        assert "set PUBLIC_DASHBOARD_PORT to another port" in fault
        assert ports.busy([public], settings.model_copy(update={"public_address": "127.0.0.2"}), our_pids=set()) == []


def test_nothing_of_the_network_is_started_where_no_setting_opens_it(demo: Settings) -> None:
    assert "public" not in table(demo)
    assert "public" in table(demo.model_copy(update={"public_host": "lake"}))
    beside = [service for name, service in table(demo).items() if service.listens_at != "bind_address"]
    assert not beside
