"""The way to the warm Spark Connect server, as a Dagster resource."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster_pyspark import PySparkResource

from crypto_pipeline.lakehouse import Lakehouse

_sessions: dict[str, Any] = {}
"""The sessions of this process, kept to its end. A session that is collected closes the client's one pool of threads;
where that happens in a thread of the pool, as the collector likes, the process waits for itself for ever."""


class SparkConnect(PySparkResource):
    """dagster-pyspark's resource on a Connect server, with sessions that carry the name of what they work for."""

    bucket: str

    @contextmanager
    def lakehouse(self, asset: str, run_id: str) -> Iterator[Lakehouse]:
        """The lakehouse in the session of an asset; in the Spark UI its jobs are the user `asset`, tagged `asset:run`.

        An asset has one session for ever, not one a run: the server keeps a session for an hour after its last use, and
        a Python daemon of 57 MB on the executor for as long as it lives.
        """
        lake = Lakehouse(self._session(asset), self.bucket)
        with tagged(lake, asset, run_id):
            lake.unpin_all()
            yield lake

    def _session(self, asset: str) -> Any:
        _sessions[""] = self.spark_session
        if asset not in _sessions:
            names = f"user_id={asset};session_id={uuid.uuid5(uuid.NAMESPACE_OID, asset)}"
            remote = f"{self.spark_config['spark.remote']}/;{names}"
            _sessions[asset] = type(self.spark_session).builder.remote(remote).create()
        return _sessions[asset]


@contextmanager
def tagged(lake: Lakehouse, asset: str, run_id: str) -> Iterator[None]:
    """What is done inside carries the tag `asset:run` in the Spark UI."""
    tag = f"{asset}:{run_id[:8]}"
    lake.spark.addTag(tag)
    try:
        yield
    finally:
        lake.spark.removeTag(tag)
