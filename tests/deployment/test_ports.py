import os
import socket
from collections.abc import Iterator

import pytest

from deployment import ports
from deployment.services import TABLE
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
