"""The service as a process, with a real Kafka, a real PostgreSQL and a real receiver, killed where it hurts."""

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from shared.events import AHEAD, Trade, encode
from shared.symbol_manager import topic
from tests.alerts.conftest import Database, Receiver, ServiceProcess, until
from tests.alerts.trades import trade
from tests.bad_input import DEEP
from tests.servers import KafkaServer

SYMBOLS = iter(range(1000))


class Market:
    """A symbol that no other test trades, and its trades in Kafka."""

    def __init__(self, server: KafkaServer) -> None:
        self.symbol = f"T{next(SYMBOLS)}X{os.getpid()}USDT"
        admin = KafkaAdminClient(bootstrap_servers=server.settings.kafka)
        admin.create_topics(
            {topic(self.symbol): {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True
        )
        admin.close()
        self._producer = KafkaProducer(bootstrap_servers=server.settings.kafka, linger_ms=0)
        self._number = 0

    def trade(self, *prices: int, headers: list[tuple[str, bytes]] | None = None, source: str = "websocket") -> Trade:
        """Trades at these prices, now, acknowledged."""
        for price in prices:
            self._number += 1
            at = time.time_ns() // 1000
            made = trade(self._number, str(price), symbol=self.symbol)
            last = Trade(**{name: getattr(made, name) for name in made.__struct_fields__}
                         | {"event_time": at, "source": source})  # fmt: skip
            self.send(encode(last), headers or [])
        return last

    def send(self, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """A message, acknowledged."""
        self._producer.send(topic(self.symbol), value, b"binance:trade", headers=list(headers)).get(10)

    def close(self) -> None:
        self._producer.close()


@pytest.fixture
def market(kafka_server: KafkaServer) -> Iterator[Market]:
    made = Market(kafka_server)
    yield made
    made.close()


@pytest.fixture
def service(
    tmp_path: Path, database: Database, kafka_server: KafkaServer, receiver: Receiver, market: Market
) -> Iterator[ServiceProcess]:
    """The service with a rule on the price, not started yet."""
    settings = database.settings.model_copy(update={"kafka_port": kafka_server.settings.kafka_port})
    made = ServiceProcess(settings, tmp_path)
    (tmp_path / ".env").write_text(f"ALERTS_HOOK={receiver.url}/t0psecret\n")
    write(made, market)
    yield made
    if made.process and made.process.poll() is None:
        assert made.stop() == 0
    assert "t0psecret" not in made.log.read_text()
    assert "Traceback" not in made.log.read_text()


def write(service: ServiceProcess, market: Market, above: int = 100, cool_down: float = 0, more: str = "") -> None:
    service.file.write_text(
        "destinations: {hook: {url: '${ALERTS_HOOK}'}}\n"
        "retry: {first_seconds: 0.05, longest_seconds: 0.2}\n"
        "rules:\n"
        f"  - {{name: level, kind: price_crosses, symbols: [{market.symbol}], above: {above}, destinations: [hook], "
        f"cool_down_minutes: {cool_down}}}\n{more}"
    )


FIRED, RESOLVED = "WARNING: level, binance {}", "Resolved: level, binance {}"


def told(receiver: Receiver, market: Market) -> list[str]:
    """What the receiver took: `fired` and `resolved`."""
    return [message["about"] for message in receiver.taken if market.symbol in message["title"]]


def noted(database: Database) -> int:
    """How many messages were taken, and that noted."""
    return len(database.rows("select 1 from alerts.outbox where delivered_at is not null"))


def test_a_price_alert_is_at_the_receiver_within_two_seconds_of_the_trade(
    service: ServiceProcess, market: Market, receiver: Receiver
) -> None:
    service.start()
    market.trade(99)
    crossing = market.trade(101)
    until(lambda: receiver.taken)
    assert receiver.arrived[0] - crossing.event_time / 1_000_000 < 2
    market.trade(99)
    until(lambda: len(receiver.taken) == 2)
    assert receiver.told == [FIRED.format(market.symbol), RESOLVED.format(market.symbol)]


def test_a_receiver_that_fails_for_a_while_gets_every_alert_once(
    service: ServiceProcess, market: Market, receiver: Receiver
) -> None:
    service.start()
    receiver.status = 500
    for _ in range(5):
        market.trade(99, 101)
    until(lambda: receiver.refused >= 3)
    receiver.status = 200
    market.trade(99)
    until(lambda: len(receiver.taken) == 10)
    assert told(receiver, market) == ["fired", "resolved"] * 5
    assert len({message["key"] for message in receiver.taken}) == 10


def test_a_service_killed_between_firing_and_sending_loses_nothing_and_doubles_nothing(
    service: ServiceProcess, market: Market, receiver: Receiver, database: Database
) -> None:
    service.start()
    receiver.status = 500
    market.trade(99, 101)
    until(lambda: database.rows("select 1 from alerts.alerts"))
    service.kill()
    receiver.status = 200
    service.start()
    until(lambda: receiver.taken)
    market.trade(99)
    until(lambda: len(receiver.taken) == 2)
    assert told(receiver, market) == ["fired", "resolved"]


def test_a_service_killed_between_sending_and_noting_it_sends_again_with_the_same_key(
    service: ServiceProcess, market: Market, receiver: Receiver
) -> None:
    service.start()
    assert service.process

    def kill_once(pid: int = service.process.pid) -> None:
        receiver.on_message = lambda: None
        os.kill(pid, signal.SIGKILL)

    receiver.on_message = kill_once
    market.trade(99, 101)
    until(lambda: service.process and service.process.poll() is not None)
    service.start()
    market.trade(99)
    until(lambda: told(receiver, market)[-1] == "resolved")
    assert told(receiver, market) == ["fired", "fired", "resolved"]
    first, again, _ = receiver.taken
    assert first["key"] == again["key"]


def test_what_was_traded_while_it_was_dead_is_told_and_what_it_had_seen_is_not_told_again(
    service: ServiceProcess, market: Market, receiver: Receiver, database: Database
) -> None:
    service.start()
    market.trade(99, 101, 99)
    until(lambda: noted(database) == 2)
    service.kill()
    market.trade(101)
    service.start()
    until(lambda: len(receiver.taken) == 3)
    assert told(receiver, market) == ["fired", "resolved", "fired"]


def test_at_the_first_start_what_was_traded_before_is_no_news(
    service: ServiceProcess, market: Market, receiver: Receiver, database: Database
) -> None:
    market.trade(99, 101, 99)
    service.start()
    market.trade(99, 101)
    until(lambda: receiver.taken)
    assert [row["n"] for row in database.rows("select count(*) as n from alerts.alerts")] == [1]


def test_a_topic_that_is_new_is_read_from_its_begin(
    service: ServiceProcess, market: Market, receiver: Receiver, kafka_server: KafkaServer
) -> None:
    service.start()
    other = Market(kafka_server)
    write(service, other)
    other.trade(99, 101)
    until(lambda: receiver.taken)
    assert told(receiver, other) == ["fired"]
    other.close()


def test_repairs_and_replays_are_no_news(service: ServiceProcess, market: Market, receiver: Receiver) -> None:
    service.start()
    market.trade(99)
    market.trade(105, headers=[("replay", b"1")])
    market.trade(106, source="rest")
    market.trade(101)
    until(lambda: receiver.taken)
    assert "101" in receiver.taken[0]["message"]
    assert told(receiver, market) == ["fired"]


def test_rules_change_while_it_runs_and_a_wrong_file_changes_nothing(
    service: ServiceProcess, market: Market, receiver: Receiver, database: Database
) -> None:
    service.start()
    market.trade(99, 201)
    until(lambda: noted(database) == 1)
    assert told(receiver, market) == ["fired"]
    service.file.write_text("rules:\n  - {name: level, kind: gossip}\n")
    until(lambda: "there is no kind 'gossip'" in service.log.read_text(), 5)
    assert f"{service.file}:2: " in service.log.read_text()
    service.kill()
    service.start()  # with the wrong file: the last right one stays
    market.trade(99)
    until(lambda: len(receiver.taken) == 2)
    write(service, market, above=300)
    until(lambda: "is followed" in service.log.read_text(), 5)
    market.trade(201, 301)
    until(lambda: len(receiver.taken) == 3)
    assert "301" in receiver.taken[2]["message"]
    service.file.write_text("destinations: {hook: {url: '${ALERTS_HOOK}'}}\n")
    until(lambda: len(receiver.taken) == 4, 10)
    assert "no longer in config/alerts.yaml" in receiver.taken[3]["message"]


def test_it_goes_on_after_the_database_cut_it_off(
    service: ServiceProcess, market: Market, receiver: Receiver, database: Database
) -> None:
    service.start()
    market.trade(99)
    database.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where application_name = %s and pid <> pg_backend_pid()",
        "crypto-alerts",
    )
    market.trade(101)
    until(lambda: receiver.taken)
    assert told(receiver, market) == ["fired"]


def test_it_goes_on_after_kafka_was_away(
    service: ServiceProcess, market: Market, receiver: Receiver, kafka_server: KafkaServer
) -> None:
    service.start()
    market.trade(99)
    kafka_server.pause()
    try:
        until(lambda: "the rules cannot be evaluated" in service.log.read_text())
    finally:
        kafka_server.resume()
    market.trade(101)
    until(lambda: receiver.taken)
    assert told(receiver, market) == ["fired"]


def test_a_wrong_file_at_the_start_is_one_sentence_and_exit_code_2(service: ServiceProcess) -> None:
    service.file.write_text("rules: 5\n")
    with pytest.raises(AssertionError, match=r"alerts\.yaml:1: rules: "):
        service.start()
    assert service.process
    assert service.process.returncode == 2


def test_after_messages_that_are_no_trades_an_alert_comes_all_the_same(
    service: ServiceProcess, market: Market, receiver: Receiver
) -> None:
    service.start()
    last = market.trade(99)
    whole = encode(last)
    later = json.dumps(json.loads(whole) | {"event_time": last.event_time + 2 * AHEAD}, separators=(",", ":")).encode()
    damaged = (whole[:-9], whole.replace(b"binance", b"\xff"), whole.replace(b'"99"', b'"NaN"'))
    for value in (None, b"\0", DEEP.encode(), *damaged, later):
        market.send(value)
    market.trade(101)
    until(lambda: receiver.taken)
