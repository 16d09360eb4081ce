"""Where the documents of fitted models lie: `gold/models/` in the bucket, each named by its content."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from shared.settings import Settings, settings

FOLDER = "gold/models"


class ModelError(Exception):
    """A stored model cannot be used: it is not there, or is not what was stored."""


class Store(Protocol):
    """What keeps bytes under a name."""

    def put(self, name: str, body: bytes) -> str:
        """Keep them; gives the address."""

    def get(self, uri: str) -> bytes:
        """What lies at the address. Raises `ModelError`."""


class Bucket:
    """The object store of the settings."""

    def __init__(self, where: Settings | None = None) -> None:
        from streaming.object_store import s3_client  # it takes a while, and the contracts need none of it

        self._where = where or settings()
        self._client = s3_client(self._where)

    def put(self, name: str, body: bytes) -> str:
        """Write it whole; what lies under the name already is the same, since that bears its hash."""
        key = f"{FOLDER}/{name}"
        self._client.put_object(Bucket=self._where.bucket, Key=key, Body=body)
        return f"s3://{self._where.bucket}/{key}"

    def get(self, uri: str) -> bytes:
        """Read it, if it lies in the bucket of the settings. Raises `ModelError`."""
        ours = f"s3://{self._where.bucket}/{FOLDER}/"
        if not uri.startswith(ours):
            raise ModelError(f"{uri} does not lie under {ours}: a model of another place is not read.")
        try:
            answer = self._client.get_object(
                Bucket=self._where.bucket, Key=uri.removeprefix(f"s3://{self._where.bucket}/")
            )
            return answer["Body"].read()
        except (BotoCoreError, ClientError) as error:
            raise ModelError(f"{uri} cannot be read: {error}") from error


def keep(store: Store, folder: str, document: Mapping[str, Any]) -> tuple[str, str]:
    """Store a document; gives its address and the SHA-256 of its bytes, in hexadecimal."""
    body = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    digest = hashlib.sha256(body).hexdigest()
    return store.put(f"{folder}/{digest[:16]}.json", body), digest


def fetch(store: Store, uri: str, sha256: str) -> dict[str, Any]:
    """The document at an address, if its bytes are those that were stored. Raises `ModelError`."""
    body = store.get(uri)
    if hashlib.sha256(body).hexdigest() != sha256:
        raise ModelError(f"{uri} is not what was stored: its SHA-256 is not {sha256[:16]}…")
    document: dict[str, Any] = json.loads(body)
    return document
