from pathlib import Path

import pytest

from deployment import given


def test_a_setting_of_the_environment_is_kept_for_later_starts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PORT", "19092")
    monkeypatch.setenv("CRYPTO_MODE", "demo")
    monkeypatch.setenv("NO_SETTING", "1")
    given.save(home)
    assert given.saved(home) == {"KAFKA_PORT": "19092"}
    assert (home / "environment.json").stat().st_mode & 0o777 == 0o600


def test_supervisor_itself_gets_no_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PORT", "19092")
    assert "KAFKA_PORT" not in given.without_settings()
    assert given.without_settings()["CRYPTO_HOME"] == str(home)


def test_nothing_was_given_before_the_first_deployment(home: Path) -> None:
    assert given.saved(home) == {}
