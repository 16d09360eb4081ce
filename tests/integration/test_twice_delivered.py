"""What is delivered twice stands once, also where the deliveries lie on two sides of an hour."""

import time
from collections.abc import Iterator
from decimal import Decimal

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from shared.events import DepthSnapshot, Event, Trade, encode, message_key
from shared.settings import Settings
from shared.symbol_manager import Symbol, topic
from streaming.connection import Frame
from streaming.exchanges.binance import Binance
from streaming.feed import Feed
from tests.system import System, wait_for

pytestmark = pytest.mark.long
PAIR = Symbol(symbol="TWICEUSDT", name="delivered twice")
HOUR = (int(time.time()) // 3_600 - 3) * 3_600_000_000
"""Three hours ago, in microseconds. Much earlier is dear: of each minute since it is said that nothing came."""
BEFORE, AFTER = (time.strftime("%H", time.gmtime(HOUR / 1e6 - one)) for one in (1, 0))
EARLIER, LATER = HOUR - 400, HOUR + 300


def trade(trade_id: int, at: int, source: str, connection: str, received_at: int | None) -> Trade:
    return Trade(
        exchange="binance",
        symbol=PAIR.symbol,
        base_asset=PAIR.base,
        quote_asset=PAIR.quote,
        event_time=at,
        published_at=at,
        received_at=received_at,
        source=source,
        connection_id=connection,
        trade_id=trade_id,
        price=Decimal("2.5"),
        quantity=Decimal("4"),
        quote_quantity=Decimal("10"),
        is_buyer_maker=True,
    )


class Delivery:
    """Puts events into the topic of the pair, and waits until a run of the pipeline has brought them to bronze."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._last = 1_000
        servers = f"127.0.0.1:{system.environment['KAFKA_PORT']}"
        admin = KafkaAdminClient(bootstrap_servers=servers)
        admin.create_topics({topic(PAIR.symbol): {"num_partitions": 1, "replication_factor": 1}})
        admin.close()
        self.producer = KafkaProducer(bootstrap_servers=servers, acks="all")

    def bring(self, *events: Event) -> None:
        """One micro-batch: what comes with the last of it has come too, as the topic keeps the order."""
        self._last += 1
        after = trade(self._last, HOUR + 60_000_000, "websocket", "after", HOUR + 60_000_100)
        for event in (*events, after):
            self.producer.send(topic(PAIR.symbol), encode(event), message_key("binance", event.stream))
        self.producer.flush(30)
        wait_for("the pipeline has taken it in", lambda: self._last in self.trade_ids(), every=3)

    def trade_ids(self) -> list[int]:
        return [row["trade_id"] for row in self.rows("trades", "trade_id")]

    def rows(self, table: str, columns: str) -> list[dict[str, object]]:
        return self._system.query(f"select {columns} from bronze.{table} where symbol = '{PAIR.symbol}'")


@pytest.fixture(scope="module")
def delivery(system: System) -> Iterator[Delivery]:
    """All of it delivered, in three micro-batches."""
    made = Delivery(system)
    at = HOUR - 1_000
    by_one = trade(7, at, "websocket", "one", EARLIER)
    by_another = trade(7, at, "websocket", "another", LATER)
    by_rest = trade(7, at, "rest", "rest", None)
    next_hour = trade(8, HOUR, "websocket", "another", LATER)
    first, *others = snapshots()
    made.bring(by_rest, first)
    made.bring(by_another, next_hour, *others)
    made.bring(by_one, by_rest)
    yield made
    made.producer.close()


def snapshots() -> list[DepthSnapshot]:
    """What the streaming service makes of a snapshot that two connections deliver, and of the next."""
    exchange = Binance()
    exchange.learn([PAIR])
    body = b'{"stream":"twiceusdt@depth5","data":{"lastUpdateId":%d,"bids":[["1.0","2.0"]],"asks":[["1.1","2.0"]]}}'
    received = ((5, EARLIER, "one"), (5, LATER, "another"), (6, LATER, "another"))
    feed = Feed(Settings(mode="demo"))
    frames = [Frame(exchange, body % number, at, connection) for number, at, connection in received]
    made = [event for frame in frames for event in feed.events(frame) if isinstance(event, DepthSnapshot)]
    feed.close()
    return made


def test_a_trade_that_two_connections_and_rest_deliver_across_an_hour_is_one_row(delivery: Delivery) -> None:
    assert sorted(number for number in delivery.trade_ids() if number < 1_000) == [7, 8]
    [row] = [
        row
        for row in delivery.rows("trades", "trade_id, source, connection_id, hour, epoch_us(received_at) as received")
        if row["trade_id"] == 7
    ]
    assert (row["source"], row["connection_id"], row["received"], row["hour"]) == ("websocket", "one", EARLIER, BEFORE)


def test_a_snapshot_that_two_connections_deliver_across_an_hour_is_one_row(delivery: Delivery) -> None:
    rows = sorted((row["update_id"], row["hour"]) for row in delivery.rows("depth", "update_id, hour"))
    assert rows == [(5, BEFORE), (6, AFTER)]
