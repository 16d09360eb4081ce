"""What watching costs: memory and CPU of Prometheus, Alertmanager and the monitoring service, and the disk.

    python -m benchmarks.monitoring [--symbols 50] [--minutes 10]

Prometheus scrapes, as it is deployed, a streaming service's metrics of so many symbols (four streams each, counted all
the time) and the monitoring service, over a PostgreSQL with 400,000 gaps. What else it would scrape is not there.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg

from deployment import probes, prometheus
from deployment.command import Command
from monitoring.sources.tables import TablesSource
from serving.migrate import migrate
from shared.settings import PROJECT, Settings
from streaming.metrics import Metrics
from tests.servers import PostgresServer, Server, free_ports

STREAMS = ("trade", "ticker", "kline_1m", "depth5")
GAPS = """
    INSERT INTO bronze.gaps (exchange, symbol, gap_stream, first_missing, status, event_time)
    SELECT 'binance', 'S' || n % 50, 'trade', n, CASE WHEN n % 1000 = 0 THEN 'open' ELSE 'repaired' END, now()
    FROM generate_series(1, 400000) n
"""


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10)
    asked = parser.parse_args()
    database = PostgresServer()
    database.start()
    try:
        migrate(database.settings)
        with psycopg.connect(database.settings.serving_owner_url) as connection:
            connection.execute(GAPS)
        ports = ("metrics_port", "alerts_port", "monitoring_port", "spark_ui_port", "prometheus_port")
        ports = (*ports, "alertmanager_port", "kafka_port", "dagster_port")
        settings = database.settings.model_copy(update=dict(zip(ports, free_ports(len(ports)), strict=True)))
        source = TablesSource(settings)
        for _ in range(3):
            began = time.perf_counter()
            list(source.ask())
            print(f"the serving database answers in {(time.perf_counter() - began) * 1000:.0f} ms")
        with tempfile.TemporaryDirectory() as folder:
            _watch(settings, Path(folder), asked.symbols, asked.minutes)
    finally:
        database.remove()
    return 0


def _watch(settings: Settings, folder: Path, symbols: int, minutes: float) -> None:
    streaming = Metrics()
    streaming.serve("127.0.0.1", settings.metrics_port)
    threading.Thread(target=_stream, args=(streaming, symbols), daemon=True).start()
    names = [name for name in Settings.model_fields if name.endswith("_port")]
    env = {name.upper(): str(getattr(settings, name)) for name in names}
    env |= {"CRYPTO_HOME": str(folder), "PYTHONPATH": str(PROJECT)}
    env |= {"SERVING_READER_PASSWORD": settings.serving_reader_password.get_secret_value()}
    (folder / "var" / "live").mkdir(parents=True)
    service = Command((sys.executable, "-m", "monitoring.service"), env)
    servers = {
        "prometheus": Server(folder, lambda: prometheus.command(settings), lambda: probes.prometheus(settings)),
        "alertmanager": Server(
            folder, lambda: prometheus.alertmanager_command(settings), lambda: probes.alertmanager(settings)
        ),
        "monitoring": Server(folder, lambda: service, lambda: probes.monitoring(settings)),
    }
    for server in servers.values():
        server.start()
    known = {child.cmdline()[0]: child for child in psutil.Process().children()}
    processes = {
        "prometheus": known[prometheus.program() or ""],
        "alertmanager": known[prometheus.alertmanager() or ""],
        "monitoring": next(one for one in psutil.Process().children() if "monitoring.service" in one.cmdline()),
    }
    began = {name: _cpu(process) for name, process in processes.items()}
    most = dict.fromkeys(processes, 0)
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        most = {name: max(most[name], process.memory_info().rss) for name, process in processes.items()}
        time.sleep(1)
    for name, process in processes.items():
        cpu = (_cpu(process) - began[name]) / (minutes * 60)
        print(f"{name:<14}{most[name] / 1e6:6.0f} MB at most, {100 * cpu:5.2f} % of a core")
    head = probes.get(f"http://127.0.0.1:{settings.prometheus_port}/metrics").decode()
    series = next(line for line in head.splitlines() if line.startswith("prometheus_tsdb_head_series "))
    disk = sum(path.stat().st_size for path in (folder / "var" / "live" / "prometheus").rglob("*") if path.is_file())
    print(
        f"{symbols} symbols, {minutes:g} minutes: {float(series.split()[1]):,.0f} series, {disk / 1e6:.0f} MB on disk"
    )
    for server in servers.values():
        server.stop()


def _stream(streaming: Metrics, symbols: int) -> None:
    chance = random.Random(7)  # noqa: S311 (traffic, no secrets)
    while True:
        for number in range(symbols):
            for stream in STREAMS:
                sent = time.time_ns() // 1000
                late = round(chance.lognormvariate(11, 1))
                streaming.count(
                    SimpleNamespace(
                        exchange="binance", symbol=f"S{number}USDT", stream=stream, published_at=sent,
                        received_at=sent + late,
                    )
                )  # fmt: skip
        time.sleep(1)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    sys.exit(main())
