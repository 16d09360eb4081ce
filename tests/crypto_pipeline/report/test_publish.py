"""Where a report is kept, and its link."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from crypto_pipeline.report import publish
from shared.settings import Settings
from tests.crypto_pipeline.report.example import DAY


def settings(**changes: Any) -> Settings:
    values = {"CRYPTO_MODE": "demo", "s3_access_key": "key", "s3_secret_key": "secret", "minio_port": 19000}
    return Settings(_env_file=None, **{**values, **changes})  # type: ignore[call-arg]


@pytest.mark.parametrize("portfolio", ["../../etc", "a/b", "..", ".", "ü ß", "<b>", "a%2Fb"])
def test_whatever_stands_in_a_name_it_is_one_folder_of_its_own(portfolio: str) -> None:
    folder, _, file = publish.name_of(portfolio, DAY).partition("/")
    assert file == "2026-11-25.html"
    assert folder not in (".", "..", "")
    assert unquote(folder) == portfolio


def test_a_report_without_a_portfolio_is_of_the_markets() -> None:
    assert publish.name_of("", DAY) == "markets/2026-11-25.html"


def test_a_page_is_written_into_the_deployments_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    path = publish.written("<p>ü</p>", publish.name_of("main", DAY), settings())
    assert path == tmp_path / "var" / "demo" / "reports" / "main" / "2026-11-25.html"
    assert path.read_text(encoding="utf-8") == "<p>ü</p>"


def test_a_page_is_uploaded_as_html(monkeypatch: pytest.MonkeyPatch) -> None:
    put: dict[str, Any] = {}

    class Client:
        def put_object(self, **what: Any) -> None:
            put.update(what)

    monkeypatch.setattr(publish, "s3_client", lambda _settings: Client())
    assert publish.uploaded("<p>ü</p>", "main/x.html", settings()) == "s3://datalake-demo/reports/main/x.html"
    assert put == {
        "Bucket": "datalake-demo",
        "Key": "reports/main/x.html",
        "Body": "<p>ü</p>".encode(),
        "ContentType": "text/html; charset=utf-8",
    }


@pytest.mark.parametrize(
    ("changes", "host"),
    [
        ({}, "127.0.0.1:19000"),
        ({"containers": True, "bind_address": "0.0.0.0"}, "127.0.0.1:19000"),
        ({"s3_endpoint": "https://store.example.com"}, "store.example.com"),
    ],
)
def test_a_link_is_signed_for_the_address_that_a_browser_reaches(changes: dict[str, Any], host: str) -> None:
    link = urlsplit(publish.link("main/2026-11-25.html", settings(**changes)))
    assert link.netloc == host
    assert link.path == "/datalake-demo/reports/main/2026-11-25.html"
    asked = parse_qs(link.query)
    assert asked["X-Amz-Expires"] == [str(7 * 24 * 3600)]
    assert asked["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert "secret" not in link.query
