"""Who may do what in the bucket, seen on a real MinIO."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from pydantic import SecretStr

from crypto_pipeline import catalog
from crypto_pipeline.history import staging
from crypto_pipeline.reader import object_store
from deployment import bucket, probes
from deployment.probes import UnhealthyError
from deployment.services import TABLE, environment
from deployment.steps import InstallError
from shared.settings import Settings
from streaming import archive, replay
from streaming.object_store import s3_client
from tests.servers import MinioServer

BUCKET, TABLES, RAW = "lake", "silver/ohlcv/a.parquet", "raw/exchange=x/symbol=s/date=2026-11-27/1-0.jsonl.zst"
BY_NAME = {service.name: service for service in TABLE}
ACCOUNTS = {service.name: service.account for service in TABLE if service.account}


def keys(**changed: str) -> dict[str, Any]:
    """Settings of accounts, these values instead of the usual ones."""
    made = {f"s3_{name}_access_key": f"{name}-key" for name in ("streaming", "lake", "reader")}
    made |= {f"s3_{name}_secret_key": f"{name}-secret" for name in ("streaming", "lake", "reader")}
    made |= changed
    return {name: SecretStr(value) if "secret" in name else value for name, value in made.items()}


def own(service: str, settings: Settings) -> Settings:
    """The settings as a service has them, which is told no other secrets than its own."""
    told = {name.lower(): value for name, value in environment(BY_NAME[service], settings).items()}
    return Settings(minio_port=settings.minio_port, s3_bucket=settings.bucket, **told)


def client(settings: Settings) -> Any:
    return s3_client(settings)


def reads(settings: Settings) -> bool:
    """Does the account of these settings come in?"""
    try:
        client(settings).get_object(Bucket=settings.bucket, Key=TABLES)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
            raise
        return False
    return True


@pytest.fixture(scope="module")
def settings(minio_server: MinioServer) -> Settings:
    """Of a lake with a file of a table, and one of the archive."""
    made = minio_server.settings.model_copy(update={"s3_bucket": BUCKET, **keys()})
    bucket.prepare(made)
    return made


@pytest.fixture
def filled(settings: Settings, minio_server: MinioServer) -> Settings:
    for key in (TABLES, RAW):
        minio_server.client.put_object(Bucket=BUCKET, Key=key, Body=b"rows")
    return settings


def in_parts(client: Any, key: str) -> None:
    """Writes in parts, as Spark does with what is large, and gives up another such file."""
    where = {"Bucket": BUCKET, "Key": key}
    upload = client.create_multipart_upload(**where)["UploadId"]
    tag = client.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"rows")["ETag"]
    client.list_parts(**where, UploadId=upload)
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=parts)
    other = client.create_multipart_upload(**where)["UploadId"]
    client.abort_multipart_upload(**where, UploadId=other)


def delete_together(client: Any, key: str) -> None:
    answer = client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key}]})
    if "Errors" in answer:
        raise ClientError({"Error": answer["Errors"][0]}, "DeleteObjects")


DEEDS: dict[str, Callable[[Any], object]] = {
    "list": lambda client: client.list_objects_v2(Bucket=BUCKET),
    "read a table": lambda client: client.get_object(Bucket=BUCKET, Key=TABLES)["Body"].read(),
    "read the archive": lambda client: client.get_object(Bucket=BUCKET, Key=RAW)["Body"].read(),
    "add to the archive": lambda client: client.put_object(Bucket=BUCKET, Key=RAW, Body=b"rows"),
    "write a table": lambda client: client.put_object(Bucket=BUCKET, Key=TABLES, Body=b"others"),
    "write in parts": lambda client: in_parts(client, TABLES),
    "delete of a table": lambda client: client.delete_object(Bucket=BUCKET, Key=TABLES),
    "delete many of a table": lambda client: delete_together(client, TABLES),
    "delete of the archive": lambda client: client.delete_object(Bucket=BUCKET, Key=RAW),
    "write elsewhere": lambda client: client.put_object(Bucket=BUCKET, Key="else", Body=b""),
    "make a bucket": lambda client: client.create_bucket(Bucket="mine"),
    "delete the bucket": lambda client: client.delete_bucket(Bucket=BUCKET),
    "list another bucket": lambda client: client.list_objects_v2(Bucket="tests"),
}
MAY = {
    "streaming": {"add to the archive", "read the archive"},
    "lake": {
        "list", "read a table", "write a table", "write in parts", "delete of a table", "delete many of a table",
        "delete of the archive",
    },
    "reader": {"list", "read a table", "read the archive"},
}  # fmt: skip


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("service", ACCOUNTS)
def test_a_service_may_do_what_it_must_and_nothing_else(filled: Settings, service: str, deed: str) -> None:
    mine = client(own(service, filled))
    if deed in MAY[ACCOUNTS[service]]:
        DEEDS[deed](mine)
    else:
        with pytest.raises(ClientError, match="AccessDenied"):
            DEEDS[deed](mine)


@pytest.mark.parametrize("service", ACCOUNTS)
def test_a_service_governs_no_account(settings: Settings, service: str) -> None:
    mine = own(service, settings)
    admin = bucket._admin(mine, mine.s3_access_key, mine.s3_secret_key.get_secret_value())
    for deed in (admin.user_list, admin.info, lambda: admin.user_add("mine", "mine-secret")):
        with pytest.raises(Exception, match="AccessDenied"):
            deed()


def test_the_lake_has_the_folders_that_are_written_to() -> None:
    assert set(bucket.LAKE) == {*catalog.LAYERS, staging.FOLDER.rstrip("/"), "reports"}


def test_streaming_uploads_also_where_a_file_of_the_name_is_there(settings: Settings, tmp_path: Path) -> None:
    mine = client(own("streaming", settings))
    for name, text in (("a", b"one"), ("b", b"another"), ("b", b"another")):
        (tmp_path / name).write_bytes(text)
        archive.upload(mine, BUCKET, "raw/x/2-0.jsonl.zst", tmp_path / name)
    for number, text in enumerate((b"one", b"another")):
        assert mine.get_object(Bucket=BUCKET, Key=f"raw/x/2-{number}.jsonl.zst")["Body"].read() == text


def test_arrow_and_replay_read_as_who_only_reads(filled: Settings, minio_server: MinioServer) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), file)
    minio_server.client.put_object(Bucket=BUCKET, Key=TABLES, Body=file.getvalue())
    mine = own("dashboard", filled)
    table = ds.dataset(f"{BUCKET}/{TABLES}", filesystem=object_store(mine), format="parquet").to_table()
    assert table["a"].to_pylist() == [1]
    with replay.Store(mine).open(RAW.removeprefix("raw/")) as archived:
        assert archived.read() == b"rows"


def test_rows_are_staged_for_spark_as_the_account_that_may(settings: Settings) -> None:
    person = settings.as_account("reader")  # who runs `crypto import`
    with staging.Staging(person).of(pa.table({"a": [1]})) as where:
        assert where.startswith(f"s3a://{BUCKET}/staging/")


def test_made_again_everything_is_as_it_was(filled: Settings) -> None:
    bucket.prepare(filled)
    assert reads(filled.as_account("reader"))
    assert reads(filled.as_account("lake"))


@pytest.mark.parametrize("change", [{"s3_lake_secret_key": "another-secret"}, {"s3_lake_access_key": "another-key"}])
def test_an_account_with_a_new_secret_or_name_leaves_nothing_that_comes_in(
    filled: Settings, change: dict[str, str]
) -> None:
    before, after = (filled.model_copy(update=keys(**one)).as_account("lake") for one in ({}, change))
    made_by_it = bucket._admin(before, before.s3_access_key, before.s3_secret_key.get_secret_value())
    made_by_it.add_service_account(access_key="its-own-key", secret_key="its-own-secret")
    third = before.model_copy(update=keys(s3_lake_access_key="its-own-key", s3_lake_secret_key="its-own-secret"))
    assert reads(third.as_account("lake"))
    bucket.prepare(filled.model_copy(update=keys(**change)))
    assert [reads(one) for one in (before, third.as_account("lake"), after)] == [False, False, True]
    assert reads(filled.as_account("reader"))
    bucket.prepare(filled)
    assert [reads(one) for one in (before, after)] == [True, False]


def test_an_account_that_a_person_made_stays(filled: Settings) -> None:
    admin = bucket._admin(filled, filled.s3_access_key, filled.s3_secret_key.get_secret_value())
    admin.user_add("a-person", "a-persons-secret")
    admin.policy_set("readonly", user="a-person")
    bucket.prepare(filled)
    theirs = keys(s3_reader_access_key="a-person", s3_reader_secret_key="a-persons-secret")
    assert reads(filled.model_copy(update=theirs).as_account("reader"))


def test_the_reader_of_an_older_version_goes_on_reading_and_is_an_account_of_its_own(filled: Settings) -> None:
    root = StaticProvider(filled.s3_access_key, filled.s3_secret_key.get_secret_value())
    admin = MinioAdmin(endpoint=filled.s3_url.removeprefix("http://"), credentials=root, secure=False)
    admin.add_service_account(access_key="older-key", secret_key="older-secret", policy=bucket.policy("reader", BUCKET))
    moved = filled.model_copy(update=keys(s3_reader_access_key="older-key", s3_reader_secret_key="older-secret"))
    assert reads(moved.as_account("reader"))
    bucket.prepare(moved)
    assert reads(moved.as_account("reader"))
    assert "older-key" in admin.user_list()
    assert "older-key" not in admin.list_service_account(filled.s3_access_key)
    bucket.prepare(filled)
    assert not reads(moved.as_account("reader"))


def test_with_another_root_the_objects_and_the_accounts_stay(tmp_path: Path) -> None:
    """MinIO's root has another name and another secret."""
    for number, owner in enumerate([{}, {"secret": "another-secret", "user": "another"}]):
        server = MinioServer(tmp_path, **owner)
        server.start()
        try:
            settings = server.settings.model_copy(update=keys())
            if not number:
                bucket.prepare(settings)
                server.client.put_object(Bucket="tests", Key=TABLES, Body=b"rows")
            assert reads(settings.as_account("reader"))
            bucket.prepare(settings)
            assert reads(settings.as_account("reader"))
        finally:
            server.stop()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"s3_reader_secret_key": "short"}, "secret key"),
        ({"s3_lake_access_key": ""}, "S3_LAKE_ACCESS_KEY"),
        ({"s3_lake_access_key": "reader-key"}, "S3_READER_ACCESS_KEY"),
        ({"s3_streaming_access_key": "tester"}, "S3_STREAMING_ACCESS_KEY"),
        ({"s3_secret_key": "wr0ng-and-secret"}, "AccessDenied"),
    ],
)
def test_where_the_accounts_cannot_be_made_the_cure_is_named_and_no_secret(
    filled: Settings, change: dict[str, str], said: str
) -> None:
    wrong = filled.model_copy(update=keys(**change))
    with pytest.raises(InstallError, match=r"deploy\.sh") as refused:
        bucket.prepare(wrong)
    assert said in str(refused.value)
    assert not any(f"{secret} " in f"{refused.value} " for secret in ("short", "wr0ng-and-secret", "lake-secret"))
    bucket.prepare(filled)


