"""Are the ports free? One that somebody else holds is named, with the holder and the setting that moves it."""

import contextlib
import socket
from collections.abc import Container, Iterable

import psutil

from deployment.services import Service
from shared.settings import Settings


def busy(services: Iterable[Service], settings: Settings, our_pids: Container[int]) -> list[str]:
    """A sentence for each port that is held by a process that is not ours, or wanted twice."""
    wanted: dict[int, str] = {}
    addresses: dict[int, str] = {}
    faults = []
    for service in services:
        for name in service.ports:
            port = getattr(settings, name)
            addresses[port] = getattr(settings, service.listens_at)
            if port in wanted:
                faults.append(
                    f"{wanted[port]} and {name.upper()} are both {port}: give one of them another port in .env."
                )
            wanted[port] = name.upper()
    taken = {port: name for port, name in wanted.items() if not _free(addresses[port], port)}
    holders = _holders() if taken else {}
    for port, name in taken.items():
        pid = holders.get(port)
        if pid is None or pid not in our_pids:
            faults.append(sentence(port, name, pid))
    return faults


def sentence(port: int, name: str, pid: int | None) -> str:
    """The fault in words, with the cure."""
    who = "another user's process"
    if pid is not None:
        with contextlib.suppress(psutil.Error):
            who = f"{psutil.Process(pid).name()} (pid {pid})"
    return f"Port {port} is held by {who}: end that, or set {name} to another port in .env."


def _free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def _holders() -> dict[int, int | None]:
    return {
        connection.laddr.port: connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr
    }
