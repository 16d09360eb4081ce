"""The kinds that ask Dagster, Kafka and the machine."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from alerts.kinds._kind import AskedRule, Finding, SourceError
from alerts.kinds.dead_letters import DeadLetters
from alerts.kinds.disk import Disk
from alerts.kinds.failed_run import FailedRun
from alerts.kinds.freshness import Freshness
from alerts.kinds.lag import Lag
from alerts.kinds.no_data import NoData
from alerts.sources import Asked, Market
from shared.settings import Settings
from shared.symbol_manager import DEAD_LETTERS
from tests.servers import KafkaServer

MINUTE = 60_000_000


class Answering(Asked):
    """Sources of which Dagster's answer is given, as its GraphQL has it."""

    def __init__(self, settings: Settings, answer: dict[str, Any], seen: dict[Market, int] | None = None) -> None:
        super().__init__(settings, seen or {})
        self._answer = answer

    def dagster(self, query: str) -> dict[str, Any]:
        return self._answer


def found(rule: AskedRule, sources: Asked, after: int = 0) -> dict[str, Finding]:
    """What a rule finds so long after the sources began."""
    return {one.subject: one for one in rule.ask(sources, sources.started_at + after)}


def run(job: str, status: str, number: str = "0123456789") -> dict[str, Any]:
    return {"runId": number, "jobName": job, "status": status, "endTime": 1.0}


def test_the_latest_run_of_a_job_counts() -> None:
    runs = [run("pipeline", "SUCCESS"), run("pipeline", "FAILURE"), run("analytics", "FAILURE"), run("__ASSET_JOB", "")]
    sources = Answering(Settings(), {"runsOrError": {"results": runs}})
    told = found(FailedRun(name="f", kind="failed_run"), sources)
    assert {job: one.holds for job, one in told.items()} == {"pipeline": False, "analytics": True}
    assert told["analytics"].text.startswith("The run 01234567 of analytics ended with FAILURE")
    assert set(found(FailedRun(name="f", kind="failed_run", jobs=("pipeline",)), sources)) == {"pipeline"}


