"""What test_verify.py runs in a process of its own: it lets the oldest closed candle of BTCUSDT say a higher price."""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.conflicts import conflicts_retried
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.silver import ohlcv_1m
from shared.settings import settings


def main() -> None:
    """Write it as a run would, with the marks that are there handed on, and again where the pipeline was quicker."""
    config = settings()
    spark = SparkSession.builder.remote(config.spark_connect_url).getOrCreate()
    lake = Lakehouse(spark, config, config.lake_buckets)

    def damage() -> None:
        mine = lake.read(ohlcv_1m.TABLE).filter("symbol = 'BTCUSDT' and is_closed")
        oldest = mine.orderBy("interval_start").limit(1)
        wrong = oldest.withColumn("high", (F.col("high") + 1).cast("decimal(38,18)"))
        lake.write(ohlcv_1m.TABLE, wrong.select(ohlcv_1m.TABLE.column_names), {})

    conflicts_retried(lambda _state: None)(damage)


if __name__ == "__main__":
    main()
