"""`python -m deployment.doorkeeper`: run HAProxy and stunnel, and give them a new certificate before theirs ends."""

import hashlib
import hmac
import logging
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from functools import partial

from deployment import certificates, public
from deployment.paths import child_environment, tool
from deployment.run import die_with_parent
from shared import logs
from shared.settings import Settings, SettingsError

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""How often the certificate is looked at: ours for its age, the user's for a new one."""
STOP_SECONDS = 10


class Doorkeeper:
    """Both programs, with the certificate of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.state / "public"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = threading.Event()
        self._next_look = 0.0

    def run(self) -> int:
        """Until `stop`, or until one of them ends. Gives the exit code. Raises `SettingsError`."""
        certificates.prepare(self._settings, self._folder, datetime.now(UTC))
        self._write("haproxy.cfg", public.haproxy(self._settings, self._folder / "server.pem"))
        self._write("stunnel.conf", public.stunnel(self._settings, self._folder / "server.pem"))
        secrets = {
            "PUBLIC_USER": self._settings.public_user,
            "PUBLIC_PASSWORD": self._settings.public_password.get_secret_value(),
            "PUBLIC_TOKEN": self._settings.public_token.get_secret_value(),
            "PUBLIC_COOKIE": cookie(self._settings),
        }
        self._start("haproxy", "-W", "-db", "-f", str(self._folder / "haproxy.cfg"), **secrets)
        self._start("stunnel4", str(self._folder / "stunnel.conf"))
        self._next_look = time.monotonic() + LOOK_SECONDS
        while not self._stopping.wait(0.5):
            if ended := [name for name, process in self._running.items() if process.poll() is not None]:
                log.error("%s ended", ", ".join(ended))
                break
            if time.monotonic() > self._next_look:
                self._next_look = time.monotonic() + LOOK_SECONDS
                self.renew(datetime.now(UTC))
        self._end()
        return 0 if self._stopping.is_set() else 1

    def renew(self, now: datetime) -> None:
        """Give both a new certificate where there is one; connections stay."""
        try:
            if not certificates.prepare(self._settings, self._folder, now):
                return
        except SettingsError as error:
            log.error("%s The one before stays in use.", error)  # noqa: TRY400 (a sentence for the user)
            return
        self._running["haproxy"].send_signal(signal.SIGUSR2)
        self._running["stunnel4"].send_signal(signal.SIGHUP)
        log.info("the certificate is a new one")

    def look(self) -> None:
        """Have the certificate looked at now."""
        self._next_look = 0.0

    def stop(self) -> None:
        """Have `run` end."""
        self._stopping.set()

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, encoding="utf-8")

    def _start(self, name: str, *arguments: str, **env: str) -> None:
        program = tool(name)
        assert program is not None  # noqa: S101 (deployment.public has looked)
        self._running[name] = subprocess.Popen(
            [program, *arguments],
            env=child_environment(**env),
            preexec_fn=partial(die_with_parent, signal.SIGTERM),
        )

    def _end(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def cookie(settings: Settings) -> str:
    """What a browser shows instead of the password: of no use once that is another."""
    secret = settings.public_password.get_secret_value().encode()
    return hmac.new(secret, settings.public_host.encode(), hashlib.sha256).hexdigest()


def main() -> int:
    """Run until TERM. Gives the exit code."""
    settings = Settings.load()
    logs.set_up(settings.log_format)
    keeper = Doorkeeper(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: keeper.stop())
    signal.signal(signal.SIGHUP, lambda *_: keeper.look())
    try:
        return keeper.run()
    except SettingsError as error:
        log.error("%s", error)  # noqa: TRY400 (a sentence for the user)
        return 1


if __name__ == "__main__":
    sys.exit(main())
