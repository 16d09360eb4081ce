"""From the simulated exchange to gold, on the real Kafka, MinIO, PostgreSQL, Spark, Hudi and Dagster."""

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from decimal import Decimal
from typing import Any

import psutil
import pytest
from kafka import KafkaConsumer, TopicPartition

from crypto_pipeline.catalog import table_modules
from crypto_pipeline.silver.candles import INTERVALS
from deployment.run import FIRST
from deployment.services import TABLE
from shared.symbol_manager import topic
from tests.system import PROJECT, SYMBOLS, System, wait_for


def candles_closed(system: System) -> int:
    """How many minutes are closed for the busiest symbol."""
    sql = "select count(*) as n from silver.ohlcv_1m where is_closed and symbol = 'BTCUSDT'"
    return int(system.query(sql)[0]["n"])


def sent_ids(system: System, symbol: str) -> list[tuple[int, int]]:
    """The ranges of trade ids that the simulator sent to us."""
    return [(first, last) for first, last in system.simulator(f"/truth/sent?symbol={symbol}")["trade"]]


def test_three_minutes_after_the_start_all_six_intervals_are_there(system: System) -> None:
    sql = "select interval, count(*) as n from silver.fact_ohlcv group by 1"
    found = wait_for(
        "all six intervals in silver.fact_ohlcv",
        lambda: (
            (rows := {row["interval"]: row["n"] for row in system.query(sql)}) and set(rows) == set(INTERVALS) and rows
        ),
    )
    assert all(count > 0 for count in found.values())


def test_it_says_that_it_is_healthy(system: System) -> None:
    def status() -> dict[str, Any] | None:
        found = system.status()
        return found if found["healthy"] else None

    assert wait_for("crypto status says healthy", status)["mode"] == "demo"


def test_what_people_wait_for_goes_before_what_computes(system: System) -> None:
    goes_first = f"import os; os.setpriority(os.PRIO_PROCESS, 0, {FIRST})"
    if subprocess.run([sys.executable, "-c", goes_first], capture_output=True, check=False).returncode:
        pytest.skip("here nothing may go first: that takes root, or CAP_SYS_NICE")
    pids = {service.name: service.pid for service in system.services()}
    niceness = {one.name: psutil.Process(pids[one.name]).nice() for one in TABLE if pids.get(one.name)}
    assert {name for name, nice in niceness.items() if nice == FIRST} == {one.name for one in TABLE if one.goes_first}


def test_every_trade_that_the_simulator_sent_is_in_bronze_once(system: System) -> None:
    wait_for("three closed minutes", lambda: candles_closed(system) >= 3)
    for symbol in SYMBOLS:
        rows = system.query(f"select trade_id from bronze.trades where symbol = '{symbol}'")
        ids = [row["trade_id"] for row in rows]
        assert len(ids) == len(set(ids)), f"{symbol}: a trade stands twice"
        last = max(ids)
        sent = {i for first, end in sent_ids(system, symbol) for i in range(first, min(end, last) + 1)}
        assert set(ids) == sent, (
            f"{symbol}: missing {sorted(sent - set(ids))[:9]}, invented {sorted(set(ids) - sent)[:9]}"
        )


def test_a_trade_in_bronze_is_the_one_that_was_made_digit_for_digit(system: System) -> None:
    rows = system.query(
        "select trade_id, price, quantity, epoch_us(event_time) as at, is_buyer_maker from bronze.trades "
        "where symbol = 'ETHUSDT' order by trade_id limit 200",
        exact=True,
    )
    truth = {
        row["trade_id"]: row for row in system.truth(f"trades?symbol=ETHUSDT&fromId={rows[0]['trade_id']}&limit=100000")
    }
    for row in rows:
        made = truth[row["trade_id"]]
        assert (Decimal(row["price"]), Decimal(row["quantity"])) == (Decimal(made["price"]), Decimal(made["quantity"]))
        assert (row["at"], row["is_buyer_maker"]) == (made["time"], made["is_buyer_maker"])


