"""Stage one of `deploy.sh`, with the standard library alone: check the machine, install, and hand over to stage two."""

import argparse
import fcntl
import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

from deployment import docker, env_file, environment, preflight, public
from deployment.console import STATUS_MARK, Console
from deployment.install import DEPLOYMENT, steps
from deployment.paths import PROJECT, child_environment, home, setting, state
from deployment.steps import InstallError, Shell, Step, install


class StageTwo:
    """The other half, as a child whose lines go to our console."""

    def __init__(self, module: str, mode: str, console: Console) -> None:
        self._console = console
        self._process = subprocess.Popen(
            [str(environment.PYTHON), "-m", module, mode],
            cwd=PROJECT,
            env=child_environment(PYTHONUNBUFFERED="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C comes to us, and we tell it
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            text = line.rstrip("\n")
            if text.startswith(STATUS_MARK):
                self._console.status(text[1:])
            else:
                self._console.line(text)

    def failed(self) -> bool:
        """Has it ended, with a fault that it has told?"""
        return bool(self._process.poll())

    def wait(self) -> int:
        """Its exit code, once it has ended and its lines are printed."""
        code = self._process.wait()
        self._reader.join(timeout=5)
        return code

    def end(self) -> None:
        """Tell it to stop what it started, and wait."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()


def main() -> int:
    """Deploy. Gives the exit code."""
    parser = argparse.ArgumentParser(prog="./deploy.sh", description="Start everything, and return when it is healthy.")
    parser.add_argument(
        "--demo", action="store_true", help="stream from the simulator: no network and no account needed"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--local", action="store_true", help="as local processes, even with a Docker engine")
    where.add_argument("--docker", action="store_true", help="with docker compose, even if the engine was not seen")
    parser.add_argument(
        "--rotate", metavar="SECRET", help="give this secret of .env anew, and restart what uses it, in .env's mode"
    )
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupted)
    if chosen.rotate and (reason := env_file.why_not_renewed(chosen.rotate)):
        print(f"✗ {reason}")
        return 2
    is_demo = chosen.demo or bool(chosen.rotate and setting("CRYPTO_MODE", "live") == "demo")
    mode = "demo" if is_demo else "live"
    local = chosen.local or not (chosen.docker or docker.engine_runs())
    (home() / "var").mkdir(parents=True, exist_ok=True)
    with (home() / "var" / "deploy.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("Another ./deploy.sh is running: wait for it, or end it.")
            return 1
        return _deploy(mode, local, chosen.rotate)


def _deploy(mode: str, local: bool, rotate: str | None) -> int:
    faults = preflight.faults(setting("MEMORY_PROFILE", "8g"), local, preflight.this_machine())
    if faults:
        print("\n".join(f"✗ {fault}" for fault in faults))
        return 1
    if rotate:
        env_file.renew(rotate)
        print(f"Made {rotate} anew in {home() / '.env'}.")
    log = state(mode) / "log" / "deploy.log"
    began = time.monotonic()
    with Console.logging_to(log) as console:
        shell = Shell(console)
        second: list[StageTwo] = []

        def after(step: Step) -> None:
            if step is environment.STEP:
                second.append(StageTwo("deployment.start" if local else "deployment.compose", mode, console))

        def watch() -> None:
            if second and second[0].failed():
                raise InstallError("")

        try:
            wanted = (*DEPLOYMENT, *(("public",) if public.is_wanted() else ()))
            install(steps(wanted) if local else (environment.STEP,), console, shell, after, watch)
            code = second[0].wait()
            if code == 0 and rotate == "GRAFANA_ADMIN_PASSWORD" and not local and docker.has_grafana():
                code = docker.tell_grafana(mode)
        except (InstallError, KeyboardInterrupt) as error:
            shell.end()
            for stage in second:
                stage.end()
            if isinstance(error, KeyboardInterrupt):
                console.line("Interrupted. What is installed stays: ./deploy.sh goes on from here.")
                return 130
            if str(error):
                console.line(f"✗ {error}")
            code = 1
        console.line(
            f"\nReady after {time.monotonic() - began:.0f} s." if code == 0 else f"\nNot deployed. The log: {log}"
        )
        return code


def _interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
