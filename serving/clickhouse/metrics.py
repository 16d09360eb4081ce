"""What the service of the trades tells Prometheus of itself."""

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

DELAY_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 60)


class Metrics:
    """The figures of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.written = Counter("clickhouse_trades", "Trades that ClickHouse took in.", registry=self.registry)
        self.missed = Counter(
            "clickhouse_messages_missed", "Messages that Kafka dropped before they were read.", registry=self.registry
        )
        self.delay = Histogram(
            "clickhouse_trade_delay_seconds",
            "From the newest trade of a batch, by the exchange's clock, until ClickHouse answers with it.",
            buckets=DELAY_BUCKETS,
            registry=self.registry,
        )
