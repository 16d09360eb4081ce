"""kafka-python's producer, with a shorter way in for the messages that are nearly all of the traffic.

Its `send` serializes, partitions, measures and describes for its log each message anew, whether that is needed or not,
and wakes its sender for each while more than one batch waits: half of what a message costs the streaming service.
"""

from typing import Any

from kafka import KafkaProducer, TopicPartition

SMALL = 100_000
"""Bytes of a value that is surely below every limit on the size of a message."""


class QuickProducer(KafkaProducer):  # type: ignore[misc] # kafka-python has no types
    """Adds `put`."""

    def put(self, partition: TopicPartition, key: bytes, value: bytes) -> Any:
        """As `send` of a message without headers to a partition of a topic that is known; its future.

        Raises what `send` raises: what is not plain goes that way.
        """
        if len(value) > SMALL or partition.topic not in self._metadata._partitions:
            return self.send(partition.topic, value, key, partition=partition.partition)
        future, _, is_new_batch, _ = self._accumulator.append(partition, None, key, value, [])
        if is_new_batch:  # then the one before it is full
            self._sender.wakeup()
        return future
