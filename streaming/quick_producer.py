"""kafka-python's producer, with a shorter way in for the messages that are nearly all of the traffic.

Its `send` serializes, partitions, measures and describes for its log each message anew, whether that is needed or not,
and wakes its sender for each while more than one batch waits: a fifth of what a message costs the streaming service.
"""

from typing import Any

from kafka import KafkaProducer, TopicPartition

SMALL = 100_000
"""Bytes of a value that is surely below every limit on the size of a message."""


class QuickProducer(KafkaProducer):  # type: ignore[misc] # kafka-python has no types
    """Adds `put`."""

    def put(
        self,
        topic: str,
        partition: TopicPartition | None,
        key: bytes,
        value: bytes,
        headers: tuple[tuple[str, bytes], ...] = (),
    ) -> Any:
        """As `send`; the message's future. What is not plain goes that way: without a partition, with headers, large.

        Raises what `send` raises.
        """
        if partition is None or headers or len(value) > SMALL or topic not in self._metadata._partitions:
            number = None if partition is None else partition.partition
            return self.send(topic, value, key, headers=list(headers), partition=number)
        future, _, is_new_batch, _ = self._accumulator.append(partition, None, key, value, [])
        if is_new_batch:  # then the one before it is full
            self._sender.wakeup()
        return future
