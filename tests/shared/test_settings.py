from pathlib import Path

import pytest

from deployment import paths
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


PLACES = ("the environment", ".env.staging", ".env", "KAFKA_PORT")
"""Where a setting may stand, the one that wins first."""


def put(place: str, value: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives KAFKA_PORT in one of the places, in the staging environment."""
    monkeypatch.setenv("ENVIRONMENT", "staging")
    monkeypatch.setenv("SECRETS_DIR", str(folder / "secrets"))
    (folder / "secrets").mkdir(exist_ok=True)
    if place == "the environment":
        monkeypatch.setenv("KAFKA_PORT", value)
    elif place == "KAFKA_PORT":
        (folder / "secrets" / place).write_text(f"{value}\n")
    else:
        (folder / place).write_text(f"KAFKA_PORT={value}\n")


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_a_setting_comes_from_the_first_place_that_has_it_also_for_stage_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    for number, place in enumerate(PLACES[first:]):
        put(place, str(20_000 + number), tmp_path, monkeypatch)
    assert Settings.load().kafka_port == 20_000
    assert paths.setting("KAFKA_PORT", "") == "20000"
    assert paths.found("KAFKA_PORT")[0].endswith(PLACES[first])


@pytest.mark.parametrize("place", PLACES)
def test_a_wrong_setting_is_named_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    put(place, "many", tmp_path, monkeypatch)
    with pytest.raises(SettingsError, match=rf"KAFKA_PORT is 'many' in .*{place}: .*Mend it there"):
        Settings.load()


def test_the_environment_may_stand_in_env_and_another_ones_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ENVIRONMENT=production\nKAFKA_PORT=20001\n")
    (tmp_path / ".env.production").write_text("KAFKA_PORT=20002\n")
    (tmp_path / ".env.development").write_text("KAFKA_PORT=20003\n")
    assert Settings.load().kafka_port == 20002
    (tmp_path / ".env").write_text("ENVIRONMENT=holidays\n")
    with pytest.raises(SettingsError, match=r"ENVIRONMENT is 'holidays' in .*\.env: .*production"):
        Settings.load()


def test_a_folder_of_secrets_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRETS_DIR=/run/no-secrets\n")
    with pytest.raises(SettingsError, match=r"SECRETS_DIR in .*\.env is /run/no-secrets: no folder"):
        Settings.load()


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"KAFKA_PORT=\xff\n")
    with pytest.raises(SettingsError, match=r"\.env.* cannot be read as UTF-8"):
        Settings.load()


def test_another_store_without_its_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("S3_ENDPOINT=https://store\nS3_ACCESS_KEY=me\n")
    with pytest.raises(SettingsError, match=r"S3_SECRET_KEY is missing: S3_ENDPOINT in .*\.env .*Put its key into"):
        Settings.load().check()


def test_a_secret_that_minio_refuses_is_named_with_its_place_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "secrets"))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "s3_lake_secret_key").write_text("hunter2")
    with pytest.raises(
        SettingsError, match=r"S3_LAKE_SECRET_KEY in .*s3_lake_secret_key has 7 .*deploy\.sh"
    ) as refused:
        Settings.load().check()
    assert "hunter2" not in str(refused.value)
    (tmp_path / "secrets" / "s3_lake_secret_key").unlink()
    Settings.load().check()


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("BIND_ADDRESS=0.0.0.0", r"BIND_ADDRESS in .*\.env is 0\.0\.0\.0, where all would be open .* set PUBLIC_HOST"),
        ("PUBLIC_HOST=lake.example.org:8443", r"PUBLIC_HOST in .*\.env is 'lake.example.org:8443', and must be a name"),
        ("PUBLIC_HOST=lake\nTLS_KEY=/key.pem", "TLS_CERTIFICATE and TLS_KEY belong together"),
        ("KAFKA_BROKER=hub.servicebus.windows.net", r"KAFKA_BROKER in .*\.env is .*, and must be host:port"),
        ("KAFKA_PASSWORD=hunter2", r"KAFKA_PASSWORD in .*\.env needs KAFKA_BROKER"),
        ("KAFKA_BROKER=hub:9093\nKAFKA_USERNAME=me", r"KAFKA_PASSWORD is missing, and KAFKA_USERNAME in .*\.env"),
        (
            "KAFKA_BROKER=hub:9093\nKAFKA_PASSWORD=hunter2\nKAFKA_CA=/no.pem",
            r"KAFKA_CA in .*\.env is /no\.pem: no file",
        ),
    ],
)
def test_what_would_open_a_door_or_shut_one_by_mistake_is_refused(tmp_path: Path, lines: str, sentence: str) -> None:
    (tmp_path / ".env").write_text(f"{lines}\n")
    with pytest.raises(SettingsError, match=sentence) as refused:
        Settings.load().check()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("host", ["lake.example.org", "lake", "10.1.2.3"])
def test_a_name_or_an_address_is_a_public_host(tmp_path: Path, host: str) -> None:
    (tmp_path / ".env").write_text(f"PUBLIC_HOST={host}\n")
    Settings.load().check()


def test_event_hubs_is_three_lines_with_its_user_as_it_is_written_there(tmp_path: Path) -> None:
    given = "Endpoint=sb://hub.servicebus.windows.net/;SharedAccessKeyName=all;SharedAccessKey=a+b/c="
    (tmp_path / ".env").write_text(
        f"KAFKA_BROKER=hub.servicebus.windows.net:9093\nKAFKA_USERNAME=$ConnectionString\nKAFKA_PASSWORD={given}\n"
    )
    settings = Settings.load()
    settings.check()
    assert settings.broker.client() == {
        "bootstrap_servers": "hub.servicebus.windows.net:9093",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "$ConnectionString",
        "sasl_plain_password": given,
        "ssl_cafile": None,
    }
    assert settings.is_kafka_elsewhere


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
    with pytest.raises(SettingsError, match=f"{name} is '{value}' in the environment: .*Mend it there"):
        Settings.load()


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_SECRET_KEY", "hunter2")
    monkeypatch.setenv("POSTGRES_PASSWORD", "hunter2")
    assert "hunter2" not in repr(Settings.load())
