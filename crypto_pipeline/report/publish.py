"""Where a report is kept, and the link under which a browser opens it."""

from datetime import date, timedelta
from pathlib import Path
from urllib.parse import quote

from shared.settings import Settings
from streaming.object_store import s3_client

LINK_LASTS = timedelta(days=7)
"""The longest that S3 allows a signed link. The next report comes long before."""


def name_of(portfolio: str, day: date) -> str:
    """`main/2026-11-25.html`; whatever stands in a portfolio's name, it is one folder."""
    return f"{quote(portfolio or 'markets', safe='').replace('.', '%2E')}/{day}.html"


def written(page: str, name: str, settings: Settings) -> Path:
    """Keeps a page in the deployment's own folder, and gives its path."""
    path = settings.state / "reports" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def uploaded(page: str, name: str, settings: Settings) -> str:
    """Keeps a page in the bucket, and gives its address there. Raises botocore's errors."""
    key = f"reports/{name}"
    s3_client(settings).put_object(
        Bucket=settings.bucket, Key=key, Body=page.encode(), ContentType="text/html; charset=utf-8"
    )
    return f"s3://{settings.bucket}/{key}"


def link(name: str, settings: Settings) -> str:
    """A signed link to an uploaded page that works without a password for `LINK_LASTS`.

    It is of the address that a browser on this machine reaches, which among containers is not our own.
    """
    outside = settings.s3_endpoint or f"http://{settings.loopback}:{settings.minio_port}"
    client = s3_client(settings.model_copy(update={"s3_endpoint": outside}))
    wanted = {"Bucket": settings.bucket, "Key": f"reports/{name}"}
    return client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=int(LINK_LASTS.total_seconds()))
