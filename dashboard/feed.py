"""Kafka's topics into the hub: one thread that reads back the last minutes and then follows."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from dashboard.hub import MINUTES_KEPT, Hub
from deployment import probes
from shared.events import AnyEvent, decode, lies_ahead
from shared.settings import Settings
from shared.symbol_manager import TOPIC_PREFIX

log = logging.getLogger(__name__)

READ_BACK_MINUTES = 5
"""At least; as far as the lake is behind, and MINUTES_KEPT at most."""
MOVING_MINUTES = 2
"""Of what was before, only klines count: they say all of a minute."""
NEW_TOPICS_SECONDS = 10
SILENT_SECONDS = 10
RETRY_SECONDS = 1.0
PATIENCE_SECONDS = 5
BATCH = 2000
_KLINE = b":kline_1m"


class Feed:
    """Follows Kafka from `start` until `stop`. `trouble` says in a sentence why nothing comes; empty where it does."""

    def __init__(self, settings: Settings, hub: Hub, lake_until: Callable[[], int]) -> None:
        self._settings = settings
        self._hub = hub
        self._lake_until = lake_until
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._heard = time.monotonic()
        self._kafka_trouble = "Kafka has not answered yet."

    @property
    def trouble(self) -> str:
        """Why the page does not move; empty where it does."""
        if self._kafka_trouble:
            return self._kafka_trouble
        silent = time.monotonic() - self._heard
        if silent > SILENT_SECONDS:
            return (
                f"Nothing has come from the exchange for {silent:.0f} s: is the service streaming running? "
                "./monitor.sh shows it."
            )
        return ""

    def start(self) -> None:
        """Begin, in a thread; call it from the running event loop."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="feed", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, PATIENCE_SECONDS)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopping.is_set():
            consumer = None
            try:
                consumer = self._connect()
                self._follow(consumer, loop)
            except (KafkaError, OSError, probes.UnhealthyError, AssertionError) as error:
                # kafka-python asserts what a broker that comes back does not tell yet
                why = f"Kafka does not answer at {self._settings.kafka} ({str(error) or type(error).__name__})"
                if isinstance(error, probes.LoginRefusedError):
                    why = str(error)
                self._kafka_trouble = f"{why}: what is shown stands still until it does. ./monitor.sh shows it."
                log.warning("%s", self._kafka_trouble)
            except RuntimeError:
                if not self._stopping.is_set():  # the loop has gone
                    raise
            finally:
                if consumer is not None:
                    consumer.close(timeout_ms=0)
            self._stopping.wait(RETRY_SECONDS)

    def _connect(self) -> KafkaConsumer:
        probes.kafka(self._settings)  # refuses at once; the consumer would wait
        return KafkaConsumer(
            **self._settings.broker.client(),
            client_id="crypto-dashboard",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=BATCH,
            fetch_max_wait_ms=100,
            bootstrap_timeout_ms=PATIENCE_SECONDS * 1000,
            request_timeout_ms=15_000,
            metrics_enabled=False,
        )

    def _follow(self, consumer: KafkaConsumer, loop: asyncio.AbstractEventLoop) -> None:
        # By one topic for all, the key does not tell what a message is.
        moving_from = 0 if self._settings.kafka_topic else _minute_ms(time.time() - MOVING_MINUTES * 60)
        looked = 0.0
        while not self._stopping.is_set():
            if time.monotonic() - looked > NEW_TOPICS_SECONDS or not consumer.assignment():
                self._assign(consumer)
                looked = time.monotonic()
                self._kafka_trouble = ""
            if not consumer.assignment():
                self._kafka_trouble = "Kafka holds no market data yet: is the service streaming running?"
                self._stopping.wait(RETRY_SECONDS)
                continue
            polled = consumer.poll(timeout_ms=250)
            events = [event for records in polled.values() for event in _events(records, moving_from)]
            if polled:
                # Waits until it is there, so that what waits is bounded.
                asyncio.run_coroutine_threadsafe(self._take(events), loop).result()
            elif time.monotonic() - self._heard > SILENT_SECONDS:
                probes.kafka(self._settings)  # a consumer does not say that its broker has gone

    async def _take(self, events: list[AnyEvent]) -> None:
        self._hub.take(events)
        self._heard = time.monotonic()

    def _assign(self, consumer: KafkaConsumer) -> None:
        """Follow the topics that are new too, from the last minutes on."""
        one = self._settings.kafka_topic
        there = consumer.topics()
        names = [one] if one and one in there else [name for name in there if name.startswith(TOPIC_PREFIX)]
        places = {TopicPartition(name, part) for name in names for part in consumer.partitions_for_topic(name) or ()}
        known = consumer.assignment()
        if new := places - known:
            consumer.assign(sorted(known | new))
            begin = _begin(time.time(), self._lake_until())
            found = consumer.offsets_for_times(dict.fromkeys(new, begin))
            ends = consumer.end_offsets(list(new))
            for place in new:
                at = found.get(place)
                consumer.seek(place, at.offset if at else ends[place])


def _begin(now: float, lake_until: int) -> int:
    """From when on to read back, in milliseconds: whole minutes, so that each is told from its start."""
    back = now - READ_BACK_MINUTES * 60
    if lake_until:
        back = min(back, lake_until / 1e6 - 60)
    return _minute_ms(max(back, now - MINUTES_KEPT * 60))


def _minute_ms(seconds: float) -> int:
    return int(seconds // 60) * 60_000


def _events(records: Iterable[object], moving_from: int) -> Iterable[AnyEvent]:
    """The events of messages; of old ones only the klines, and none of what is no event, or of days to come."""
    now = time.time_ns() // 1000
    for record in records:
        if record.timestamp < moving_from and not (record.key or b"").endswith(_KLINE):  # type: ignore[attr-defined]
            continue
        try:
            event = decode(record.value)  # type: ignore[attr-defined]
        except msgspec.ValidationError:
            continue  # bronze keeps and counts it
        if not lies_ahead(event, now):
            yield event
