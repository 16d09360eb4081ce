"""The service of the trades: what it says while something is away, and that it goes on by itself."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployment import probes
from serving.clickhouse.service import Service
from shared.settings import PROJECT, Settings, SettingsError
from tests.servers import free_ports


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.02)


@pytest.fixture
def away() -> Settings:
    """Neither ClickHouse nor Kafka is there."""
    kafka, clickhouse, port = free_ports(3)
    return Settings(kafka_port=kafka, clickhouse_url=f"http://127.0.0.1:{clickhouse}", clickhouse_trades_port=port)


@pytest.fixture
def running(away: Settings) -> Iterator[Service]:
    service = Service(away)
    thread = threading.Thread(target=service.run)
    thread.start()
    yield service
    service.stop()
    thread.join()


def trouble(settings: Settings) -> str:
    try:
        probes.clickhouse_trades(settings)
    except probes.UnhealthyError as error:
        return str(error)
    return ""


@pytest.mark.usefixtures("running")
def test_while_clickhouse_is_away_it_is_unhealthy_says_so_once_and_tells_its_metrics(
    away: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> str:
        """It may say it before the test itself begins, which is another phase to pytest."""
        return "\n".join(one.getMessage() for when in ("setup", "call") for one in caplog.get_records(when))

    until(lambda: "does not answer" in said())
    assert "answers 503" in trouble(away)
    metrics = probes.get(f"http://127.0.0.1:{away.clickhouse_trades_port}/metrics").decode()
    assert "clickhouse_trades_total 0.0" in metrics
    assert said().count("trades cannot be brought over") == 1


def test_a_port_that_is_taken_is_told_with_its_setting(away: Settings, running: Service) -> None:
    until(lambda: "503" in trouble(away))
    with pytest.raises(SettingsError, match=f"CLICKHOUSE_TRADES_PORT {away.clickhouse_trades_port} cannot be used"):
        Service(away).run()


def test_it_ends_in_good_order_when_it_is_told_to(tmp_path: Path, away: Settings) -> None:
    environment = {
        "PATH": "", "CRYPTO_HOME": str(tmp_path), "CLICKHOUSE_URL": away.clickhouse_url,
        "CLICKHOUSE_TRADES_PORT": str(away.clickhouse_trades_port), "PYTHONPATH": str(PROJECT),
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "serving.clickhouse.service"], env=environment, cwd=PROJECT)
    until(lambda: "503" in trouble(away))
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_the_service_needs_no_spark_no_dagster_and_no_pandas() -> None:
    code = (
        "import sys, serving.clickhouse.service, serving.clickhouse.server; from serving.clickhouse import trades; "
        "trades.shape(); print([name for name in ('pyspark', 'dagster', 'pandas', 'psycopg') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_where_it_is_off_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, crypto_pipeline.cli.query, crypto_pipeline.definitions, monitoring.service, deployment.services; "
        "print([name for name in sys.modules if 'clickhouse' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
