import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest

from deployment import kafka, probes
from shared.settings import Settings
from tests.servers import KafkaServer


def properties(settings: Settings) -> dict[str, str]:
    text = kafka.properties(settings, kafka.TEMPLATE.read_text())
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_the_broker_listens_on_loopback_alone(demo: Settings) -> None:
    settings = demo.model_copy(update={"kafka_port": 19092, "kafka_controller_port": 19093})
    made = properties(settings)
    assert made["listeners"] == "PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093"
    assert made["advertised.listeners"] == "PLAINTEXT://127.0.0.1:19092"
    assert made["controller.quorum.voters"] == "1@127.0.0.1:19093"


def test_a_misspelt_topic_does_not_come_into_being(demo: Settings) -> None:
    assert properties(demo)["auto.create.topics.enable"] == "false"


def test_events_are_kept_two_days_and_no_more_than_a_cap(demo: Settings) -> None:
    made = properties(demo)
    assert made["log.retention.hours"] == "48"
    assert int(made["log.retention.bytes"]) > 0


def test_what_the_file_says_is_what_the_broker_is_told(demo: Settings, tmp_path: Path) -> None:
    file = tmp_path / "retention.yaml"
    text = demo.retention_file.read_text().replace("keep: 48h", "keep: 3d").replace("megabytes: 2048", "megabytes: 512")
    file.write_text(text)
    made = properties(demo.model_copy(update={"retention_file": file}))
    assert (made["log.retention.hours"], made["log.retention.bytes"]) == ("72", str(512 << 20))


def test_in_docker_other_containers_are_told_a_name_that_they_can_reach(demo: Settings) -> None:
    made = properties(demo.model_copy(update={"containers": True, "bind_address": "0.0.0.0"}))
    assert made["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9092,INTERNAL://kafka:9094"
    assert made["inter.broker.listener.name"] == "INTERNAL"


def test_a_listener_that_asks_for_a_login_is_there_only_where_a_network_is_to_reach_it(demo: Settings) -> None:
    assert "LOGIN" not in properties(demo)["listeners"]
    made = properties(demo.model_copy(update={"public_host": "lake.example.org"}))
    assert made["listeners"].split(",")[1] == "LOGIN://127.0.0.1:9096"
    assert made["advertised.listeners"].split(",")[1] == "LOGIN://lake.example.org:19092"
    assert "LOGIN:SASL_PLAINTEXT" in made["listener.security.protocol.map"]


def test_a_cluster_whose_id_begins_with_a_dash_is_formatted(demo: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka.uuid, "uuid4", lambda: UUID(int=0xF8 << 120))  # `-AAA...`: one in 64
    kafka.command(demo)
    assert list(demo.state.rglob("meta.properties"))


def test_long_requests_that_are_announced_and_never_come_do_not_fill_the_brokers_memory(
    kafka_server: KafkaServer,
) -> None:
    longest = int(properties(kafka_server.settings)["socket.request.max.bytes"])
    place = ("127.0.0.1", kafka_server.settings.kafka_port)
    with ExitStack() as held:
        for announced in (100 * 2**20, *[longest] * 400):
            connection = held.enter_context(socket.create_connection(place, timeout=10))
            connection.sendall(struct.pack(">ihh", announced, 3, 9))
    probes.kafka(kafka_server.settings)
    assert not kafka_server.has_ended()
