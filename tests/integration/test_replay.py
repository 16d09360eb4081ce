"""The raw archive brings again what Kafka dropped unread, and changes nothing of what is there."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from deployment import probes
from shared.symbol_manager import topic
from tests.integration.test_pipeline import candles_closed
from tests.system import System, wait_for

pytestmark = pytest.mark.long
DROPPED, REPEATED = "XRPUSDT", "SOLUSDT"
TABLES = ("trades", "klines", "tickers", "depth")
FAILURES = """query { runsOrError(filter: {pipelineName: "pipeline", statuses: [FAILURE]}, limit: 1) { ... on Runs {
    results { eventConnection { events { ... on ExecutionStepFailureEvent { error { message cause { message } } } } } }
} } }"""


class Dropped(NamedTuple):
    """What Kafka forgot unread."""

    last_id: int
    """The newest trade that bronze has."""
    since: datetime
    begin: int
    end: int
    """Offsets; the hole begins at `begin` or earlier, and ends before `end`."""


def trade_ids(system: System, symbol: str) -> list[int]:
    """Of all rows in bronze, in order."""
    rows = system.query(f"select trade_id from bronze.trades where symbol = '{symbol}' order by 1")
    return [row["trade_id"] for row in rows]


def dropped_by_kafka(system: System, symbol: str) -> tuple[int, int]:
    """Have Kafka forget all that it holds of a symbol, once that is more than bronze has; the offsets of them."""
    servers = f"127.0.0.1:{system.environment['KAFKA_PORT']}"
    partition = TopicPartition(topic(symbol), 0)
    consumer, admin = KafkaConsumer(bootstrap_servers=servers), KafkaAdminClient(bootstrap_servers=servers)
    try:
        begin = consumer.end_offsets([partition])[partition]
        end = wait_for(
            "a hundred more messages",
            lambda: (now := consumer.end_offsets([partition])[partition]) > begin + 100 and now,
            seconds=60,
        )
        admin.delete_records({partition: end})
        return begin, end
    finally:
        consumer.close()
        admin.close()


@pytest.fixture(scope="module", autouse=True)
def some_minutes(system: System) -> None:
    """There is something to be lost and repeated."""
    wait_for("four closed minutes", lambda: candles_closed(system) >= 4, every=2)


@pytest.fixture(scope="module")
def dropped(system: System) -> Dropped:
    """Messages that bronze has not read are gone from Kafka."""
    with system.nothing_launched():
        before = trade_ids(system, DROPPED)
        since = datetime.now(UTC) - timedelta(minutes=15)  # long before what the last run has read
        begin, end = dropped_by_kafka(system, DROPPED)
    return Dropped(before[-1], since, begin, end)


def test_messages_that_kafka_dropped_unread_stop_the_run_with_their_range_and_are_a_gap(
    system: System, dropped: Dropped
) -> None:
    def said() -> str:
        found = probes.graphql(system.settings(), FAILURES, patience=60)["runsOrError"]["results"]
        return str(found) if found else ""

    message = wait_for("a run fails for it", lambda: "no longer has messages" in (text := said()) and text)
    assert f"{topic(DROPPED)}[0] " in message
    assert f" to {dropped.end - 1}" in message
    assert "skip_expired_offsets" in message
    [gap] = system.query(
        "select first_missing, last_missing, status from bronze.gaps "
        f"where cause = 'offsets_expired' and symbol = '{DROPPED}' and gap_stream = 'trade'"
    )
    assert gap["first_missing"] <= dropped.begin
    assert gap["last_missing"] == dropped.end - 1
    assert trade_ids(system, DROPPED)[-1] == dropped.last_id, "nothing behind the hole is taken in silence"


def test_after_the_cure_that_it_names_every_trade_is_there_once(system: System, dropped: Dropped) -> None:
    system.launch("pipeline", {"ops": {"bronze": {"config": {"skip_expired_offsets": True}}}}, {})
    wait_for("bronze goes on behind it", lambda: trade_ids(system, DROPPED)[-1] > dropped.last_id)
    until = datetime.now(UTC)
    done = replay(system, DROPPED, dropped.since, until)
    assert "not understood" not in done

    def whole() -> bool:
        ids = trade_ids(system, DROPPED)
        mine = [number for number in ids if number >= dropped.last_id]
        assert len(ids) == len(set(ids)), "a trade stands twice"
        return mine == list(range(mine[0], mine[-1] + 1))

    wait_for("the tape has no hole", whole, every=5)


def test_replaying_what_is_there_changes_no_row(system: System) -> None:
    until = settled(system, REPEATED)
    seen = {
        table: f"select * exclude (kafka_time, ingested_at) from bronze.{table} where symbol = '{REPEATED}' "
        f"and received_at < timestamptz '{until.isoformat()}' order by all"
        for table in TABLES
    }
    before = {table: system.query(sql, exact=True) for table, sql in seen.items()}
    assert all(before.values())
    replay(system, REPEATED, until - timedelta(minutes=30), until)
    newest = trade_ids(system, REPEATED)[-1]
    wait_for("a run has taken it in", lambda: trade_ids(system, REPEATED)[-1] > newest, every=3)
    for table, sql in seen.items():
        assert system.query(sql, exact=True) == before[table], table


def settled(system: System, symbol: str) -> datetime:
    """A minute that ended ten seconds before what every table has: nothing of before it comes any more by itself."""
    newest = " union all ".join(
        f"select max(received_at) as last from bronze.{table} where symbol = '{symbol}'" for table in TABLES
    )
    [found] = system.query(f"select epoch_us(min(last)) as at from ({newest})")
    return datetime.fromtimestamp((found["at"] // 1_000_000 - 10) // 60 * 60, UTC)


def replay(system: System, symbol: str, since: datetime, until: datetime) -> str:
    """What `crypto replay` says."""
    wanted = ("--from", str(since)[:19], "--to", str(until)[:19], "--symbol", symbol)
    done = system.crypto("replay", *wanted)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "events sent again: none" not in done.stdout
    return done.stdout
