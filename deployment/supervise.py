"""supervisord: its configuration, made from the table, and talking to it over its socket."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from deployment import given, services
from deployment.paths import PROJECT, fingerprint
from deployment.processes import MARK
from deployment.services import Service
from shared.settings import Settings

MEGABYTES_OF_LOG = 10


class Supervisor:
    """The supervisord of one state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / "supervisor"
        self.logs = state / "log"
        self.socket = self.folder / "supervisor.sock"

    @property
    def _rpc(self) -> Any:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self.socket}")
        return cast(Any, ServerProxy("http://127.0.0.1", transport=transport)).supervisor

    def running(self) -> bool:
        """Does it answer?"""
        try:
            return self.socket.exists() and bool(self._rpc.getState()["statecode"] == 1)
        except (OSError, Fault, HTTPException):
            return False

    def processes(self) -> dict[str, dict[str, Any]]:
        """What it says of each program: `statename`, `pid`, `start` and so on; nothing where it does not run."""
        try:
            return {info["name"]: info for info in self._rpc.getAllProcessInfo()} if self.socket.exists() else {}
        except (OSError, Fault, HTTPException):
            return {}

    def start(self) -> None:
        """Start it, with all programs, and wait until it answers."""
        # The programs are given their settings by a file; the mark finds them whatever happens.
        environment = {**given.without_settings(), MARK: str(self.state)}
        argv = [str(Path(sys.executable).with_name("supervisord")), "-c", str(self.folder / "supervisord.conf")]
        done = subprocess.run(argv, env=environment, cwd=PROJECT, capture_output=True, text=True, check=False)
        deadline = time.monotonic() + 15
        while not self.running():
            if time.monotonic() > deadline or done.returncode:
                raise RuntimeError(
                    f"supervisord did not start: {done.stderr.strip()[-500:]} Its log: {self.logs / 'supervisord.log'}"
                )
            time.sleep(0.05)

    def update(self) -> list[str]:
        """Take in a changed configuration: restart what changed, and only that. Gives the names."""
        (added, changed, removed), *_ = self._rpc.reloadConfig()
        self.stop([*changed, *removed])
        for name in (*changed, *removed):
            self._rpc.removeProcessGroup(name)
        for name in (*added, *changed):
            self._rpc.addProcessGroup(name)
        return [*added, *changed, *removed]

    def stop(self, names: Iterable[str]) -> None:
        """Stop these programs, side by side, and wait until they are gone."""
        asked = [
            name
            for name in names
            if self.processes().get(name, {}).get("statename") not in (None, "STOPPED", "FATAL", "EXITED")
        ]
        for name in asked:
            try:
                self._rpc.stopProcess(name, False)
            except Fault:
                continue  # it ended meanwhile
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            states = self.processes()
            if not any(states.get(name, {}).get("statename") in ("STOPPING", "RUNNING", "STARTING") for name in asked):
                return
            time.sleep(0.1)

    def shut_down(self) -> None:
        """End supervisord itself, with what it still runs, and wait until it does not answer."""
        self._rpc.shutdown()
        deadline = time.monotonic() + 60
        while self.socket.exists() and time.monotonic() < deadline:
            time.sleep(0.1)


def version(service: Service, settings: Settings) -> str:
    """What the service is made of, in twelve digits: its code, and the settings that it reads."""
    values = repr([(name, str(value)) for name, value in services.values(service, settings).items()])
    return hashlib.sha256((fingerprint(*services.paths(service)) + values).encode()).hexdigest()[:12]


def configuration(table: Iterable[Service], settings: Settings, supervisor: Supervisor) -> str:
    """The text of `supervisord.conf`. There is no secret in it: the programs read `.env` themselves."""
    head = f"""\
; Made by deployment/supervise.py from deployment/services.py at every ./deploy.sh.
[unix_http_server]
file={supervisor.socket}
chmod=0700

[supervisord]
logfile={supervisor.logs}/supervisord.log
logfile_maxbytes={MEGABYTES_OF_LOG}MB
logfile_backups=1
pidfile={supervisor.folder}/supervisord.pid
childlogdir={supervisor.logs}
{"user=root" if os.geteuid() == 0 else ""}
umask=022
minfds=4096

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
    # A killed program comes back at once; one that cannot start is tried again ever more slowly, and never given up.
    programs = (
        f"""
[program:{service.name}]
command={_escaped(sys.executable)} -m deployment.run {service.name}
directory={_escaped(str(PROJECT))}
environment=CODE_VERSION="{version(service, settings)}",CRYPTO_MODE="{settings.mode}"
autorestart=true
startsecs=2
startretries=100000
exitcodes=0,143
stopsignal={service.stop_signal}
stopwaitsecs={service.stop_seconds}
stopasgroup={"false" if service.stop_signal == "INT" else "true"}
killasgroup=true
redirect_stderr=true
stdout_logfile={_escaped(str(supervisor.logs / service.name))}.log
stdout_logfile_maxbytes={MEGABYTES_OF_LOG}MB
stdout_logfile_backups=2
"""
        for service in table
    )
    return _escaped(head) + "".join(programs)


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def write(table: Iterable[Service], settings: Settings, supervisor: Supervisor) -> None:
    """Write the configuration, and for the programs the settings that the environment gives."""
    supervisor.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    supervisor.logs.mkdir(parents=True, exist_ok=True)
    (supervisor.folder / "supervisord.conf").write_text(configuration(table, settings, supervisor), encoding="utf-8")
    given.save(supervisor.folder)