def test_every_complete_candle_equals_its_truth_in_every_field(system: System) -> None:
    names = (
        *("open", "high", "low", "close", "volume", "quote_volume", "trade_count"),
        *("taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id"),
    )
    compared: Counter[str] = Counter()
    candles = system.query(
        f"select symbol, epoch_us(interval_start) as start, {', '.join(names)} from silver.ohlcv_1m "
        "where status = 'complete' order by 1, 2",
        exact=True,
    )
    for symbol in SYMBOLS:
        mine = [candle for candle in candles if candle["symbol"] == symbol]
        span = f"startTime={mine[0]['start']}&endTime={mine[-1]['start']}"
        truth = {row["open_time"]: row for row in system.truth(f"klines?symbol={symbol}&{span}")}
        for candle in mine:
            made = truth[candle["start"]]
            for name in names:
                assert Decimal(str(candle[name])) == Decimal(str(made[name])), (symbol, candle["start"], name)
            compared[symbol] += 1
    assert compared.total() >= 2 * len(SYMBOLS)


def test_a_minute_is_proven_by_trade_ids_exactly_when_all_its_trades_are_there(system: System) -> None:
    for symbol in SYMBOLS:
        sent = sent_ids(system, symbol)
        rows = system.query(
            "select status, proof, epoch_us(interval_start) as start from silver.ohlcv_1m "
            f"where symbol = '{symbol}' and is_closed and status <> 'pending' order by 3"
        )
        span = f"startTime={rows[0]['start']}&endTime={rows[-1]['start']}"
        truth = {row["open_time"]: row for row in system.truth(f"klines?symbol={symbol}&{span}")}
        for row in rows:
            made = truth[row["start"]]
            is_whole = any(first <= made["first_trade_id"] and made["last_trade_id"] <= last for first, last in sent)
            assert (row["proof"] == "trade_ids") == is_whole, (symbol, row, made, sent)


def test_the_longer_candles_hold_the_volume_of_their_minutes(system: System) -> None:
    sql = """
        with minutes as (select symbol, sum(volume) as v, sum(trade_count) as n from silver.ohlcv_1m group by 1),
             longer as (select symbol, interval, sum(volume) v, sum(trade_count) n from silver.ohlcv group by 1, 2)
        select count(*) as pairs, count(*) filter (where minutes.v = longer.v and minutes.n = longer.n) as equal
        from minutes join longer using (symbol)"""
    wait_for(
        "minutes and longer candles agree",
        lambda: (row := system.query(sql, exact=True)[0])["pairs"] == row["equal"] >= 5 * len(SYMBOLS),
    )


def test_indicators_stand_on_every_candle(system: System) -> None:
    sql = """select count(*) as n from silver.fact_ohlcv f
             left join silver.indicators i using (exchange, symbol, interval, interval_start) where i.close is null"""
    wait_for("an indicator row for every candle", lambda: system.query(sql)[0]["n"] == 0)


def test_every_streamed_symbol_is_an_instrument_with_its_steps(system: System) -> None:
    sql = "select symbol from silver.instruments where status = 'TRADING' and tick_size > 0 and valid_to is null"
    wait_for(
        "the instruments in silver",
        lambda: {row["symbol"] for row in system.query(sql)} >= set(SYMBOLS),
    )


def test_both_engines_give_the_same_answer(system: System) -> None:
    sql = """select symbol, count(*) as candles, sum(trade_count) as trades from silver.ohlcv_1m
             where status = 'complete' and interval_start < timestamp '{}' group by 1 order by 1"""
    last = system.query("select max(interval_start) as t from silver.ohlcv_1m where status = 'complete'")[0]["t"]
    sql = sql.format(str(last).replace("T", " ").removesuffix("Z").removesuffix("+00:00"))

    def answers() -> list[object]:
        asked = [system.crypto("query", sql, "--format", "json", "--engine", engine) for engine in ("duckdb", "spark")]
        return [system.query(sql), *(json.loads(done.stdout) for done in asked)]

    def are_the_same() -> bool:
        first, *others = answers()
        return first != [] and all(other == first for other in others)

    # Silver goes on meanwhile (an imported month takes a pass of its own): between two answers it may be a commit on.
    wait_for("both engines to give the same answer", are_the_same)


