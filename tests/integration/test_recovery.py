"""`kill -9` of any one service heals within a minute and loses nothing that was in Kafka; a stop and a start go on."""

import json
import os
import signal
from typing import Any

import psutil
import pytest
from kafka import KafkaConsumer, TopicPartition

from deployment import services
from shared.settings import Settings
from shared.symbol_manager import topic
from tests.integration.test_pipeline import candles_closed
from tests.integration.test_verify import looked, told
from tests.system import SYMBOLS, System, wait_for

SERVICES = tuple(services.table(Settings(CRYPTO_MODE="demo")))
HEALS_WITHIN = 60
"""Seconds, as promised."""


def pid_of(system: System, name: str) -> int | None:
    """The process of a service, where it has one."""
    return next(service.pid for service in system.services() if service.name == name)


def listens(process: psutil.Process) -> bool:
    """A child of a killed process may answer for it for seconds yet, as Spark's JVM does."""
    try:
        return any(connection.status == psutil.CONN_LISTEN for connection in process.net_connections())
    except psutil.Error:
        return False


def in_kafka(system: System, symbol: str) -> set[int]:
    """The ids of all trades of a symbol that Kafka holds."""
    consumer = KafkaConsumer(
        bootstrap_servers=f"127.0.0.1:{system.environment['KAFKA_PORT']}", enable_auto_commit=False
    )
    partition = TopicPartition(topic(symbol), 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    ids = set()
    while consumer.position(partition) < end:
        for record in consumer.poll(timeout_ms=1000).get(partition, []):
            if record.key == b"binance:trade":
                ids.add(json.loads(record.value)["trade_id"])
    consumer.close()
    return ids


def in_bronze(system: System, symbol: str) -> list[int]:
    """The ids of all rows of a symbol."""
    return [row["trade_id"] for row in system.query(f"select trade_id from bronze.trades where symbol = '{symbol}'")]


def test_status_tells_of_every_service_of_the_table(system: System) -> None:
    assert {service["name"] for service in system.status()["services"]} == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_service_is_healthy_again_within_a_minute(system: System, name: str) -> None:
    killed = pid_of(system, name)
    assert killed
    process = psutil.Process(killed)
    old = [process, *process.children(recursive=True)]
    os.kill(killed, signal.SIGKILL)
    wait_for(
        f"{name} runs again and all services are healthy",
        lambda: (
            pid_of(system, name) not in (None, killed)
            and not any(map(listens, old))
            and all(service.healthy for service in system.services())
        ),
        seconds=HEALS_WITHIN,
        every=0.5,
    )


def writing(system: System) -> bool:
    """A commit to `bronze.trades` is under way, as MinIO's own folder shows."""
    timeline = system.home / "var" / "demo" / "minio" / "datalake-demo" / "bronze" / "trades" / ".hoodie" / "timeline"
    names = [path.name for path in timeline.iterdir()]
    finished = {name.partition("_")[0] for name in names if name.endswith(".deltacommit")}
    return any(name.endswith(".inflight") and name.partition(".")[0] not in finished for name in names)


def run_under_way(system: System) -> psutil.Process | None:
    """The process of the run that writes now, if one does."""
    if not writing(system):  # asked again and again, and much cheaper than to look through all processes
        return None
    return next(iter(system.runs()), None)


def test_a_run_killed_with_its_commit_in_flight_is_made_good_by_the_next(system: System) -> None:
    wait_for("a run that writes", lambda: run_under_way(system), every=0.02).kill()
    closed = candles_closed(system)
    wait_for("the runs after it go on", lambda: candles_closed(system) > closed)


@pytest.mark.long  # its start and the passes after it are those of JVMs that compile anew: eight minutes on two cores
def test_after_all_was_killed_at_once_in_the_middle_of_a_run_a_start_makes_it_go_on(system: System) -> None:
    wait_for("a run that writes", lambda: run_under_way(system), every=0.02)
    closed = candles_closed(system)
    killed = system.processes()
    for process in killed:
        process.kill()
    psutil.wait_procs(killed, timeout=30)
    system.script("deploy.sh", "--demo", "--local")
    wait_for("the runs go on", lambda: candles_closed(system) > closed + 1)


def test_after_all_that_every_trade_in_kafka_is_in_bronze_once(system: System) -> None:
    held = {symbol: in_kafka(system, symbol) for symbol in SYMBOLS}
    for symbol, known in held.items():
        wait_for(f"{symbol} caught up", lambda: known <= set(in_bronze(system, symbol)))  # noqa: B023
        ids = in_bronze(system, symbol)
        assert len(ids) == len(set(ids)), f"{symbol}: a trade stands twice"


def complete_minutes(system: System) -> list[dict[str, Any]] | None:
    """All of them, once every symbol has one."""
    found = system.query(
        "select symbol, epoch_us(interval_start) as start, trade_count from silver.ohlcv_1m where status = 'complete'"
    )
    return found if {candle["symbol"] for candle in found} >= set(SYMBOLS) else None


def test_no_minute_says_complete_that_is_not(system: System) -> None:
    candles = wait_for("a complete minute of each symbol", lambda: complete_minutes(system), every=5)
    for symbol in SYMBOLS:
        mine = [candle for candle in candles if candle["symbol"] == symbol]
        first, last = min(candle["start"] for candle in mine), max(candle["start"] for candle in mine)
        truth = {
            row["open_time"]: row["trade_count"]
            for row in system.truth(f"klines?symbol={symbol}&startTime={first}&endTime={last}")
        }
        assert {c["start"]: c["trade_count"] for c in mine} == {c["start"]: truth[c["start"]] for c in mine}


def test_after_a_stop_and_a_start_it_goes_on_where_it_was(system: System) -> None:
    before = {symbol: set(in_bronze(system, symbol)) for symbol in SYMBOLS}
    market = system.simulator("/truth/market")
    system.script("stop.sh")
    assert not system.processes(), "stop.sh leaves nothing running"
    system.script("deploy.sh", "--demo", "--local")
    assert system.simulator("/truth/market") == market
    for symbol, ids in before.items():
        now = set(in_bronze(system, symbol))
        assert ids <= now
    newest = max(before["BTCUSDT"])
    wait_for("new trades arrive", lambda: max(in_bronze(system, "BTCUSDT")) > newest)


def test_after_all_that_no_promise_is_broken(system: System) -> None:
    code, verdict = looked(system, "--without-spark")
    assert not told(verdict)
    assert code == 0
