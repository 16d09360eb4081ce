"""A broker as Azure Event Hubs is one: TLS, PLAIN, the user `$ConnectionString`, one topic for all."""

from collections.abc import Iterator

import pytest
from kafka.errors import KafkaError
from pydantic import SecretStr

from alerts import stream
from alerts.kinds._kind import SourceError
from crypto_pipeline.kafka_source import topic_ids
from deployment import probes, start
from monitoring.sources.kafka import KafkaSource
from shared.settings import Settings, SettingsError
from streaming.kafka_producer import EventProducer
from streaming.metrics import Metrics
from tests.servers import HubServer

TOPIC = "market"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    server = HubServer(tmp_path_factory.mktemp("hub"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def wrong(hub: HubServer) -> Settings:
    return hub.settings.model_copy(update={"kafka_password": SecretStr("not this one")})


def test_what_streaming_sends_is_read_by_the_same_login(hub: HubServer) -> None:
    producer = EventProducer(hub.settings, Metrics())
    producer.prepare([TOPIC])
    producer.send(TOPIC, b"BTCUSDT", b'{"stream": "trade"}')
    assert producer.close(20) == 0
    assert [value for _, value, _ in hub.read(TOPIC, 1)] == [b'{"stream": "trade"}']


def test_event_hubs_gets_nothing_that_is_compressed(hub: HubServer) -> None:
    assert hub.settings.broker.compression is None
    assert Settings().broker.compression == "zstd"


def test_the_user_may_be_left_out_as_event_hubs_has_but_one(hub: HubServer) -> None:
    probes.kafka(hub.settings.model_copy(update={"kafka_username": ""}))


def test_a_wrong_password_is_refused_in_a_sentence_that_names_the_settings(
    wrong: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    sentence = f"Kafka at {wrong.kafka} refuses the login: look at KAFKA_USERNAME and KAFKA_PASSWORD"
    with pytest.raises(probes.LoginRefusedError, match="^" + sentence + "$"):
        probes.kafka(wrong)
    with pytest.raises(SettingsError, match=sentence):
        start._check_login(wrong)
    with pytest.raises(SourceError, match=sentence):
        list(KafkaSource(wrong).ask())
    with pytest.raises(KafkaError, match=sentence):
        stream.consumer(wrong)
    with pytest.raises(KafkaError, match=sentence):
        topic_ids(wrong.broker)
    with pytest.raises(KafkaError) as refused:
        EventProducer(wrong, Metrics()).prepare([TOPIC])
    assert wrong.broker.trouble(refused.value) == sentence
    assert "not this one" not in caplog.text
