"""The object store, as the streaming service uses it."""

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from shared.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def s3_client(settings: Settings, attempts: int = 1) -> "S3Client":
    """A client that gives up soon: whoever uses it tries again by itself, or says how often it is to be tried."""
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=60,
            retries={"total_max_attempts": attempts},
            # not every S3 knows the newer checksums; Content-MD5 guards what is sent
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
