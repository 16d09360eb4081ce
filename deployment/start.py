"""Stage two of `deploy.sh`, in `.venv`: check the settings and ports, start supervisor, and wait until all is healthy.

What it prints goes through stage one's console; a line that begins with a mark is what is going on now.
"""

import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPException
from pathlib import Path
from types import FrameType
from typing import NoReturn
from xmlrpc.client import Fault

from alerts.rules import load as load_alerts
from crypto_pipeline.gold._rules import load as load_rules
from crypto_pipeline.indicators._file import load as load_indicators
from deployment import certificates, env_file, health, messages, ports, probes, processes, spark, supervise
from deployment.console import STATUS_MARK
from deployment.paths import home, set_environment
from deployment.preview import Preview
from deployment.services import table
from deployment.stop import stop
from deployment.supervise import Supervisor
from shared.markers import BEGUN, UPGRADING
from shared.retention import load_rules as load_retention
from shared.settings import Settings, SettingsError
from shared.yaml_file import YamlFileError

DEADLINE = 240
"""Seconds from the last install to everything being healthy."""


class DeployError(Exception):
    """Why the deployment cannot go on; the message says the cure."""


def main() -> None:
    """Deploy the mode that the command line names."""
    mode = sys.argv[1]
    signal.signal(signal.SIGTERM, _interrupted)
    set_environment({"CRYPTO_MODE": mode})
    supervisor = Supervisor(home() / "var" / mode)
    was_running = supervisor.running()
    try:
        settings = configured(mode)
        fresh = _start(settings, supervisor)
        _wait(settings, supervisor, fresh)
    except (SettingsError, YamlFileError, DeployError, RuntimeError, OSError, Fault, HTTPException) as error:
        say(f"✗ {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        if not was_running:
            stop(supervisor.state, lambda _line: None)
        sys.exit(130)
    say(messages.farewell(settings))


def check_whole(folder: Path) -> None:
    """Raises `DeployError` where a restore or an upgrade of a deployment was begun, and is not done."""
    if (folder / BEGUN).exists():
        raise DeployError(
            f"A backup was being restored into {folder}, and it is not whole: run the same `crypto restore` "
            "again, which goes on, or ./cleanup.sh to begin anew."
        )
    if (folder / UPGRADING).exists():
        raise DeployError("An upgrade of the lake was interrupted: run `crypto upgrade`, which puts it right.")


def say(text: str) -> None:
    """A line for the console."""
    print(text, flush=True)


def _interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def configured(mode: str) -> Settings:
    """The settings, once `.env` is whole.

    Raises `SettingsError` for a wrong one, or `YamlFileError` for a wrong `indicators.yaml`, `alerts.yaml` or
    `retention.yaml`, or a `signals.yaml` that cannot be read, before anything is written or restarted.
    """
    given = Settings.load()
    given.check()
    _check_login(given)
    load_rules(given.signals_file, load_indicators(given.indicators_file))
    load_alerts(given.alerts_file)
    load_retention(given)
    if given.public_host:
        certificates.check(given, datetime.now(UTC))
    made = env_file.ensure(mode)
    if made:
        say(f"Made {', '.join(made)} in {home() / '.env'} (mode 600).")
    return Settings.load()


def _check_login(settings: Settings) -> None:
    """Whether another Kafka knows us. One that is away is no fault: streaming waits for it."""
    if not settings.broker.has_login:
        return
    try:
        probes.kafka(settings)
    except probes.LoginRefusedError as refused:
        raise SettingsError(f"Wrong setting: {refused}.") from None
    except probes.UnhealthyError as away:
        say(f"– Kafka: {away}. Streaming keeps what comes on its disk until it is there.")


def _start(settings: Settings, supervisor: Supervisor) -> bool:
    """Bring supervisor to what the table and the settings say. True where it did not run before."""
    other = home() / "var" / ("live" if settings.mode == "demo" else "demo")
    if Supervisor(other).running() or processes.ours(other):
        say(f"Stopping the {other.name} deployment, which uses the same ports; its data stays.")
        stop(other, say)
    check_whole(supervisor.state)
    fresh = not supervisor.running()
    orphans = processes.ours(supervisor.state) if fresh else []
    if orphans:
        say(f"Ending {len(orphans)} processes that a killed supervisor left behind.")
        processes.end(orphans)
    wanted = table(settings)
    ours = {process.pid for process in processes.ours(supervisor.state)}
    faults = ports.busy(wanted.values(), settings, ours)
    if faults:
        raise DeployError("\n✗ ".join(faults))
    supervise.write(wanted.values(), settings, supervisor)
    if fresh:
        spark.forget(supervisor.state)
        supervisor.start()
    elif changed := supervisor.update():
        say(f"Restarting what changed: {', '.join(changed)}.")
    return fresh


def _wait(settings: Settings, supervisor: Supervisor, fresh: bool) -> None:
    """Wait until every service is healthy, with a line for each. The deadline counts from the last install."""
    began = installed = time.monotonic()
    left = dict(table(settings))
    running = not fresh
    with Preview(settings, say, fresh) as preview, ThreadPoolExecutor(len(left)) as pool:
        while left := {name: service for name, service in left.items() if service.can_be_had()}:
            known = supervisor.processes()
            if not known:
                raise DeployError("supervisord was stopped meanwhile, by ./stop.sh or by hand.")
            checked = list(pool.map(partial(health.of, settings=settings, processes=known), left.values()))
            elapsed = time.monotonic() - began
            healthy = [one.name for one in checked if one.healthy]
            if running and healthy:
                say(f"Healthy as they were: {', '.join(healthy)}.")
            for name in healthy:
                del left[name]
                if not running:
                    say(f"✓ {name:<22}{elapsed:6.0f} s")
            running = False
            say(STATUS_MARK + (f"waiting for {', '.join(left)} ({elapsed:.0f} s)" if left else ""))
            if any(not service.installs() for service in left.values()):
                installed = time.monotonic()
                preview.show()
            else:
                preview.hide()
            if left and time.monotonic() - installed > DEADLINE:
                reasons = {one.name: one.reason for one in checked if not one.healthy}
                raise DeployError(messages.failure(left, reasons, supervisor.logs))
            if left:
                time.sleep(0.4)
        preview.conclude()


if __name__ == "__main__":
    main()
