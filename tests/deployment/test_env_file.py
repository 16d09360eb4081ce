import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from deployment import env_file
from shared.settings import Settings


def test_the_file_is_readable_by_its_owner_alone(home: Path) -> None:
    env_file.ensure("demo")
    assert (home / ".env").stat().st_mode & 0o777 == 0o600


def test_a_file_that_others_could_read_is_closed(home: Path) -> None:
    env_file.ensure("demo")
    for text in ((home / ".env").read_text(), "KAFKA_PORT=19092\n"):
        (home / ".env").write_text(text)
        (home / ".env").chmod(0o644)
        env_file.ensure("demo")
        assert (home / ".env").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", env_file.SECRETS)
def test_a_secret_whose_line_is_taken_out_is_made_anew_and_the_others_stay(home: Path, name: str) -> None:
    env_file.ensure("demo")
    before = dotenv_values(home / ".env")
    subprocess.run(["sed", "-i", f"/^{name}=/d", ".env"], cwd=home, check=True)
    assert env_file.ensure("demo") == [name]
    after = dotenv_values(home / ".env")
    assert {one for one in before if before[one] != after[one]} == {name}
    assert after[name]
    assert (home / ".env").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", env_file.SECRETS)
def test_a_secret_that_is_given_anew_is_another_one_and_all_else_stays(home: Path, name: str) -> None:
    env_file.ensure("demo")
    before = dotenv_values(home / ".env")
    env_file.renew(name)
    after = dotenv_values(home / ".env")
    assert {one for one in before | after if before.get(one) != after.get(one)} == {name}
    assert len(str(after[name])) == len(str(before[name]))
    assert (home / ".env").stat().st_mode & 0o777 == 0o600
    assert env_file.ensure("demo") == []


def test_every_secret_is_made_once_and_stays(home: Path) -> None:
    assert set(env_file.ensure("demo")) == set(env_file.SECRETS)
    first = (home / ".env").read_text()
    assert env_file.ensure("demo") == []
    assert (home / ".env").read_text() == first


def test_no_secret_of_the_settings_is_left_empty(home: Path) -> None:
    (home / ".env").write_text("S3_SECRET_KEY=of-a-deployment-from-before\n")
    env_file.ensure("demo")
    values = Settings.load().model_dump()
    secrets = [name for name, value in values.items() if isinstance(value, SecretStr)]
    assert len(secrets) >= 5
    assert {name.upper() for name in secrets if not values[name].get_secret_value()} == set(env_file.GIVEN)


def test_what_is_there_is_not_overwritten(home: Path) -> None:
    (home / ".env").write_text("# mine\nS3_SECRET_KEY=chosen\nKAFKA_PORT=19092")
    made = env_file.ensure("live")
    text = (home / ".env").read_text()
    assert "S3_SECRET_KEY" not in made
    assert text.startswith("# mine\nS3_SECRET_KEY=chosen\nKAFKA_PORT=19092\n")


def test_a_secret_that_the_environment_gives_is_not_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_SECRET_KEY", "from-a-vault")
    env_file.ensure("demo")
    assert "S3_SECRET_KEY" not in (home / ".env").read_text()


@pytest.mark.parametrize("place", [".env.production", "secrets/S3_LAKE_SECRET_KEY"])
def test_a_secret_that_another_file_gives_is_neither_made_nor_given_anew(
    home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SECRETS_DIR", str(home / "secrets"))
    (home / "secrets").mkdir()
    line = "S3_LAKE_SECRET_KEY=from-a-vault\n" if place.startswith(".env") else "from-a-vault\n"
    (home / place).write_text(line)
    assert "S3_LAKE_SECRET_KEY" not in env_file.ensure("demo")
    assert Settings.load().s3_lake_secret_key.get_secret_value() == "from-a-vault"
    with pytest.raises(ValueError, match=f"is given by .*{place}: change it there"):
        env_file.renew("S3_LAKE_SECRET_KEY")
    if place.startswith(".env"):
        assert (home / place).stat().st_mode & 0o777 == 0o600


def test_the_settings_read_what_was_made(home: Path) -> None:
    env_file.ensure("demo")
    settings = Settings.load()
    assert settings.mode == "demo"
    assert len(settings.postgres_password.get_secret_value()) == 48
    assert settings.s3_access_key


@given(st.text(alphabet="AB=#\n 1", max_size=60), st.sampled_from(["demo", "live"]))
def test_setting_the_mode_twice_is_setting_it_once(text: str, mode: str) -> None:
    once = env_file.with_mode(text, mode)
    assert env_file.with_mode(once, mode) == once
    assert once.splitlines().count(f"CRYPTO_MODE={mode}") == 1


def test_the_mode_of_the_last_deployment_takes_the_place_of_the_old_one() -> None:
    assert env_file.with_mode("A=1\nCRYPTO_MODE=demo\nB=2\n", "live") == "A=1\nCRYPTO_MODE=live\nB=2\n"
