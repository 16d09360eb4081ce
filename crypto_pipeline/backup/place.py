"""Where backups lie: a folder, or another object store."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from shared.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PART = ".part"
"""How a file's name ends until it is whole."""


class PlaceError(Exception):
    """A place cannot be used; the message says why."""


class Place(Protocol):
    """Files by names with slashes. Each is there as a whole or not at all."""

    def names(self, prefix: str) -> Mapping[str, int]:
        """The names that begin so, with the bytes of each."""

    def put(self, name: str, path: Path) -> None:
        """Take in a file."""

    def get(self, name: str, path: Path) -> None:
        """Give a file out. Raises `FileNotFoundError`."""

    def remove(self, name: str) -> None:
        """Remove it, where it is there."""


def place_of(address: str, settings: Settings) -> Place:
    """The place of a path, or of `s3://bucket/folder`. Raises `PlaceError`."""
    url = urlsplit(address)
    if url.scheme in ("", "file"):
        return Folder(Path(url.path if url.scheme else address).expanduser().resolve())
    if url.scheme != "s3" or not url.netloc:
        raise PlaceError(f"{address} is no place for a backup: name a folder, or s3://bucket/folder.")
    return Store(_client(settings), url.netloc, url.path.strip("/"))


class Folder:
    """A folder on a disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def names(self, prefix: str) -> Mapping[str, int]:
        found = {}
        for where, _, names in os.walk(self._root / prefix):
            for name in names:
                if not name.endswith(_PART):
                    path = Path(where, name)
                    found[path.relative_to(self._root).as_posix()] = path.stat().st_size
        return found

    def put(self, name: str, path: Path) -> None:
        target = self._path(name)
        _make(target.parent)
        made = target.with_name(target.name + _PART)
        try:
            shutil.copyfile(path, made)
            with made.open("rb") as file:
                os.fsync(file.fileno())
            made.chmod(0o600)
            made.replace(target)
        except OSError as error:
            made.unlink(missing_ok=True)
            raise PlaceError(f"{self._root} takes no more: {error.strerror or error}.") from None

    def get(self, name: str, path: Path) -> None:
        shutil.copyfile(self._path(name), path)

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts:
            raise PlaceError(f"{name!r} would lie outside of {self._root}: this backup is not ours.")
        return self._root / name


def _make(folder: Path) -> None:
    """Make a folder, and those above it, for us alone: `mkdir` gives its mode to the last one only."""
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


class Store:
    """A folder in a bucket of an object store, as BACKUP_S3_ENDPOINT and its keys reach it."""

    def __init__(self, client: "S3Client", bucket: str, folder: str) -> None:
        self._client, self._bucket, self._folder = client, bucket, f"{folder}/" if folder else ""

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._folder}".rstrip("/")

    def names(self, prefix: str) -> Mapping[str, int]:
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._folder + prefix
            )
            return {
                one["Key"].removeprefix(self._folder): one["Size"] for page in pages for one in page.get("Contents", [])
            }
        except (ClientError, BotoCoreError) as error:
            raise self._cannot(error) from None

    def put(self, name: str, path: Path) -> None:
        from boto3.exceptions import Boto3Error

        try:
            self._client.upload_file(str(path), self._bucket, self._folder + name)
        except (ClientError, BotoCoreError, Boto3Error) as error:
            raise self._cannot(error) from None

    def get(self, name: str, path: Path) -> None:
        try:
            self._client.download_file(self._bucket, self._folder + name, str(path))
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                raise FileNotFoundError(name) from None
            raise self._cannot(error) from None
        except BotoCoreError as error:
            raise self._cannot(error) from None

    def remove(self, name: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=self._folder + name)

    def _cannot(self, error: Exception) -> PlaceError:
        return PlaceError(
            f"{self} cannot be used: {error}. Look at the bucket, and at BACKUP_S3_ENDPOINT, BACKUP_S3_ACCESS_KEY and "
            "BACKUP_S3_SECRET_KEY in .env."
        )


def _client(settings: Settings) -> "S3Client":
    """Without an endpoint it is Amazon's; without keys they are looked for as its own tools do."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=settings.backup_s3_endpoint or None,
        region_name=settings.backup_s3_region,
        aws_access_key_id=settings.backup_s3_access_key or None,
        aws_secret_access_key=settings.backup_s3_secret_key.get_secret_value() or None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"} if settings.backup_s3_endpoint else {},
            connect_timeout=5,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
