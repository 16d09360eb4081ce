"""What Kafka keeps, as the broker's protocol tells it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from alerts import stream
from alerts.kinds._kind import Offsets, SourceError
from shared.settings import Settings


class KafkaSource:
    """Every topic that is not Kafka's own."""

    name = "kafka"
    every = 15.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: Any = None
        self._admin: Any = None

    def ask(self) -> Iterator[Metric]:
        """Messages and bytes by topic. Raises `SourceError`."""
        try:
            first, end, size = self._looked()
        except KafkaError as error:
            self._close()
            raise SourceError(self._settings.broker.trouble(error)) from None
        kept = GaugeMetricFamily("kafka_topic_messages", "Messages that Kafka keeps.", labels=["topic"])
        appended = CounterMetricFamily("kafka_topic_appended", "Messages that came, ever.", labels=["topic"])
        held = GaugeMetricFamily("kafka_topic_bytes", "What its log takes on disk.", labels=["topic"])
        for topic, ends in end.items():
            kept.add_metric([topic], sum(ends.values()) - sum(first[topic].values()))
            appended.add_metric([topic], sum(ends.values()))
            held.add_metric([topic], size[topic])
        yield from (kept, appended, held)

    def _looked(self) -> tuple[Offsets, Offsets, Counter[str]]:
        if self._consumer is None:
            self._consumer = stream.consumer(self._settings)
            self._admin = KafkaAdminClient(**self._settings.broker.client(), request_timeout_ms=stream.PATIENCE_MS)
        partitions = [
            TopicPartition(topic, number)
            for topic in sorted(self._consumer.topics())
            if not topic.startswith("__")
            for number in self._consumer.partitions_for_topic(topic)
        ]
        first = stream.by_topic(self._consumer.beginning_offsets(partitions))
        end = stream.by_topic(self._consumer.end_offsets(partitions))
        return first, end, sizes(self._admin.describe_log_dirs())

    def _close(self) -> None:
        for one in (self._consumer, self._admin):
            if one is not None:
                with suppress(KafkaError):
                    one.close()
        self._consumer = self._admin = None


def sizes(brokers: list[dict[str, Any]]) -> Counter[str]:
    """Bytes by topic, of all brokers, from what they say of their log folders."""
    found: Counter[str] = Counter()
    for broker in brokers:
        for folder in broker["log_dirs"]:
            for topic in folder["topics"]:
                found[topic["name"]] += sum(partition["partition_size"] for partition in topic["partitions"])
    return found