def test_a_table_is_stale_by_when_it_was_made_and_one_that_never_was_by_our_start() -> None:
    made_at = str(time.time_ns() // 1_000_000)
    made = {"assetKey": {"path": ["silver", "ohlcv_1m"]}, "latestMaterialization": {"timestamp": made_at}}
    never = {"assetKey": {"path": ["bronze", "trades"]}, "latestMaterialization": None}
    sources = Answering(Settings(), {"assetsLatestInfo": [made, never]})
    rule = Freshness(name="f", kind="freshness", minutes=10)
    assert {name: one.holds for name, one in found(rule, sources, MINUTE).items()} == {
        "silver.ohlcv_1m": False, "bronze.trades": None,
    }  # fmt: skip
    later = found(rule, sources, 11 * MINUTE)
    assert later["silver.ohlcv_1m"].holds is True
    assert later["silver.ohlcv_1m"].text == "silver.ohlcv_1m was made 11 minutes ago; 10 minutes are allowed."
    assert later["bronze.trades"].text.startswith("bronze.trades was never made")


def test_a_disk_fires_by_what_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    sources = Asked(Settings(), {})
    with pytest.raises(SourceError, match="cannot be looked at"):
        found(Disk(name="d", kind="disk"), sources)
    sources.settings.state.mkdir(parents=True)
    assert found(Disk(name="d", kind="disk", percent=0.001), sources)["disk"].holds is True
    assert found(Disk(name="d", kind="disk", percent=99.999), sources)["disk"].holds is False
    sources.settings = sources.settings.model_copy(update={"imports_pause_percent": 0})
    assert "Imports wait" in found(Disk(name="d", kind="disk"), sources)["disk"].text


def symbols(folder: Path, *names: str, selector: str = "") -> Settings:
    entries = "".join(f"    - {{symbol: {name}, name: x}}\n" for name in names)
    (folder / "symbols.yaml").write_text(f"tiers:\n  a:\n{entries}{selector}")
    return Settings(symbols_file=folder / "symbols.yaml")


def test_a_symbol_of_which_nothing_comes_fires_and_one_that_is_not_streamed_does_not(tmp_path: Path) -> None:
    seen: dict[Market, int] = {}
    sources = Asked(symbols(tmp_path, "BTCUSDT", "ETHUSDT"), seen)
    seen |= {("binance", name): sources.started_at for name in ("BTCUSDT", "XRPUSDT")}
    rule = NoData(name="n", kind="no_data", seconds=60)
    assert {name: one.holds for name, one in found(rule, sources).items()} == {
        "binance BTCUSDT": False, "binance ETHUSDT": None,
    }  # fmt: skip
    later = 2 * MINUTE
    seen["binance", "BTCUSDT"] = sources.started_at + later
    told = found(rule, sources, later)
    assert {name: one.holds for name, one in told.items()} == {"binance BTCUSDT": False, "binance ETHUSDT": True}
    assert told["binance ETHUSDT"].text.startswith("Nothing came of ETHUSDT from binance for 1")
    assert set(found(rule.model_copy(update={"symbols": ("BTCUSDT",)}), sources, later)) == {"binance BTCUSDT"}
    (tmp_path / "symbols.yaml").write_text("tiers: [")
    assert len(found(rule, sources, later)) == 2
    symbols(tmp_path, "BTCUSDT", selector="    - {quote: USDT, top: 5}\n")
    assert set(found(rule, sources, later)) == {"binance BTCUSDT", "binance XRPUSDT"}


@pytest.fixture
def producer(kafka_server: KafkaServer) -> Iterator[KafkaProducer]:
    made = KafkaProducer(bootstrap_servers=kafka_server.settings.kafka, linger_ms=0)
    yield made
    made.close()


def topics(server: KafkaServer, *names: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=server.settings.kafka)
    there = {topic["name"] for topic in admin.describe_topics()}
    # a test says when its messages came
    one = {"num_partitions": 1, "replication_factor": 1, "configs": {"message.timestamp.type": "CreateTime"}}
    wanted = [name for name in names if name not in there]
    if wanted:
        admin.create_topics(dict.fromkeys(wanted, one), wait_for_metadata=True)
    admin.close()


def test_dead_letters_are_counted_within_their_minutes(kafka_server: KafkaServer, producer: KafkaProducer) -> None:
    sources = Asked(kafka_server.settings, {})
    rule = DeadLetters(name="d", kind="dead_letters", count=2, minutes=5)
    topics(kafka_server, DEAD_LETTERS)
    assert found(rule, sources)[DEAD_LETTERS].value == 0
    for minutes_ago in (10, 4, 1):
        producer.send(DEAD_LETTERS, b"letter", timestamp_ms=(sources.started_at - minutes_ago * MINUTE) // 1000).get(10)
    told = found(rule, sources)[DEAD_LETTERS]
    assert (told.holds, told.value) == (True, 2)
    assert found(rule, sources, 2 * MINUTE)[DEAD_LETTERS].holds is False
    sources.close()


def test_what_bronze_has_not_taken_in_is_the_lag(kafka_server: KafkaServer, producer: KafkaProducer) -> None:
    topic = "crypto_raw_lagusdt"
    topics(kafka_server, topic)
    for _ in range(5):
        producer.send(topic, b"{}").get(10)
    read = {"label": "offsets", "jsonString": json.dumps({topic: {"0": 2}})}
    observed = {"assetOrError": {"assetObservations": [{"metadataEntries": [read]}]}}
    rule = Lag(name="l", kind="lag", symbols=("LAGUSDT",), messages=3)
    sources = Answering(kafka_server.settings, observed)
    told = found(rule, sources)
    assert (told[topic].holds, told[topic].value) == (True, 3)
    assert told[topic].text == f"3 messages of {topic} wait in Kafka for bronze; 3 are allowed."
    assert found(rule.model_copy(update={"messages": 4}), sources)[topic].holds is False
    sources.close()
    nothing = Answering(kafka_server.settings, {"assetOrError": {"assetObservations": []}})
    assert found(rule, nothing)[topic].value == 5
    nothing.close()


def test_services_that_do_not_answer_are_no_finding() -> None:
    away = Asked(Settings(kafka_port=1, dagster_port=1), {})
    for rule in (Lag(name="l", kind="lag"), FailedRun(name="f", kind="failed_run")):
        with pytest.raises(SourceError, match="Dagster: no answer"):
            found(rule, away)
    with pytest.raises(SourceError, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
        found(DeadLetters(name="d", kind="dead_letters"), away)
