"""Whatever comes to any port that listens, of our services or of others' programs: all of them live on."""

import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest
from hypothesis import strategies as st

from tests.bad_input import RAW, for_a_while
from tests.system import System, wait_for

pytestmark = pytest.mark.bad_input

LENGTHS = (0, 4, 8, 100, 9_999, 2**24, 100 * 2**20 - 1, 2**31 - 1, 2**32 - 1)
"""What a frame of Kafka's, PostgreSQL's or Spark's may say of itself; those that are long are never all sent."""
KINDS = (0, 3, 18, 60, 196_608, 80_877_103, 80_877_102)
"""Kafka's requests (produce, metadata, versions, cluster), and how PostgreSQL's protocol begins."""
FRAMES = st.tuples(
    st.sampled_from(LENGTHS) | st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS).map(lambda kind: struct.pack(">I", kind)) | st.binary(max_size=4),
    st.binary(max_size=300),
).map(lambda made: struct.pack(">I", made[0]) + made[1] + made[2])
MORE_MB = 300


def listening(system: System) -> dict[int, psutil.Process]:
    """Who listens at each port of the deployment."""
    return {
        connection.laddr.port: process
        for process, connections in system.asked(psutil.Process.net_connections)
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
    }


def send(port: int, said: bytes) -> None:
    """Say it, and take what comes for a second; how it is answered is that program's own affair."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


def test_no_port_that_listens_is_brought_down_by_random_bytes(system: System, fuzz_seconds: float) -> None:
    services = {service.name: service.pid for service in system.services()}
    ports = listening(system)
    assert len(ports) >= len(services) / 2
    held = {process: process.memory_info().rss for process in ports.values()}

    def fuzzed(port: int) -> None:
        for_a_while(fuzz_seconds, RAW | FRAMES | st.binary(max_size=2000), lambda said: send(port, said))

    with ThreadPoolExecutor(len(ports)) as pool:
        list(pool.map(fuzzed, ports))
    wait_for("all services are healthy", lambda: all(service.healthy for service in system.services()))
    assert {service.name: service.pid for service in system.services()} == services, "a service was started anew"
    more = {process.name(): (process.memory_info().rss - before) / 1e6 for process, before in held.items()}
    assert {name: grown for name, grown in more.items() if name != "java" and grown > MORE_MB} == {}
