"""Where Kafka is, and who we are there, as each of its clients wants to be told."""

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

EVENT_HUBS_USER = "$ConnectionString"
"""Who everybody is to Azure Event Hubs; its password is a connection string."""
PATIENCE_OVER_TLS = 10
"""Seconds that a broker with a login gets for its answer: it may be on another continent."""
_VERSIONS, _HANDSHAKE, _LOGIN = (18, 0), (17, 1), (36, 0)
"""Key and version of the requests that each broker answers before it knows who asks."""


class BrokerAway(Exception):  # noqa: N818 (that is what it is)
    """Why Kafka cannot be used now."""


class LoginRefused(BrokerAway):
    """It is there, and does not know who we say that we are."""


@dataclass(frozen=True)
class Broker:
    """A Kafka: plain, or with a password and then over TLS (SASL_SSL, PLAIN)."""

    servers: str
    """`host:port[,host:port]`"""
    username: str = ""
    password: SecretStr = field(default_factory=lambda: SecretStr(""))
    ca: Path | None = None
    """The certificate that signed its own, where no public authority did."""

    @property
    def has_login(self) -> bool:
        return bool(self.password.get_secret_value())

    @property
    def compression(self) -> str | None:
        """Of what is sent. Event Hubs takes in no zstd."""
        return None if self.username == EVENT_HUBS_USER else "zstd"

    def client(self) -> dict[str, Any]:
        """What each client of kafka-python is told."""
        if not self.has_login:
            return {"bootstrap_servers": self.servers}
        return {
            "bootstrap_servers": self.servers,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password.get_secret_value(),
            "ssl_cafile": str(self.ca) if self.ca else None,
        }

    def spark(self) -> dict[str, str]:
        """What Spark's source is told. Its UI shows that, so the password is not in it, but in the file of `jaas`."""
        told = {"kafka.bootstrap.servers": self.servers}
        if self.has_login:
            told |= {"kafka.security.protocol": "SASL_SSL", "kafka.sasl.mechanism": "PLAIN"}
        if self.has_login and self.ca:
            pem = self.ca.read_text(encoding="utf-8")
            told |= {"kafka.ssl.truststore.type": "PEM", "kafka.ssl.truststore.certificates": pem}
        return told

    def jaas(self) -> str:
        """The login as a JVM reads it from the file that `java.security.auth.login.config` names."""
        user, password = (_quoted(text) for text in (self.username, self.password.get_secret_value()))
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return f"KafkaClient {{\n  {module} required username={user} password={password};\n}};\n"

    def ask(self, patience: float) -> None:
        """Whether it takes requests, and lets us in. Raises `BrokerAway` or `LoginRefused`, which name the setting."""
        host, _, port = self.servers.split(",")[0].rpartition(":")
        try:
            with ExitStack() as opened:
                seconds = PATIENCE_OVER_TLS if self.has_login else patience
                connection = opened.enter_context(socket.create_connection((host, int(port)), timeout=seconds))
                if self.has_login:
                    trusted = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
                    connection = opened.enter_context(trusted.wrap_socket(connection, server_hostname=host))
                if _answer(connection, _VERSIONS, b""):
                    raise BrokerAway("the broker does not take requests yet")
                if self.has_login:
                    self._log_in(connection)
        except ssl.SSLCertVerificationError as error:
            why = f"the certificate of {host}:{port} is not trusted ({error.verify_message}): look at KAFKA_CA"
            raise BrokerAway(why) from None
        except OSError as error:
            raise BrokerAway(f"no answer on {host}:{port} ({error.strerror or error})") from None

    def _log_in(self, connection: socket.socket) -> None:
        login = "\0".join(("", self.username, self.password.get_secret_value())).encode()
        if _answer(connection, _HANDSHAKE, struct.pack(">h", 5) + b"PLAIN") or _answer(
            connection, _LOGIN, struct.pack(">i", len(login)) + login
        ):
            where = f"Kafka at {self.servers} refuses the login"
            raise LoginRefused(f"{where}: look at KAFKA_USERNAME and KAFKA_PASSWORD")

    def trouble(self, error: Exception) -> str:
        """What a client's error means, in a sentence without its end. kafka-python calls a refused login a timeout."""
        if self.has_login:
            try:
                self.ask(PATIENCE_OVER_TLS)
            except LoginRefused as refused:
                return str(refused)
            except BrokerAway as away:
                return f"Kafka at {self.servers} does not answer: {away}"
        return f"Kafka at {self.servers} does not answer ({type(error).__name__}): look whether it runs"

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Where there is a login, an error of kafka-python says in a sentence what it means."""
        from kafka.errors import KafkaError  # whoever reads the settings needs no Kafka

        try:
            yield
        except KafkaError as error:
            if not self.has_login:
                raise
            raise KafkaError(self.trouble(error)) from None


def _answer(connection: socket.socket, request: tuple[int, int], body: bytes) -> int:
    """The error code that the broker answers, 0 for none; -1 where it gives no answer."""
    client = b"crypto-probe"
    asked = struct.pack(">hhih", *request, 1, len(client)) + client + body
    connection.sendall(struct.pack(">i", len(asked)) + asked)
    with connection.makefile("rb") as answer:
        length = answer.read(4)
        content = answer.read(struct.unpack(">i", length)[0]) if len(length) == 4 else b""
    # After the correlation id comes the error code.
    code: int = struct.unpack(">h", content[4:6])[0] if len(content) >= 6 else -1
    return code


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
