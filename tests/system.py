"""The whole system for tests: deployed by `deploy.sh --demo` into a throw-away folder, on ports of its own."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from crypto_pipeline import lake
from crypto_pipeline.cli._answers import write_json
from deployment import health, probes
from deployment.supervise import Supervisor
from shared.settings import Settings
from tests.servers import free_ports

Answer = TypeVar("Answer")
PROJECT = Path(__file__).resolve().parents[1]
PORTS = [name.upper() for name in Settings.model_fields if name.endswith("_port")]
SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT")
"""What the demo streams."""
STREAMED_ALONE = {
    "SIMULATOR_HISTORY_HOURS": "49",
    "SIMULATOR_PLANTED_FAULTS": "false",
    "HISTORY_DAYS": "0",
    "HISTORY_DAYS_LATER": "0",
    "ANALYTICS_MINUTES": "60",
    "CANDLES_FIRST_SECONDS": "0",
}
"""Settings with which there is nothing but what is streamed, no hole that nobody asked for, and a past to be had.

Gold is made when a test asks for it: two cores have enough to do. And no test waits for evidence longer than it must.
"""


_REPOSITORY = 'repositoryLocationName: "crypto_pipeline", repositoryName: "__repository__"'
PATIENCE = 600.0
"""Seconds. On two cores with other tests what takes one minute may take some; only a failure waits so long."""


def wait_for(what: str, condition: Callable[[], Any], seconds: float = PATIENCE, every: float = 3) -> Any:
    """The first true value of `condition`; fails the test when the time is over: one that is promised, or our patience.

    Seldom asked: a question to the lake takes CPU from the system that is to answer it.
    """
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds:.0f} s still not: {what}")
        time.sleep(every)


def mark_long(items: list[pytest.Item], folder: Path) -> None:
    """Of the tests in a folder: they take minutes each, of a deployed system of their own."""
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.long)
            item.add_marker(pytest.mark.timeout(2400))


@dataclass(frozen=True)
class System:
    """The deployed system, used as a person would: by its scripts, its command and its addresses."""

    environment: dict[str, str]
    home: Path

    def script(self, name: str, *arguments: str, seconds: float = 900) -> subprocess.CompletedProcess[str]:
        """A script of the project's root; its output is shown when it fails."""
        return _succeeded(self._script(name, *arguments, seconds=seconds), name)

    def _script(self, name: str, *arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
        command = [str(PROJECT / name), *arguments]
        nothing = subprocess.DEVNULL
        return subprocess.run(
            command, env=self.environment, stdin=nothing, capture_output=True, text=True, timeout=seconds, check=False
        )

    def deploy(self, where: str = "--local") -> None:
        """`deploy.sh`, again where it did not wait until all was healthy, as on a machine with much else to do."""
        first = self._script("deploy.sh", "--demo", where, seconds=1500 if where == "--local" else 3000)
        if first.returncode and "deploy.sh waits for them again" in first.stdout:
            self.script("deploy.sh", "--demo", where)
        else:
            _succeeded(first, "deploy.sh")

    def crypto(self, *arguments: str, seconds: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """The command `crypto`."""
        command = [str(PROJECT / ".venv" / "bin" / "crypto"), *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )

    @contextmanager
    def no_new_minute(self) -> Iterator[None]:
        """No run of the pipeline begins, so that another has the machine; what comes meanwhile is taken in later."""
        selector = f'{{{_REPOSITORY}, sensorName: "every_minute"}}'
        asked = f"{{ sensorOrError(sensorSelector: {selector}) {{ ... on Sensor {{ id }} }} }}"
        sensor = probes.graphql(self.settings(), asked, PATIENCE)["sensorOrError"]["id"]
        probes.graphql(self.settings(), f'mutation {{ stopSensor(id: "{sensor}") {{ __typename }} }}', PATIENCE)
        try:
            yield
        finally:
            start = f"mutation {{ startSensor(sensorSelector: {selector}) {{ __typename }} }}"
            probes.graphql(self.settings(), start, PATIENCE)

    @contextmanager
    def nothing_launched(self) -> Iterator[None]:
        """The run under way ends, and no other begins: Dagster's daemon is halted, as one that hangs."""
        daemon = psutil.Process(self.supervisor().processes()["dagster-daemon"]["pid"])
        halted = [daemon, *daemon.children(recursive=True)]
        for process in halted:
            process.send_signal(signal.SIGSTOP)
        try:
            wait_for("no run is under way", lambda: not self.runs())
            yield
        finally:
            for process in halted:
                process.send_signal(signal.SIGCONT)

    def runs(self) -> list[psutil.Process]:
        """The processes of runs."""
        return [process for process, line in self.asked(psutil.Process.cmdline) if "--multiprocessing-fork" in line]

    def launch(self, job: str, config: dict[str, Any], tags: dict[str, str]) -> str:
        """Have Dagster run a job, as its UI does; gives the run's id."""
        named = ", ".join(f"{{key: {json.dumps(key)}, value: {json.dumps(value)}}}" for key, value in tags.items())
        parameters = (
            f'selector: {{{_REPOSITORY}, pipelineName: "{job}"}}, '
            f"runConfigData: {json.dumps(json.dumps(config))}, "
            f"executionMetadata: {{tags: [{named}]}}"
        )
        answers = "__typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }"
        asked = f"mutation {{ launchRun(executionParams: {{{parameters}}}) {{ {answers} }} }}"
        # Asked twice it would run twice, so it is asked once, with patience.
        launched = probes.graphql(self.settings(), asked, PATIENCE)["launchRun"]
        assert "run" in launched, launched
        return str(launched["run"]["runId"])

    def run(self, job: str, config: dict[str, Any], tags: dict[str, str], seconds: float = 900) -> None:
        """Have Dagster run a job, and wait until it has succeeded."""
        run = self.launch(job, config, tags)

        def ended() -> str | None:
            asked = f'{{runOrError(runId: "{run}") {{... on Run {{status}}}}}}'
            try:
                status = str(probes.graphql(self.settings(), asked)["runOrError"]["status"])
            except probes.UnhealthyError:  # slow to answer while much is computed
                return None
            return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

        assert wait_for(f"{job} has ended", ended, seconds, every=3) == "SUCCESS", f"the run {run} of {job} failed"

    def query(self, sql: str, *, exact: bool = False) -> list[dict[str, Any]]:
        """The rows of an SQL query, as `crypto query --format json` prints them, with `--exact` or without.

        Asked in this process: to begin, the command takes over a second of the CPU that the system needs.
        """
        with self.its_environment():
            answer = lake.query(sql, Settings.load(), exact=exact)
        printed = io.StringIO()
        write_json(answer, printed)
        rows: list[dict[str, Any]] = json.loads(printed.getvalue())
        return rows

    def status(self) -> dict[str, Any]:
        """What `crypto status --json` says."""
        answer: dict[str, Any] = json.loads(self.crypto("status", "--json").stdout)
        return answer

    def services(self) -> list[health.ServiceHealth]:
        """How every service is, asked in this process: cheap enough to be asked all the time."""
        with self.its_environment():
            return health.services(Settings.load())

    def simulator(self, path: str, posted: object = None) -> Any:
        """What the simulated exchange answers to a GET, or to a POST of something."""
        url = f"http://127.0.0.1:{self.environment['SIMULATOR_PORT']}{path}"
        body = None if posted is None else json.dumps(posted).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def truth(self, path: str) -> list[dict[str, Any]]:
        """The rows of one of the simulator's truth tables."""
        table = self.simulator(f"/truth/{path}")
        return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]

    def metric(self, name: str) -> float:
        """A figure that the streaming service tells, as it is now; of several series the sum."""
        url = f"http://127.0.0.1:{self.environment['METRICS_PORT']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}[{{ ]", line))

    def processes(self) -> list[psutil.Process]:
        """Everything that runs for this system: it has the home in its environment."""
        mine = []
        for process in psutil.process_iter():
            try:
                is_mine = process.environ().get("CRYPTO_HOME") == str(self.home)
                if is_mine and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    mine.append(process)
            except psutil.Error:
                continue
        return mine

    def supervisor(self) -> Supervisor:
        """What keeps its services running, and knows their pids."""
        return Supervisor(self.home / "var" / "demo")

    def settings(self) -> Settings:
        """Its settings, to read its tables in this process."""
        with self.its_environment():
            return Settings.load()

    @contextmanager
    def its_environment(self) -> Iterator[None]:
        """Its settings are those of this process, for what takes them from the environment."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield

    def asked(self, question: Callable[[psutil.Process], Answer]) -> list[tuple[psutil.Process, Answer]]:
        """Every process with its answer; one that ends meanwhile gives none."""
        answers = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                answers.append((process, question(process)))
        return answers


def _succeeded(done: subprocess.CompletedProcess[str], name: str) -> subprocess.CompletedProcess[str]:
    assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done


@contextmanager
def deployed(
    where: str = "--local", prepared: Callable[[Path], None] = lambda _home: None, **given: str
) -> Iterator[System]:
    """The system with these settings, healthy. It is stopped and its folder and volumes removed at the end.

    `prepared` is given the folder before anything starts.
    """
    with undeployed(**given) as made:
        prepared(made.home)
        made.deploy(where)
        yield made


@contextmanager
def undeployed(**given: str) -> Iterator[System]:
    """The same before anything is deployed."""
    home = Path(tempfile.mkdtemp(prefix="crypto-lakehouse-test-"))
    home.chmod(0o755)
    settings = {name: str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    shutil.copyfile(PROJECT / "config" / "alerts.yaml", home / "alerts.yaml")
    environment = {
        **{name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields},
        **settings,
        "CRYPTO_HOME": str(home),
        "CRYPTO_MODE": "demo",
        "MEMORY_PROFILE": "6g",
        "IMPORTS_PAUSE_PERCENT": "100",  # however full the disk of who tests is
        "ALERTS_FILE": str(home / "alerts.yaml"),
        **given,
    }
    made = System(environment, home)
    try:
        yield made
    finally:
        made.script("stop.sh")
        left = [process.cmdline() for process in made.processes()]
        made.script("cleanup.sh", "--yes")
        shutil.rmtree(home, ignore_errors=True)
    assert not left, f"stop.sh left processes behind: {left}"
