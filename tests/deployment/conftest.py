"""A throw-away home, so that no test sees the deployment of this checkout."""

from pathlib import Path

import pytest

from deployment import given
from shared.settings import Settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `CRYPTO_HOME`, and no setting in the environment."""
    for name in given.names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def demo(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a demo with secrets that a test can look for."""
    monkeypatch.setenv("CRYPTO_MODE", "demo")
    monkeypatch.setenv("S3_ACCESS_KEY", "the-access-key")
    monkeypatch.setenv("S3_SECRET_KEY", "the-secret-key")
    for account in ("STREAMING", "LAKE", "READER"):
        monkeypatch.setenv(f"S3_{account}_ACCESS_KEY", f"the-{account}-access-key")
        monkeypatch.setenv(f"S3_{account}_SECRET_KEY", f"the-{account}-secret-key")
    monkeypatch.setenv("GRAFANA_ADMIN_PASSWORD", "the-admin's")
    monkeypatch.setenv("POSTGRES_PASSWORD", "the-password")
    monkeypatch.setenv("DAGSTER_PASSWORD", "the-dagster's")
    for role in ("owner", "writer", "reader", "alerts"):
        monkeypatch.setenv(f"SERVING_{role.upper()}_PASSWORD", f"the-{role}'s")
    return Settings.load()
