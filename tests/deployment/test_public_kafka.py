"""Kafka, open to a network, with a real broker; 127.0.0.2 is the network's address of this machine."""

from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError
from pydantic import SecretStr

from deployment import probes, public
from shared.settings import Settings
from streaming.kafka_producer import EventProducer
from streaming.metrics import Metrics
from tests.servers import KafkaServer, Server, free_ports

HOST = "127.0.0.2"
PASSWORD = 'messa"ges\\'
PORTS = [name for name in Settings.model_fields if name.startswith("public_") and name.endswith("_port")]
pytestmark = pytest.mark.skipif(
    not public.is_installed(), reason="HAProxy and stunnel are not installed: apt-get install haproxy stunnel4"
)


def test_kafka_takes_in_over_tls_with_the_password_and_refuses_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = KafkaServer(tmp_path / "kafka")
    opening = {
        "public_host": HOST,
        "public_address": HOST,
        "public_kafka_password": SecretStr(PASSWORD),
        "public_password": SecretStr("pages"),
        "public_token": SecretStr("a-token"),
        **dict(zip((*PORTS, "kafka_login_port"), free_ports(len(PORTS) + 1), strict=True)),
    }
    broker.settings = broker.settings.model_copy(update=opening)
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    for name in (*opening, "kafka_port", "kafka_controller_port"):
        value = getattr(broker.settings, name)
        monkeypatch.setenv(name.upper(), value.get_secret_value() if isinstance(value, SecretStr) else str(value))
    door = Server(tmp_path, lambda: public.command(broker.settings), lambda: probes.public(broker.settings))
    broker.start()
    try:
        door.start()
        from_the_network(broker.settings, tmp_path / "var" / broker.settings.mode / "public" / "ca.pem")
        assert PASSWORD not in broker.shown()
        assert "messa" not in broker.shown()
        [written] = (tmp_path / "kafka").rglob("server.properties")
        assert written.stat().st_mode & 0o777 == 0o600
    finally:
        door.stop()
        broker.kill()


def from_the_network(settings: Settings, ca: Path) -> None:
    ours = Settings(
        kafka_broker=f"{HOST}:{settings.public_kafka_port}",
        kafka_username=settings.public_user,
        kafka_password=SecretStr(PASSWORD),
        kafka_ca=ca,
    )
    probes.kafka(ours)
    producer = EventProducer(ours, Metrics())
    producer.prepare(["crypto_raw_btcusdt"])  # it is told the public name, not that of loopback
    producer.send("crypto_raw_btcusdt", b"key", b"from the network")
    assert producer.close(20) == 0
    with pytest.raises(probes.LoginRefusedError, match="KAFKA_USERNAME and KAFKA_PASSWORD"):
        probes.kafka(ours.model_copy(update={"kafka_password": SecretStr("wrong")}))
    with pytest.raises(probes.UnhealthyError, match=r"certificate .* is not trusted .* KAFKA_CA"):
        probes.kafka(ours.model_copy(update={"kafka_ca": None}))
    with pytest.raises(KafkaError):
        KafkaProducer(bootstrap_servers=ours.kafka, bootstrap_timeout_ms=2000)
