"""What is in Kafka between two places: offsets to read from and to, and the messages as a frame."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from shared.broker import Broker
from shared.symbol_manager import TOPIC_PREFIX

Offsets = Mapping[str, Mapping[str, int]]
"""By topic and partition, the offset of the next message."""
_A_TASK = 50_000
"""Messages, of some 500 bytes, that one task of an executor with little memory takes at once."""
Ids = Mapping[str, str]
"""By topic, its id, which another topic of the same name does not have."""


@dataclass(frozen=True)
class Lost:
    """Messages that Kafka dropped before they were read: the offsets `[first, end)` of a partition."""

    topic: str
    partition: str
    first: int
    end: int

    def __str__(self) -> str:
        if self.end < self.first:
            return f"{self.topic}[{self.partition}] was made anew: the one before was read to {self.first}"
        return f"{self.topic}[{self.partition}] {self.first} to {self.end - 1}"


class ExpiredOffsetsError(Exception):
    """Kafka no longer has messages that were not yet read: `lost`."""

    def __init__(self, lost: Sequence[Lost]) -> None:
        super().__init__(
            f"Kafka no longer has messages that were not yet read: {'; '.join(map(str, lost))}. To go on, "
            "materialize the bronze assets once with the run configuration skip_expired_offsets: true. Then bring what "
            "was missed again: `crypto replay --from … --to …` sends it from the raw archive, and `crypto backfill "
            "--kind trades` fetches it from the exchange; bronze.gaps says from when to when."
        )
        self.lost = lost


def bounds(broker: Broker, topic: str = "", *others: str) -> tuple[Offsets, Offsets]:
    """The first and the next offset, by partition, of every symbol's topic (or of the one `topic`) and of `others`."""
    with broker.explained():
        consumer = KafkaConsumer(**broker.client(), enable_auto_commit=False)
    try:
        there = consumer.topics()
        names = [topic] if topic else sorted(name for name in there if name.startswith(TOPIC_PREFIX))
        names += [name for name in others if name in there and name not in names]
        partitions = [
            TopicPartition(name, number) for name in names for number in consumer.partitions_for_topic(name) or ()
        ]
        return _by_topic(consumer.beginning_offsets(partitions)), _by_topic(consumer.end_offsets(partitions))
    finally:
        consumer.close()


def topic_ids(broker: Broker) -> Ids:
    """The id of every topic that is there."""
    with broker.explained():
        admin = KafkaAdminClient(**broker.client())
    try:
        return {topic["name"]: str(topic["topic_id"]) for topic in admin.describe_topics()}
    finally:
        admin.close()


def made_anew(known: Ids, there: Ids) -> set[str]:
    """The topics that are others than those known; one whose id was never noted is believed."""
    return {topic for topic, number in there.items() if known.get(topic, number) != number}


def _by_topic(offsets: Mapping[TopicPartition, int]) -> Offsets:
    found: dict[str, dict[str, int]] = {}
    for partition, offset in offsets.items():
        found.setdefault(partition.topic, {})[str(partition.partition)] = offset
    return found


def starting(
    read: Offsets, first: Offsets, end: Offsets, *, anew: Collection[str] = (), skip_expired: bool = False
) -> Offsets:
    """Where to go on: after what was read, and at the beginning of topics that are new. A table that has read nothing
    yet begins with what is there.

    Raises `ExpiredOffsetsError`, with the exact range, where Kafka has already dropped what was not read, or where a
    topic was made anew: it is one of `anew`, or ends before what was read. `skip_expired` goes on at the first message
    that is there.
    """
    places: dict[str, dict[str, int]] = {}
    lost: list[Lost] = []
    for topic, partitions in first.items():
        for partition, beginning in partitions.items():
            place = read.get(topic, {}).get(partition, 0 if read else beginning)
            if place < beginning or (topic in anew and place > beginning):
                lost.append(Lost(topic, partition, place, beginning))
            elif place > end[topic][partition]:
                lost.append(Lost(topic, partition, place, end[topic][partition]))
            else:
                beginning = place
            places.setdefault(topic, {})[partition] = beginning
    if lost and not skip_expired:
        raise ExpiredOffsetsError(lost)
    return places


def smallest(places: list[Offsets]) -> Offsets:
    """Of several places the one before all: where one knows a partition that another does not, it counts from there."""
    result: dict[str, dict[str, int]] = {}
    for place in places:
        for topic, partitions in place.items():
            for partition, offset in partitions.items():
                known = result.setdefault(topic, {})
                known[partition] = min(known.get(partition, offset), offset)
    return result


def furthest(read: Offsets, stop: Offsets) -> Offsets:
    """Where a table is after it read to `stop`: never back, and with the places of topics that are not there now."""
    return {
        topic: {
            partition: max(read.get(topic, {}).get(partition, 0), stop.get(topic, {}).get(partition, 0))
            for partition in {**read.get(topic, {}), **stop.get(topic, {})}
        }
        for topic in {**read, **stop}
    }


def only(offsets: Offsets, topics: Collection[str]) -> Offsets:
    """The places in these topics."""
    return {topic: partitions for topic, partitions in offsets.items() if topic in topics}


def is_within(places: Offsets, ends: Offsets) -> bool:
    """Is no place after its end?"""
    return all(
        place <= ends.get(topic, {}).get(partition, 0)
        for topic, partitions in places.items()
        for partition, place in partitions.items()
    )


def chunk_end(start: Offsets, end: Offsets, limit: int) -> Offsets:
    """An end that takes at most about `limit` messages, evenly from all partitions."""
    waiting = sum(count for counts in waiting_messages(start, end).values() for count in counts.values())
    if waiting <= limit:
        return end
    share = limit / waiting
    return {
        topic: {
            partition: start[topic][partition] + max(1, int((last - start[topic][partition]) * share))
            if last > start[topic][partition]
            else last
            for partition, last in partitions.items()
        }
        for topic, partitions in end.items()
    }


def waiting_messages(start: Offsets, end: Offsets) -> dict[str, dict[str, int]]:
    """How many messages lie between two places, by topic and partition."""
    return {
        topic: {partition: last - start.get(topic, {}).get(partition, 0) for partition, last in partitions.items()}
        for topic, partitions in end.items()
    }


def tasks(start: Offsets, end: Offsets) -> int:
    """In how many parts the messages between two places are worked on: two, and more where they are many."""
    count = sum(count for counts in waiting_messages(start, end).values() for count in counts.values())
    return max(2, -(-count // _A_TASK))


def messages(spark: SparkSession, broker: Broker, start: Offsets, end: Offsets) -> DataFrame:
    """The messages in `[start, end)`: `value` (JSON), `stream`, `topic`, `partition`, `offset`, `kafka_time`.

    Spark makes a part of each topic, and each would be a task in every stage of every table: a second of CPU for a few
    messages. So topics are read together.
    """
    return (
        spark.read.format("kafka")
        .options(**broker.spark())
        .option("assign", json.dumps({topic: [int(p) for p in partitions] for topic, partitions in end.items()}))
        .option("startingOffsets", json.dumps(start))
        .option("endingOffsets", json.dumps(end))
        .option("failOnDataLoss", "true")
        # A partition that is read to its end waits this long, even when all the data is there: 500 ms by default.
        .option("kafka.fetch.max.wait.ms", "5")
        .load()
        .select(
            F.col("value").cast("string").alias("value"),
            "topic",
            "partition",
            "offset",
            F.col("timestamp").alias("kafka_time"),
            F.get_json_object(F.col("value").cast("string"), "$.stream").alias("stream"),
        )
        .coalesce(tasks(start, end))
    )
