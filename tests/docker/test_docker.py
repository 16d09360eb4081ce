"""The demo in containers: healthy, closed, filled from the simulator to gold, scaled, killed, and found again."""

import json
import re
import subprocess
import urllib.request
from functools import partial

import psycopg
import pytest

from crypto_pipeline.catalog import table_modules
from deployment import docker
from deployment.services import table
from tests.docker.containers import Containers, service
from tests.system import PATIENCE, SYMBOLS, wait_for

GOLD = [name for name, module in table_modules().items() if getattr(module, "JOB", "") == "analytics"]
WITHIN_MB = 8192


def closed(containers: Containers, beyond: int = 0) -> int:
    """The minutes of one symbol that are closed and whole, once there are more than `beyond`."""
    sql = "select count(*) as n from silver.ohlcv_1m where is_closed and status <> 'pending' and symbol = 'BTCUSDT'"

    def counted() -> int | None:
        found = int(containers.system.query(sql)[0]["n"])
        return found if found > beyond else None

    return int(wait_for(f"more than {beyond} minutes", counted, 2 * PATIENCE))


def test_every_service_is_a_healthy_container(containers: Containers) -> None:
    assert containers.unhealthy() == []
    names = {name.replace("streaming", "binance-consumer") for name in table(containers.system.settings())}
    assert {service(one) for one in containers.inspected()} == names


def test_no_container_is_root_or_may_more_than_it_needs(containers: Containers) -> None:
    for one in containers.inspected():
        host = one["HostConfig"]
        assert one["Config"]["User"] == "crypto", service(one)
        assert host["ReadonlyRootfs"], service(one)
        assert host["CapDrop"] == ["ALL"], service(one)
        assert not host["CapAdd"], service(one)
        assert not host["Privileged"], service(one)
        assert host["SecurityOpt"] == ["no-new-privileges:true"], service(one)


def test_ports_are_published_on_loopback_alone(containers: Containers) -> None:
    published = [
        (service(one), bound["HostIp"])
        for one in containers.inspected()
        for ports in one["NetworkSettings"]["Ports"].values()
        for bound in ports or ()
    ]
    assert published
    assert {address for _, address in published} == {"127.0.0.1"}


def test_the_memory_limits_fit_eight_gigabytes_in_all(containers: Containers) -> None:
    limits = {service(one): one["HostConfig"]["Memory"] / 2**20 for one in containers.inspected()}
    assert all(limits.values())
    assert sum(limits.values()) <= WITHIN_MB, limits


def test_no_secret_stands_in_a_command_line_a_log_or_the_images_history(containers: Containers) -> None:
    lines = (containers.system.home / ".env").read_text().splitlines()
    secrets = {
        value for name, _, value in (line.partition("=") for line in lines) if re.search("_(KEY|PASSWORD)$", name)
    }
    told = [json.dumps([one["Path"], one["Args"]]) for one in containers.inspected()]
    told += [containers.compose("logs", "--no-color"), containers.compose("top")]
    history = ["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", "crypto-lakehouse"]
    told.append(subprocess.run(history, capture_output=True, text=True, check=True).stdout)
    assert secrets
    assert not [secret[:4] for secret in secrets if any(secret in text for text in told)]


