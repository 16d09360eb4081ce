"""The way to the warm Spark Connect server, as a Dagster resource."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster_pyspark import PySparkResource
from structlog.contextvars import bound_contextvars

from crypto_pipeline import batches
from crypto_pipeline.lakehouse import Lakehouse
from shared.settings import settings

_sessions: dict[str, Any] = {}
"""The sessions of this process, kept to its end. A session that is collected closes the client's one pool of threads;
where that happens in a thread of the pool, as the collector likes, the process waits for itself for ever."""


def session_url(url: str, user: str) -> str:
    """The address of a user's session on the Connect server.

    A user has one session for ever, not one a run: the server keeps a session for an hour after its last use, and a
    Python daemon of 57 MB on the executor for as long as it lives.
    """
    return f"{url}/;user_id={user};session_id={uuid.uuid5(uuid.NAMESPACE_OID, user)}"


class SparkConnect(PySparkResource):
    """dagster-pyspark's resource on a Connect server, with sessions that carry the name of what they work for."""

    url: str
    buckets: int

    @contextmanager
    def lakehouse(self, asset: str, run_id: str) -> Iterator[Lakehouse]:
        """The lakehouse in an asset's session: in the Spark UI its jobs are the user `asset`, tagged `asset:run`.

        What is logged meanwhile carries the batch that its tables hold.
        """
        batch_id = batches.held(asset, run_id)
        lake = Lakehouse(self._session(asset), settings(), self.buckets, batch_id)
        with bound_contextvars(**({"batch_id": batch_id} if batch_id else {})), tagged(lake, asset, run_id):
            lake.end_leftovers()
            yield lake

    def _session(self, asset: str) -> Any:
        _sessions[""] = self.spark_session
        if asset not in _sessions:
            builder = type(self.spark_session).builder
            _sessions[asset] = builder.remote(session_url(self.url, asset)).create()
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
