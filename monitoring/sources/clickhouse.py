"""How fresh the tables in ClickHouse are."""

from collections.abc import Iterator

from clickhouse_connect.driver.exceptions import ClickHouseError
from prometheus_client.core import GaugeMetricFamily

from alerts.kinds._kind import SourceError
from serving.clickhouse.schema import MARKS
from serving.clickhouse.server import reading, sentence
from shared.settings import Settings

TAKEN = "clickhouse_table_time_seconds"
_ASKED = f"SELECT table_name, toUnixTimestamp64Micro(max(written_at)) FROM {MARKS} GROUP BY 1"  # noqa: S608 (our own name)


class ClickHouseSource:
    """ClickHouse, by its read-only account."""

    name = "clickhouse"
    every = 60.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def ask(self) -> Iterator[GaugeMetricFamily]:
        """When each table was filled last. Raises `SourceError`."""
        taken = GaugeMetricFamily(
            TAKEN,
            "When ClickHouse last took in what is new of a table, since 1970.",
            labels=["table"],
        )
        try:
            with reading(self._settings) as reader:
                for name, written_at in reader.query(_ASKED).result_rows:
                    taken.add_metric([name], written_at / 1_000_000)
        except ClickHouseError as error:
            raise SourceError(f"ClickHouse: {sentence(error)}") from None
        yield taken
