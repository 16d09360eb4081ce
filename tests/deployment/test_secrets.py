"""No secret shows: not in a process list, not in a log, not in what is said where one is wrong."""

from collections.abc import Callable

import boto3
import psycopg2
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import SecretStr

from alerts import store
from deployment import dagster, probes
from deployment.probes import UnhealthyError
from deployment.steps import InstallError
from shared.settings import Settings
from tests.servers import MinioServer, PostgresServer

WRONG = "wr0ng-and-secret"


def values(settings: Settings) -> list[str]:
    """The secrets of these settings."""
    found = (one for one in settings.model_dump().values() if isinstance(one, SecretStr))
    return [secret for one in found if (secret := one.get_secret_value())]


@pytest.mark.parametrize("ask", [probes.postgres, dagster.migrate, store.login])
def test_a_wrong_password_is_refused_without_being_named(
    postgres_server: PostgresServer, ask: Callable[[Settings], object]
) -> None:
    right = postgres_server.settings
    wrong = right.model_copy(
        update={name: SecretStr(WRONG) for name, one in right.model_dump().items() if isinstance(one, SecretStr)}
    )
    with pytest.raises((UnhealthyError, InstallError, psycopg2.Error)) as refused:
        ask(wrong)
    assert "password" in str(refused.value)
    assert WRONG not in str(refused.value)
    shown = postgres_server.shown()
    assert "password authentication failed" in shown
    assert not any(secret in shown for secret in (WRONG, *values(right)))


def test_the_object_store_shows_no_key_also_where_one_is_wrong(minio_server: MinioServer) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=minio_server.settings.s3_url,
        region_name=minio_server.settings.s3_region,
        aws_access_key_id=minio_server.settings.s3_access_key,
        aws_secret_access_key=WRONG,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    with pytest.raises(ClientError) as refused:
        client.list_buckets()
    assert WRONG not in str(refused.value)
    shown = minio_server.shown()
    assert "--console-address" in shown
    assert not any(secret in shown for secret in (WRONG, *values(minio_server.settings)))
