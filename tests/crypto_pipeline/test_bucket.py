"""Who may do what in the bucket, seen on a real MinIO."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import SecretStr

from crypto_pipeline.bucket import make_bucket, make_reader
from shared.settings import Settings
from tests.servers import MinioServer

BUCKET, KEY = "lake", "silver/ohlcv/a.parquet"


def client_of(settings: Settings) -> Any:
    """A client with the reader's keys."""
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_reader_access_key,
        aws_secret_access_key=settings.s3_reader_secret_key.get_secret_value(),
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


@pytest.fixture
def settings(minio_server: MinioServer) -> Settings:
    """Of a lake with one file, and an account that reads it."""
    changes = {
        "s3_bucket": BUCKET,
        "s3_reader_access_key": "reader-key",
        "s3_reader_secret_key": SecretStr("reader-secret"),
    }
    made = minio_server.settings.model_copy(update=changes)
    make_bucket(made)
    make_reader(made)
    minio_server.client.put_object(Bucket=BUCKET, Key=KEY, Body=b"rows")
    return made


def test_the_reader_lists_and_reads_the_bucket(settings: Settings) -> None:
    client = client_of(settings)
    assert [one["Key"] for one in client.list_objects_v2(Bucket=BUCKET)["Contents"]] == [KEY]
    assert client.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b"rows"


@pytest.mark.parametrize(
    "does",
    [
        lambda client: client.put_object(Bucket=BUCKET, Key=KEY, Body=b"others"),
        lambda client: client.put_object(Bucket=BUCKET, Key="new", Body=b""),
        lambda client: client.delete_object(Bucket=BUCKET, Key=KEY),
        lambda client: client.create_bucket(Bucket="mine"),
        lambda client: client.list_objects_v2(Bucket="tests"),
    ],
)
def test_the_reader_may_do_nothing_else(settings: Settings, does: Callable[[Any], object]) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        does(client_of(settings))


def test_made_again_the_reader_has_todays_secret(settings: Settings) -> None:
    other = settings.model_copy(update={"s3_reader_secret_key": SecretStr("another-secret")})
    make_reader(other)
    assert client_of(other).get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b"rows"
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client_of(settings).get_object(Bucket=BUCKET, Key=KEY)
    make_reader(settings)


def test_with_another_owner_the_objects_stay_and_the_reader_reads(tmp_path: Path) -> None:
    """The secret of MinIO's root was changed, and then its name."""
    reader = {"s3_reader_access_key": "reader-key", "s3_reader_secret_key": SecretStr("reader-secret")}
    for number, owner in enumerate([{}, {"secret": "another-secret"}, {"secret": "another-secret", "user": "another"}]):
        server = MinioServer(tmp_path, **owner)
        server.start()
        try:
            settings = server.settings.model_copy(update=reader)
            make_reader(settings)
            if not number:
                server.client.put_object(Bucket="tests", Key=KEY, Body=b"rows")
            assert client_of(settings).get_object(Bucket="tests", Key=KEY)["Body"].read() == b"rows"
            with pytest.raises(ClientError, match="AccessDenied"):
                client_of(settings).delete_object(Bucket="tests", Key=KEY)
        finally:
            server.stop()


def test_where_it_cannot_be_made_a_warning_says_so(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    make_reader(settings.model_copy(update={"s3_reader_secret_key": SecretStr("short")}))
    assert "could not be made" in caplog.text
    assert "short" not in caplog.text


def test_in_another_store_no_account_is_made(settings: Settings) -> None:
    make_reader(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"}))
