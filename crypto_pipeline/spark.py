"""The way to the warm Spark Connect server, as a Dagster resource."""

from collections.abc import Iterator
from contextlib import contextmanager

from dagster_pyspark import PySparkResource

from crypto_pipeline.lakehouse import Lakehouse


class SparkConnect(PySparkResource):
    """dagster-pyspark's resource on a Connect server, with sessions that carry the name of what they work for."""

    bucket: str

    @contextmanager
    def lakehouse(self, asset: str, run_id: str) -> Iterator[Lakehouse]:
        """The lakehouse in a session of its own; in the Spark UI its jobs are the user `asset`, tagged `asset:run`."""
        remote = self.spark_config["spark.remote"]
        session = type(self.spark_session).builder.remote(f"{remote}/;user_id={asset}").create()
        try:
            with tagged(Lakehouse(session, self.bucket), asset, run_id):
                yield Lakehouse(session, self.bucket)
        finally:
            session.client.close()


@contextmanager
def tagged(lake: Lakehouse, asset: str, run_id: str) -> Iterator[None]:
    """What is done inside carries the tag `asset:run` in the Spark UI."""
    tag = f"{asset}:{run_id[:8]}"
    lake.spark.addTag(tag)
    try:
        yield
    finally:
        lake.spark.removeTag(tag)
