"""A Dagster with runs, and what the monitoring service tells."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from deployment import probes
from deployment.command import Command
from shared.settings import Settings
from tests.servers import Server, free_ports
from tests.system import wait_for


def until(condition: Callable[[], Any]) -> Any:
    """The first true answer; fails where there is none in twenty seconds."""
    return wait_for("it is told", condition, seconds=20, every=0.1)


@dg.asset(key=["bronze", "trades"])
def trades(context: dg.AssetExecutionContext) -> None:
    context.add_output_metadata({"rows_written": 5})


@dg.op
def fails() -> None:
    raise ValueError("as it should")


@dg.job
def failing() -> None:
    fails()


class Dagster:
    """An instance, and its webserver without code."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        [port] = free_ports(1)
        self.settings = Settings(dagster_port=port)
        self.instance = dg.DagsterInstance.from_config(str(home))
        argv = ("dagster-webserver", "--empty-workspace", "-h", "127.0.0.1", "-p", str(port))
        command = Command(argv, {"DAGSTER_HOME": str(home)})
        self.server = Server(home / "server", lambda: command, lambda: probes.dagster_webserver(self.settings))

    def succeed(self) -> None:
        """A run that writes five rows into bronze.trades."""
        with _signals_kept():
            assert dg.materialize([trades], instance=self.instance).success

    def fail(self) -> None:
        """A run of `failing`."""
        with _signals_kept():
            assert not failing.execute_in_process(instance=self.instance, raise_on_error=False).success


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Dagster leaves TERM handled as INT is; what a test in the background starts would ignore it."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Told:
    """What the service tells."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def answers(self) -> bool:
        try:
            probes.monitoring(self._settings)
        except probes.UnhealthyError:
            return False
        return True

    def families(self) -> dict[str, Metric]:
        url = f"http://127.0.0.1:{self._settings.monitoring_port}/metrics"
        return {family.name: family for family in text_string_to_metric_families(probes.get(url).decode())}

    def values(self, name: str) -> dict[str, float]:
        """Of one sample's name, by the values of its labels, in the order of these."""
        return {
            " ".join(value for _, value in sorted(sample.labels.items())): sample.value
            for family in self.families().values()
            for sample in family.samples
            if sample.name == name
        }
