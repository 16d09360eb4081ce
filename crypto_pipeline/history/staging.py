"""The way of rows into Spark: a Parquet file in the bucket, for as long as it is needed, once there is room."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from shared.disk import imports_wait
from shared.settings import Settings
from streaming.object_store import s3_client

FOLDER = "staging/"
_LEFT_BEHIND = timedelta(hours=6)
_ROW_GROUP = 100_000
"""Rows: what one task of an executor with little memory takes at once."""
LOOK_SECONDS = 10.0
"""How often there is a look whether the disk has room again."""


class Staging:
    """The folder `staging/` of the bucket."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bucket = settings.bucket
        self._client = s3_client(settings.as_account("lake"))

    @contextmanager
    def of(self, rows: pa.Table) -> Iterator[str]:
        """Where Spark finds the rows inside the block."""
        key = f"{FOLDER}{uuid4().hex}.parquet"
        file = io.BytesIO()
        pq.write_table(rows, file, row_group_size=_ROW_GROUP)
        file.seek(0)
        self._client.upload_fileobj(file, self._bucket, key)
        try:
            yield f"s3a://{self._bucket}/{key}"
        finally:
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def wait_for_room(self, say: Callable[[str], None], keep_alive: Callable[[], object]) -> None:
        """Comes back when the disk has room for an import: `say` is told once why it waits, and when it goes on.

        `keep_alive` is called at each look: Spark ends a session of which it hears nothing for an hour.
        """
        waits = False
        while why := imports_wait(self._settings):
            if not waits:
                say(why)
            waits = True
            keep_alive()
            time.sleep(LOOK_SECONDS)
        if waits:
            say("There is room again: the import goes on.")

    def sweep(self) -> None:
        """Remove what killed runs left there."""
        before = datetime.now(UTC) - _LEFT_BEHIND
        for one in self._client.list_objects_v2(Bucket=self._bucket, Prefix=FOLDER).get("Contents", []):
            if one["LastModified"] < before:
                self._client.delete_object(Bucket=self._bucket, Key=one["Key"])
