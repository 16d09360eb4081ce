"""Whatever stands in Kafka, each message is a row, or in quarantine with the reason."""

from types import ModuleType

import pytest
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql.functions import col, get_json_object

from crypto_pipeline.bronze import quarantine
from crypto_pipeline.bronze.common import CANNOT_BE_PARSED
from crypto_pipeline.ingest import sources
from shared.events import encode
from tests.bad_input import damaged, for_a_while
from tests.crypto_pipeline.bronze.test_bronze import EXAMPLES
from tests.crypto_pipeline.conftest import KAFKA_TIME

pytestmark = pytest.mark.bad_input

STREAMS = {module: event.__struct_config__.tag for module, event in EXAMPLES.items()}
HALF_GOOD = st.sampled_from(sources()).flatmap(
    lambda module: st.tuples(st.just(module), st.lists(damaged(encode(EXAMPLES[module])), min_size=20, max_size=40))
)


def test_each_message_is_kept_or_refused_with_its_reason(spark: SparkSession, fuzz_seconds: float) -> None:
    columns = "value binary, topic string, partition int, offset bigint, kafka_time timestamp"

    def tried(made: tuple[ModuleType, list[bytes | None]]) -> None:
        module, values = made
        rows = [(value, "crypto_raw_btcusdt", 0, offset, KAFKA_TIME) for offset, value in enumerate(values)]
        text = col("value").cast("string")
        stream = get_json_object(text, "$.stream")
        messages = spark.createDataFrame(rows, columns).withColumns({"stream": stream, "value": text}).cache()
        built = module.build(messages).cache()
        told = quarantine.counted(built, module.TABLE)
        kept = quarantine.kept(built, module.TABLE).collect()
        refused = {row.row for row in quarantine.build(built, module.TABLE).collect()}
        unknown = quarantine.unknown(messages, [STREAMS[module]]).count()
        built.unpersist()
        messages.unpersist()
        assert len(kept) == told["kept"]
        broken = len(values) - unknown - len(kept)
        assert told[CANNOT_BE_PARSED] <= len(refused) <= broken
        assert bool(refused) == bool(broken)

    for_a_while(fuzz_seconds, HALF_GOOD, tried, at_least=3)