def test_the_probe_says_when_the_accounts_are_there(settings: Settings, minio_server: MinioServer) -> None:
    probes.bucket(settings)
    probes.bucket(own("spark-connect", settings))
    for changed, why in (
        ({"s3_reader_secret_key": SecretStr("another-secret")}, "refuses our account"),
        ({"s3_bucket": "nowhere"}, "refuses our account|no bucket nowhere"),
        ({"minio_port": 1}, "no answer"),
    ):
        with pytest.raises(UnhealthyError, match=why) as refused:
            probes.bucket(settings.model_copy(update=changed))
        assert "another-secret" not in str(refused.value)


def test_in_another_store_the_bucket_is_made_with_the_keys_that_are_given_and_no_account(
    settings: Settings, minio_server: MinioServer
) -> None:
    admin = bucket._admin(settings, settings.s3_access_key, settings.s3_secret_key.get_secret_value())
    there = set(admin.user_list().split('"'))
    elsewhere = settings.model_copy(
        update={
            **keys(s3_lake_access_key="not-made"),
            "s3_endpoint": settings.s3_url,
            "s3_bucket": "elsewhere",
        }
    )
    bucket.prepare(elsewhere)
    probes.bucket(elsewhere)
    assert {"not-made"}.isdisjoint(admin.user_list().split('"')), there
    for service in ACCOUNTS:
        told = environment(BY_NAME[service], elsewhere)
        assert (told["S3_ACCESS_KEY"], told["S3_SECRET_KEY"]) == ("tester", "tester-secret")
        assert not any(value for name, value in told.items() if "LAKE" in name or "READER_ACCESS" in name)


def test_no_key_shows_in_minios_log_or_command_line(filled: Settings, minio_server: MinioServer) -> None:
    shown = minio_server.shown()
    assert not any(f"{name}-secret" in shown for name in ("streaming", "lake", "reader"))