def test_kafka_holds_one_topic_a_symbol_and_order_a_key(system: System) -> None:
    consumer = KafkaConsumer(
        bootstrap_servers=f"127.0.0.1:{system.environment['KAFKA_PORT']}", enable_auto_commit=False
    )
    partition = TopicPartition(topic("BTCUSDT"), 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    ids: list[int] = []
    while consumer.position(partition) < end:
        for record in consumer.poll(timeout_ms=1000).get(partition, []):
            ids += [json.loads(record.value)["trade_id"]] if record.key == b"binance:trade" else []
    consumer.close()
    assert len(ids) > 50
    assert ids == sorted(ids)


def test_jobs_carry_the_name_of_their_asset_in_the_spark_ui(system: System) -> None:
    page = f"http://127.0.0.1:{system.environment['SPARK_UI_PORT']}/connect/"
    with urllib.request.urlopen(page, timeout=30) as answer:
        text = answer.read().decode()
    assert "silver.ohlcv_1m" in text
    assert "bronze" in text


def test_nothing_listens_beyond_loopback(system: System) -> None:
    open_to_all = [
        (process.pid, connection.laddr)
        for process, connections in system.asked(lambda process: process.net_connections(kind="tcp"))
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr.ip not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
    ]
    assert not open_to_all


def test_no_secret_stands_in_a_log_or_on_a_command_line(system: System) -> None:
    secrets = [
        line.partition("=")[2].strip()
        for line in (system.home / ".env").read_text().splitlines()
        if any(word in line.partition("=")[0] for word in ("SECRET", "PASSWORD", "ACCESS_KEY"))
    ]
    assert len(secrets) >= 3
    for process, line in system.asked(psutil.Process.cmdline):
        assert not any(secret in argument for secret in secrets for argument in line), process.pid
    state = system.home / "var" / "demo"
    logs = [*(state / "log").iterdir(), *(state / "spark" / "work").rglob("std*")]
    assert len(logs) > 10
    for log in logs:
        text = log.read_text(errors="replace")
        assert not any(secret in text for secret in secrets), log


def test_deploying_again_changes_nothing(system: System) -> None:
    before = {service["name"]: service["pid"] for service in system.status()["services"]}
    system.script("deploy.sh", "--demo", "--local")
    assert {service["name"]: service["pid"] for service in system.status()["services"]} == before


def test_a_wrong_symbols_file_is_refused_with_its_line_and_what_runs_goes_on(system: System) -> None:
    wrong = system.home / "wrong.yaml"
    wrong.write_text("tiers:\n  majors:\n    - {symbol: BTCUSDT, name: Bitcoin, streams: [trades]}\n")
    done = system.crypto("symbols", "--check", str(wrong))
    assert done.returncode == 1
    assert f"{wrong}:3:" in done.stderr
    assert system.crypto("symbols").returncode == 0


def monitored(system: System, flag: str) -> subprocess.CompletedProcess[str]:
    """What monitor.sh shows, once all is well; on a machine with much else to do some do not answer in time."""
    command = [str(PROJECT / "monitor.sh"), flag]
    shown: list[subprocess.CompletedProcess[str]] = []

    def is_well() -> bool:
        shown.append(subprocess.run(command, env=system.environment, capture_output=True, text=True, check=False))
        return shown[-1].returncode == 0

    try:
        wait_for(f"monitor.sh {flag} ends with 0", is_well)
    finally:
        print(shown[-1].stdout)
    return shown[-1]


def test_the_monitor_shows_every_service_topic_and_asset(system: System) -> None:
    shown = monitored(system, "--once").stdout
    for name in ("kafka", "minio", "spark-connect", "crypto_raw_btcusdt", "silver.ohlcv_1m"):
        assert name in shown, name


def test_for_scripts_the_monitor_says_the_same_in_json(system: System) -> None:
    assert json.loads(monitored(system, "--json").stdout)


EVIDENCE = [name for name, module in table_modules().items() if getattr(module, "JOB", "") == "evidence"]


@pytest.mark.parametrize("table", EVIDENCE)
def test_evidence_of_every_symbol_is_gathered(system: System, table: str) -> None:
    sql = f"select distinct symbol from {table}"
    wait_for(
        f"every symbol in {table}",
        lambda: {row["symbol"] for row in system.query(sql)} >= set(SYMBOLS),
        every=5,
    )
