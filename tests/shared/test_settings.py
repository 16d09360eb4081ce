from pathlib import Path

import pytest

from shared.settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("CRYPTO_MODE", raising=False)


def test_a_line_of_the_env_file_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KAFKA_PORT=19092\nCRYPTO_MODE=demo\n")
    settings = Settings.load()
    assert settings.kafka == "127.0.0.1:19092"
    assert settings.mode == "demo"


def test_the_environment_wins_over_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("KAFKA_PORT=19092\n")
    monkeypatch.setenv("KAFKA_PORT", "29092")
    assert Settings.load().kafka_port == 29092


def test_demo_and_live_share_neither_folder_nor_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Settings.load()
    monkeypatch.setenv("CRYPTO_MODE", "demo")
    demo = Settings.load()
    assert live.state != demo.state
    assert live.bucket != demo.bucket


@pytest.mark.parametrize(
    ("name", "value"),
    [("KAFKA_PORT", "99999"), ("KAFKA_PORT", "many"), ("CRYPTO_MODE", "dream"), ("STREAM_MEMORY_MB", "0")],
)
def test_a_wrong_setting_is_refused_by_its_name(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name} is '{value}'.*Mend it in .*\\.env"):
        Settings.load()


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_SECRET_KEY", "hunter2")
    monkeypatch.setenv("POSTGRES_PASSWORD", "hunter2")
    assert "hunter2" not in repr(Settings.load())
