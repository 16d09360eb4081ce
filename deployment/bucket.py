"""The lake's bucket, and in our own MinIO the accounts by which the services reach it, each with one policy."""

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlsplit

from deployment import env_file
from deployment.command import Command
from deployment.steps import InstallError
from shared.settings import Account, Settings

if TYPE_CHECKING:
    from minio import MinioAdmin

PREFIX = "crypto-lakehouse-"
"""How our policies begin. Who has one of them is ours, and goes when it is none of the settings' accounts."""
LAKE = ("bronze", "silver", "gold", "staging", "reports")
"""The folders that Spark and Dagster fill; to `raw`, the archive, streaming alone adds, and retention takes away."""


def prepare(settings: Settings) -> None:
    """Make the bucket where it is not there yet, and the accounts as the settings have them. May be repeated.

    In another store than our MinIO the accounts are made as its provider says. Raises `InstallError`.
    """
    from minio import Minio
    from minio.error import MinioAdminException, MinioException
    from urllib3.exceptions import HTTPError

    url = urlsplit(settings.s3_url)
    try:
        store = Minio(
            endpoint=url.netloc,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key.get_secret_value(),
            secure=url.scheme == "https",
            region=settings.s3_region,
        )
        if not store.bucket_exists(bucket_name=settings.bucket):
            store.make_bucket(bucket_name=settings.bucket)
        if not settings.s3_endpoint:
            _make_accounts(settings)
    except (MinioException, MinioAdminException, HTTPError, ValueError) as error:
        raise InstallError(
            f"The bucket {settings.bucket} at {settings.s3_url} or its accounts cannot be made: {error}. Look at "
            "S3_ENDPOINT and the keys in .env; a key of our own MinIO whose line is taken out of .env is made anew "
            "by ./deploy.sh."
        ) from None


def command(_settings: Settings) -> Command:
    """All is done: sleep, knowing no secret, until new keys start it again."""
    return Command(("sleep", "infinity"), dict.fromkeys(env_file.ALL, ""))


def _make_accounts(settings: Settings) -> None:
    from minio.error import MinioAdminException

    accounts: dict[str, tuple[Account, str]] = {}
    for name in get_args(Account):
        key, secret = settings.account(name)
        if not key or key in (settings.s3_access_key, *accounts):
            raise ValueError(f"S3_{name.upper()}_ACCESS_KEY is empty, or the name of another account")
        accounts[key] = (name, secret.get_secret_value())
    admin = _admin(settings, settings.s3_access_key, settings.s3_secret_key.get_secret_value())
    for name in get_args(Account):
        admin.policy_add(PREFIX + name, policy=policy(name, settings.bucket))
    as_they_are = set()
    for key, about in json.loads(admin.user_list()).items():
        if about.get("policyName", "").startswith(PREFIX):
            if key in accounts and _enters(settings, key, accounts[key][1]):
                as_they_are.add(key)
            else:
                admin.user_remove(key)  # with all keys that it made for itself
    for key, (name, password) in accounts.items():
        if key not in as_they_are:
            with suppress(MinioAdminException):  # there is none
                admin.delete_service_account(key)  # as which the reader was made before the others had accounts
            admin.user_add(key, password)
        admin.policy_set(PREFIX + name, user=key)


def _enters(settings: Settings, key: str, secret: str) -> bool:
    from minio.error import MinioAdminException

    try:
        _admin(settings, key, secret).account_info()
    except MinioAdminException:
        return False
    return True


def _admin(settings: Settings, key: str, secret: str) -> "MinioAdmin":
    from minio import MinioAdmin
    from minio.credentials.providers import StaticProvider

    url = urlsplit(settings.s3_url)
    owner = StaticProvider(key, secret)
    return MinioAdmin(endpoint=url.netloc, credentials=owner, secure=url.scheme == "https", region=settings.s3_region)


def policy(name: Account, bucket: str) -> dict[str, Any]:
    """What this account may do in the bucket, as S3 writes it."""
    whole = f"arn:aws:s3:::{bucket}"
    see = _allow([whole], "ListBucket", "GetBucketLocation")
    read = _allow([f"{whole}/*"], "GetObject")
    statements = {
        "streaming": [_allow([f"{whole}/raw/*"], "GetObject", "PutObject")],
        "lake": [
            see,
            _allow(
                [f"{whole}/{folder}/*" for folder in LAKE],
                "GetObject",
                "PutObject",
                "DeleteObject",
                "AbortMultipartUpload",
                "ListMultipartUploadParts",
            ),
            _allow([f"{whole}/raw/*"], "DeleteObject"),
        ],
        "reader": [see, read],
    }
    return {"Version": "2012-10-17", "Statement": statements[name]}


def _allow(resources: list[str], *actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": [f"s3:{action}" for action in actions], "Resource": resources}
