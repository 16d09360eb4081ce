"""A session on the deployed Spark Connect server, for the commands that need one."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.reader import LakeError
from shared.settings import Settings


def check_spark(settings: Settings, instead: str = "") -> None:
    """Raises `LakeError` where no Spark server answers: Spark's own client would go on trying for minutes."""
    server = urlsplit(settings.spark_connect_url)
    try:
        socket.create_connection((server.hostname or "", server.port or 15002), timeout=2).close()
    except OSError:
        raise LakeError(
            f"Spark is not running: nothing answers at {server.hostname}:{server.port}. Start it with ./deploy.sh"
            + (instead and f", or {instead}")
        ) from None


@contextmanager
def connected(settings: Settings, user: str) -> Iterator[Lakehouse]:
    """The lakehouse in a session of its own; what still runs in it at the end is ended. Raises `LakeError`."""
    from pyspark.sql import SparkSession

    check_spark(settings)
    session: Any = SparkSession.builder.remote(f"{settings.spark_connect_url}/;user_id={user}").getOrCreate()
    try:
        yield Lakehouse(session, settings, settings.lake_buckets)
    finally:
        session.interruptAll()
        session.client.close()
