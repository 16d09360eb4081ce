from pathlib import Path

import pytest
from kafka.errors import KafkaError, KafkaTimeoutError
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


def test_a_password_of_any_characters_is_quoted_for_the_jvm(settings: Settings) -> None:
    assert settings.broker.jaas().endswith(r'="a\"b\\c";' + "\n};\n")


def test_a_kafka_without_a_login_is_told_its_place_alone() -> None:
    assert Broker("kafka:9092").client() == {"bootstrap_servers": "kafka:9092"}
    assert Broker("kafka:9092").spark() == {"kafka.bootstrap.servers": "kafka:9092"}


def test_the_password_shows_in_no_representation(settings: Settings) -> None:
    assert PASSWORD not in repr(settings.broker)
    assert 'a\\"b' not in repr(settings.broker)


def test_an_error_is_explained_where_there_is_a_login_and_goes_on_as_it_is_elsewhere() -> None:
    nowhere = "127.0.0.1:1"
    known = Broker(nowhere, "me", SecretStr("x"))
    with pytest.raises(KafkaError, match=f"Kafka at {nowhere} does not answer: no answer on"), known.explained():
        raise KafkaTimeoutError("Unable to bootstrap")
    with pytest.raises(KafkaTimeoutError, match="Unable to bootstrap"), Broker(nowhere).explained():
        raise KafkaTimeoutError("Unable to bootstrap")
