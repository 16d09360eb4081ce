"""What rules ask: the serving database, Dagster, Kafka, and what came last of each market."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg2
from kafka import TopicPartition
from kafka.errors import KafkaError
from psycopg2.extras import RealDictCursor

from alerts import stream
from alerts.kinds._kind import Offsets, Seen, SourceError
from deployment import probes, prometheus
from shared.settings import Settings
from shared.symbol_manager import SymbolsFileError, Watchlist, load_watchlist

Market = tuple[str, str]
"""Exchange and symbol."""


class Asked:
    """`Sources` of the deployment, for one thread."""

    def __init__(self, settings: Settings, seen: Mapping[Market, int]) -> None:
        self.settings = settings
        self.started_at = time.time_ns() // 1000
        self._seen = seen
        self._awaited: dict[Market, int] = {}
        self._watchlist = Watchlist((), (), frozenset())
        self._connection: Any = None
        self._consumer: Any = None

    def close(self) -> None:
        """Let go of what it asks."""
        for one in (self._connection, self._consumer):
            if one is not None:
                with suppress(psycopg2.Error, KafkaError):
                    one.close()
        self._connection = self._consumer = None

    def rows(self, sql: str, **parameters: object) -> list[dict[str, Any]]:
        """The rows of a query to the serving database."""
        try:
            if self._connection is None:
                self._connection = psycopg2.connect(
                    self.settings.serving_reader_url,
                    connect_timeout=3,
                    application_name="crypto-alerts",
                    options="-c timezone=UTC -c statement_timeout=10000",
                )
                self._connection.set_session(readonly=True, autocommit=True)
            with self._connection.cursor(cursor_factory=RealDictCursor) as cursor:
                cursor.execute(sql, parameters)
                return [dict(row) for row in cursor.fetchall()]
        except psycopg2.Error as error:
            self.close()
            raise SourceError(f"the serving database: {str(error).strip().splitlines()[0]}") from None

    def dagster(self, query: str) -> dict[str, Any]:
        """The data that Dagster answers to a GraphQL query."""
        try:
            return probes.graphql(self.settings, query)
        except probes.UnhealthyError as error:
            raise SourceError(f"Dagster: {error}") from None

    def kafka_ends(self) -> Offsets:
        """The end of each topic of events."""
        try:
            consumer = self._kafka()
            return stream.by_topic(consumer.end_offsets(stream.partitions(consumer, self.settings.kafka_topic)))
        except KafkaError as error:
            raise self._kafka_is_away(error) from None

    def messages_since(self, topic: str, at: int) -> int:
        """How many messages a topic has that came at this time or later; 0 where there is no such topic."""
        try:
            consumer = self._kafka()
            numbers = consumer.partitions_for_topic(topic) if topic in consumer.topics() else ()
            places = [TopicPartition(topic, number) for number in numbers]
            if not places:
                return 0
            ends = consumer.end_offsets(places)
            begins = consumer.offsets_for_times(dict.fromkeys(places, at // 1000))
            return sum(ends[place] - begins[place].offset for place in places if begins[place])
        except KafkaError as error:
            raise self._kafka_is_away(error) from None

    def _kafka(self) -> Any:
        if self._consumer is None:
            self._consumer = stream.consumer(self.settings)
        return self._consumer

    def _kafka_is_away(self, error: Exception) -> SourceError:
        self.close()
        return SourceError(self.settings.broker.trouble(error))

    def firing(self) -> list[dict[str, Any]]:
        """The alerts of Prometheus that are active, as Alertmanager's API has them."""
        if not prometheus.is_installed():
            return []
        try:
            return probes.firing(self.settings)
        except probes.UnhealthyError as error:
            raise SourceError(f"Alertmanager: {error}") from None

    def last_seen(self) -> Mapping[Market, Seen]:
        """When something last came of each market of `symbols.yaml`, and of those that its selectors chose.

        A market that was just added is awaited from now on.
        """
        with suppress(SymbolsFileError):  # streaming says so, and goes on with what it had
            self._watchlist = load_watchlist(self.settings.symbols_file, self.settings.active_symbols)
        markets = {(exchange, entry.symbol) for entry in self._watchlist.symbols for exchange in entry.exchanges}
        seen = dict(self._seen)
        if self._watchlist.selectors:
            markets |= {market for market in seen if market[1] not in self._watchlist.disabled}
        now = time.time_ns() // 1000
        self._awaited = {market: self._awaited.get(market, now) for market in markets}
        return {
            market: Seen(max(seen.get(market, 0), since), market in seen) for market, since in self._awaited.items()
        }