def test_of_a_container_that_cannot_run_the_last_words_are_told(
    containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert containers.running()
    project = f"{containers.project}-other"
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", project)
    words = ["--name", f"{project}-1", "--label", f"com.docker.compose.project={project}", docker.NAME, "nonsense"]
    assert subprocess.run(["docker", "run", *words], capture_output=True, check=False).returncode
    try:
        [told] = docker.ailing()
    finally:
        subprocess.run(["docker", "rm", f"{project}-1"], capture_output=True, check=True)
    assert told.startswith(f"— {project}-1: exited")
    assert "Usage: python -m deployment.run" in told


def test_postgresqls_superuser_comes_in_from_the_machine_and_from_no_other_container(containers: Containers) -> None:
    settings = containers.system.settings()
    psycopg.connect(settings.superuser_url(settings.serving_database)).close()
    inside = settings.model_copy(update={"postgres_host": "postgres"}).superuser_url(settings.serving_database)
    ask = "import os, psycopg2\ntry: psycopg2.connect(os.environ['ASKED'])\nexcept Exception as error: print(error)"
    told = containers.compose("exec", "-T", "-e", f"ASKED={inside}", "dagster-webserver", "python", "-c", ask)
    assert "rejects connection" in told


def test_rows_come_from_the_simulator_to_gold(containers: Containers) -> None:
    system = containers.system
    assert closed(containers, 1)
    assert all(ids(containers, symbol) for symbol in SYMBOLS)
    with system.no_new_minute():
        system.run("analytics", {}, {}, 1500)
    for name in GOLD:
        system.query(f"select count(*) as n from {name}")
    assert {row["symbol"] for row in system.query("select symbol from gold.market_overview")} == set(SYMBOLS)


def test_what_users_of_compose_type_works(containers: Containers) -> None:
    said = json.loads(containers.compose("ps", "--format", "json", "kafka").splitlines()[0])
    assert said["Health"] == "healthy"
    assert "starting streaming" in containers.compose("logs", "binance-consumer")
    broker = ("--bootstrap-server", "localhost:9094")
    topics = containers.compose("exec", "-T", "kafka", "kafka-topics", *broker, "--list").split()
    [topic] = [name for name in topics if "btcusdt" in name.lower()]
    consume = ("kafka-console-consumer.sh", *broker, "--topic", topic, "--max-messages", "1", "--timeout-ms", "60000")
    told = containers.compose("exec", "-T", "kafka", *consume).splitlines()
    [message] = [json.loads(line) for line in told if line.startswith("{")]  # the tool has its own lines
    assert message["symbol"] == "BTCUSDT"
    listed = containers.compose("exec", "-T", "minio", "mc", "ls", "--recursive", "myminio")
    assert ".hoodie/hoodie.properties" in listed


def test_workers_can_be_scaled(containers: Containers) -> None:
    url = f"http://127.0.0.1:{containers.system.environment['SPARK_MASTER_UI_PORT']}/json/"

    def alive() -> int:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return sum(worker["state"] == "ALIVE" for worker in json.load(answer)["workers"])

    before, running = closed(containers), set(containers.running())
    containers.compose("up", "--detach", "--scale", "spark-worker=3")
    assert running < set(containers.running()), "what ran was made anew"
    wait_for("three workers", lambda: alive() == 3)
    closed(containers, before)
    containers.compose("up", "--detach")
    wait_for("one worker", lambda: alive() == 1)


def test_after_a_restart_by_hand_the_stream_goes_on(containers: Containers) -> None:
    before = closed(containers)
    containers.compose("restart", "binance-consumer")
    closed(containers, before + 1)


@pytest.mark.long
def test_a_container_whose_process_is_killed_is_started_again(containers: Containers) -> None:
    for name in [one["Id"] for one in containers.inspected()]:
        [one] = [now for now in containers.inspected() if now["Id"] == name]
        containers.crash(one)
        wait_for(f"{service(one)} is started again", partial(restarted, containers, one["Id"], one["RestartCount"]))
        wait_for(f"all are healthy after {service(one)} was killed", lambda: containers.unhealthy() == [])


def restarted(containers: Containers, container: str, before: int) -> bool:
    """Has this container been started again since it had been so often?"""
    return any(one["Id"] == container and one["RestartCount"] > before for one in containers.inspected())


@pytest.mark.long
def test_a_power_cut_loses_nothing_and_heals_without_a_hand(containers: Containers) -> None:
    system = containers.system
    before = {symbol: ids(containers, symbol) for symbol in SYMBOLS}
    cut = containers.inspected()
    for one in cut:
        containers.crash(one)
    for one in cut:  # until then the engine has not seen it, and calls it healthy
        wait_for(f"{service(one)} is started again", partial(restarted, containers, one["Id"], one["RestartCount"]))
    wait_for("all are healthy again", lambda: containers.unhealthy() == [])
    closed(containers, closed(containers) + 1)
    for symbol in SYMBOLS:
        assert before[symbol] <= ids(containers, symbol)
    # What the exchange sent meanwhile is fetched from it.
    lacking = "select symbol, interval_start from silver.completeness where status in ('partial', 'missing')"
    wait_for("every minute of the cut is whole", lambda: not system.query(lacking))


def ids(containers: Containers, symbol: str) -> set[int]:
    """The ids of the stored trades of a symbol, none of which stands twice."""
    found = [
        row["trade_id"]
        for row in containers.system.query(f"select trade_id from bronze.trades where symbol = '{symbol}'")
    ]
    assert len(found) == len(set(found)), f"{symbol}: a trade stands twice"
    return set(found)


@pytest.mark.long
def test_after_down_and_up_the_data_is_there(containers: Containers) -> None:
    before = {symbol: ids(containers, symbol) for symbol in SYMBOLS}
    containers.system.script("stop.sh")
    assert containers.running() == []
    containers.system.deploy("--docker")
    for symbol in SYMBOLS:
        assert before[symbol] <= ids(containers, symbol)
    closed(containers, closed(containers))


@pytest.mark.parametrize("profile", ["monitoring", "clickhouse"])
def test_what_only_its_makers_images_have_is_described_as_compose_wants_it(
    containers: Containers, profile: str
) -> None:
    told = json.loads(containers.compose("--profile", profile, "config", "--format", "json"))
    [name] = {"monitoring": ["grafana"], "clickhouse": ["clickhouse"]}[profile]
    assert told["services"][name]["image"].count(":") == 1
