"""The lake's bucket, and the account that may only read it."""

import json
import logging
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from shared.settings import Settings

log = logging.getLogger(__name__)


def make_bucket(config: Settings) -> None:
    """Make the bucket where it is not there yet."""
    client = boto3.client(
        "s3",
        endpoint_url=config.s3_url,
        region_name=config.s3_region,
        aws_access_key_id=config.s3_access_key,
        aws_secret_access_key=config.s3_secret_key.get_secret_value(),
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    if config.bucket not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=config.bucket)


def make_reader(config: Settings) -> None:
    """Make the account that reads the bucket and may do nothing else, or give it today's secret and rights.

    Only in our own MinIO: in another store it is made as its provider says. Where it cannot be made a warning says so,
    for the lake itself needs none.
    """
    secret = config.s3_reader_secret_key.get_secret_value()
    if config.s3_endpoint or not (config.s3_reader_access_key and secret):
        return
    from minio import MinioAdmin
    from minio.credentials.providers import StaticProvider
    from minio.error import MinioAdminException
    from urllib3.exceptions import HTTPError

    url = urlsplit(config.s3_url)
    owner = StaticProvider(config.s3_access_key, config.s3_secret_key.get_secret_value())
    admin = MinioAdmin(endpoint=url.netloc, credentials=owner, secure=url.scheme == "https", region=config.s3_region)
    key, policy = config.s3_reader_access_key, _may_read(config.bucket)
    try:
        try:
            admin.add_service_account(access_key=key, secret_key=secret, policy=policy)
        except MinioAdminException:  # it is there
            if json.loads(admin.get_service_account(key))["parentUser"] == config.s3_access_key:
                admin.update_service_account(access_key=key, secret_key=secret, policy=policy)
            else:  # MinIO's root had another name, with which its rights went
                admin.delete_service_account(key)
                admin.add_service_account(access_key=key, secret_key=secret, policy=policy)
    except (MinioAdminException, HTTPError) as error:
        log.warning("the account that may only read the bucket could not be made: %s", error)


def _may_read(bucket: str) -> dict[str, object]:
    """The policy, as S3 writes it."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:GetBucketLocation"],
                "Resource": [f"arn:aws:s3:::{bucket}"],
            },
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{bucket}/*"]},
        ],
    }
