from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.broker import Broker
from shared.settings import Settings

PASSWORD = 'a"b\\c'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    authority = tmp_path / "ca.pem"
    authority.write_text("-----BEGIN CERTIFICATE-----\n")
    return Settings(kafka_broker="hub:9093", kafka_password=SecretStr(PASSWORD), kafka_ca=authority)


def test_sparks_source_is_told_all_but_the_login(settings: Settings) -> None:
    assert settings.broker.spark() == {
        "kafka.bootstrap.servers": "hub:9093",
        "kafka.security.protocol": "SASL_SSL",
        "kafka.sasl.mechanism": "PLAIN",
        "kafka.ssl.truststore.type": "PEM",
        "kafka.ssl.truststore.certificates": "-----BEGIN CERTIFICATE-----\n",
    }


def test_a_kafka_without_a_login_is_told_its_place_alone() -> None:
    assert Broker("kafka:9092").client() == {"bootstrap_servers": "kafka:9092"}
    assert Broker("kafka:9092").spark() == {"kafka.bootstrap.servers": "kafka:9092"}


def test_the_password_shows_in_no_representation(settings: Settings) -> None:
    assert PASSWORD not in repr(settings.broker)
    assert 'a\\"b' not in repr(settings.broker)
