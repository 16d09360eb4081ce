"""`python -m deployment.run SERVICE`: wait for what the service needs, prepare, and become it.

The command of each program in supervisor and of each container in Docker.
"""

import ctypes
import logging
import os
import signal
import sys
import time
from contextlib import suppress

from deployment import given
from deployment.paths import child_environment, set_environment, setting, state
from deployment.probes import UnhealthyError
from deployment.services import TABLE, Service, environment, table
from deployment.steps import InstallError
from shared import logs
from shared.settings import Settings, SettingsError

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
FIRST = -10
"""The niceness of what goes first: with that of Spark, a page waited for seconds while two cores computed."""
SAY_EVERY = 15
"""Seconds between two lines about what is waited for."""


def main() -> None:
    """Run the service that the command line names."""
    names = {service.name: service for service in TABLE}
    if len(sys.argv) != 2 or sys.argv[1] not in names:
        sys.exit(f"Usage: python -m deployment.run SERVICE, one of {', '.join(names)}")
    service = names[sys.argv[1]]
    die_with_parent(getattr(signal, f"SIG{service.stop_signal}"))
    set_environment(given.saved(state(setting("CRYPTO_MODE", "live")) / "supervisor"))
    try:
        set_environment(environment(service, Settings.load()))  # from here on it knows no other secret
        loaded = Settings.load()
    except SettingsError as error:
        sys.exit(str(error))
    logs.set_up(loaded.log_format)
    theirs = child_environment(LOG_FORMAT=loaded.log_format)
    # The threads of a probe by gRPC fail while the service takes our place, and would write that between its lines.
    set_environment({"GRPC_VERBOSITY": "NONE"})
    try:
        wait_for(service, loaded)
        service.prepare(loaded)
        command = service.command(loaded)
    except (SettingsError, InstallError) as error:
        log.error("%s", error)  # noqa: TRY400 (a sentence for the user)
        sys.exit(1)
    if service.goes_first:
        with suppress(PermissionError):  # who is not root may not; in Docker `cpu_shares` says it
            os.setpriority(os.PRIO_PROCESS, 0, FIRST)
    log.info("starting %s: %s", service.name, command.argv[0])
    if command.folder:
        os.chdir(command.folder)
    os.execvpe(command.argv[0], command.argv, {**theirs, **command.env})  # noqa: S606 (that is what we are for)


def die_with_parent(number: int) -> None:
    """Have the kernel send us this signal when the parent dies, so that nothing outlives a killed supervisord.

    It holds across exec, but not across a change of user.
    """
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        sys.exit(1)


def wait_for(service: Service, loaded: Settings) -> None:
    """Wait, for as long as it takes, until what is installed and needed is there."""
    said = 0.0
    pause = 0.2
    present = table(loaded)
    needs = [present[name] for name in service.needs if name in present]
    while reason := _lacking(service, needs, loaded):
        if time.monotonic() - said > SAY_EVERY:
            said = time.monotonic()
            log.info("%s waits: %s", service.name, reason)
        time.sleep(pause)
        pause = min(pause * 1.2, 1.0)


def _lacking(service: Service, needs: list[Service], loaded: Settings) -> str:
    if not service.installs():
        return "it is still being installed"
    for need in needs:
        try:
            need.probe(loaded)
        except UnhealthyError as unhealthy:
            return f"{need.name}: {unhealthy}"
    return ""


if __name__ == "__main__":
    main()
