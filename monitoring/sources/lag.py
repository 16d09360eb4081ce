"""How far bronze is behind Kafka: the figure that the alert `lag` goes by."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily

from alerts.kinds.lag import waiting
from alerts.sources import Asked
from shared.settings import Settings


class LagSource:
    """Kafka, and what Dagster observed last."""

    name = "lag"
    every = 15.0

    def __init__(self, settings: Settings) -> None:
        self._asked = Asked(settings, {})

    def ask(self) -> Iterator[GaugeMetricFamily]:
        """Messages that wait, by topic. Raises `SourceError`."""
        lag = GaugeMetricFamily(
            "kafka_lag_messages", "Messages in Kafka that bronze has not taken in.", labels=["topic"]
        )
        for topic, messages in waiting(self._asked).items():
            lag.add_metric([topic], messages)
        yield lag
