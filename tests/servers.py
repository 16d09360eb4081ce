"""Real servers for tests, as the deployment runs them, in folders and on ports of their own."""

import io
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from kafka import KafkaConsumer, TopicPartition
from pydantic import SecretStr

from deployment import certificates, jars, kafka, minio, postgres, probes
from deployment.command import Command
from deployment.console import Console
from deployment.paths import child_environment
from deployment.steps import InstallError, Shell
from shared.settings import Settings


def free_ports(count: int) -> list[int]:
    """Ports that nobody holds now, below those that the system gives to connections of its own choice."""
    free = []
    for port in random.sample(range(20_000, 30_000), 10 * count):
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            free.append(port)
    return free[:count]


class Server:
    """A process that can be stopped in all the ways in which servers stop."""

    def __init__(
        self, folder: Path, command: Callable[[], Command], probe: Callable[[], None], seconds: float = 60
    ) -> None:
        self._folder = folder
        self._seconds = seconds
        self._command = command
        self._probe = probe
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CRYPTO_HOME", str(folder))
            command = self._command()
        self._log = (folder / "log").open("ab")
        self._process = subprocess.Popen(
            command.argv, env=child_environment(**command.env), stdout=self._log, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + self._seconds
        while not self._answers():
            assert self._process.poll() is None, f"it ended: {(folder / 'log').read_text()[-2000:]}"
            assert time.monotonic() < deadline, "it does not answer"
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            self._probe()
        except probes.UnhealthyError:
            return False
        return True

    @property
    def pid(self) -> int:
        """Of its first process."""
        assert self._process is not None
        return self._process.pid

    def shown(self) -> str:
        """What it shows to others: the command lines of its processes, and its log."""
        assert self._process is not None
        mine = psutil.Process(self._process.pid)
        shown = [(self._folder / "log").read_text()]
        for one in (mine, *mine.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                shown += one.cmdline()
        return "\n".join(shown)

    def pause(self) -> None:
        """Its sockets stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)
        if self._process is not None:  # on a busy machine some of its threads answer for a while yet
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def has_ended(self) -> bool:
        """By itself."""
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """As the kernel does when memory ends."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        if self._process is not None:
            self.resume()
            self._end(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
        if self._log is not None:
            self._log.close()


class KafkaServer(Server):
    """A broker."""

    def __init__(self, folder: Path) -> None:
        if not jars.folder("kafka").is_dir():
            try:
                jars.fetch("kafka", Shell(Console(io.StringIO())))
            except (InstallError, OSError) as error:
                pytest.skip(f"Kafka's jars cannot be had: {error}")
        port, controller = free_ports(2)
        self.settings = Settings(kafka_port=port, kafka_controller_port=controller, memory_profile="6g")
        super().__init__(folder, lambda: kafka.command(self.settings), lambda: probes.kafka(self.settings))

    def has(self, topic: str) -> bool:
        """Whether there is such a topic."""
        consumer = KafkaConsumer(**self.settings.broker.client())
        try:
            return topic in consumer.topics()
        finally:
            consumer.close()

    def read(self, topic: str, count: int, seconds: float = 30) -> list[tuple[bytes, bytes, list[tuple[str, bytes]]]]:
        """Key, value and headers of what a topic of one partition holds now, at least `count` messages, in order."""
        consumer = KafkaConsumer(**self.settings.broker.client(), auto_offset_reset="earliest")
        found: list[tuple[bytes, bytes, list[tuple[str, bytes]]]] = []
        try:
            partition = TopicPartition(topic, 0)
            consumer.assign([partition])
            consumer.seek_to_beginning()
            deadline = time.monotonic() + seconds
            held = consumer.end_offsets([partition])[partition]  # asked once: the end of a busy topic runs away
            while len(found) < max(count, held):
                assert time.monotonic() < deadline, f"{topic} has {len(found)} messages of {count}"
                for messages in consumer.poll(timeout_ms=200).values():
                    found += [(message.key, message.value, list(message.headers)) for message in messages]
        finally:
            consumer.close()
        return found


class HubServer(KafkaServer):
    """A broker as Azure Event Hubs is one to its clients: SASL_SSL alone, PLAIN, and this user."""

    PASSWORD = 'Endpoint=sb://test.servicebus.windows.net/;SharedAccessKeyName=all;SharedAccessKey=a+b/"c\\d='

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        certificates.ensure(folder / "keys", "127.0.0.1", datetime.now(UTC))
        self.settings = Settings(
            kafka_broker=self.settings.kafka,
            kafka_username="$ConnectionString",
            kafka_password=SecretStr(self.PASSWORD),
            kafka_ca=folder / "keys" / "ca.pem",
            kafka_port=self.settings.kafka_port,
            kafka_controller_port=self.settings.kafka_controller_port,
            memory_profile="6g",
        )
        self._command = self._over_tls

    def _over_tls(self) -> Command:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kafka, "properties", self._properties)
            return kafka.command(self.settings)

    def _properties(self, settings: Settings, template: str) -> str:
        plain = _properties_of_kafka(settings, template)
        escaped = self.PASSWORD.replace("\\", "\\\\").replace('"', '\\"').replace("\\", "\\\\")
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return (
            plain.replace("PLAINTEXT:PLAINTEXT", "PLAINTEXT:SASL_SSL")
            + "\nsasl.enabled.mechanisms=PLAIN\nsasl.mechanism.inter.broker.protocol=PLAIN"
            + f"\nssl.keystore.type=PEM\nssl.keystore.location={self._folder}/keys/server.pem"
            + f"\nssl.truststore.type=PEM\nssl.truststore.location={self._folder}/keys/ca.pem"
            + f'\nlistener.name.plaintext.plain.sasl.jaas.config={module} required username="$ConnectionString"'
            + f' password="{escaped}" user_$ConnectionString="{escaped}";\n'
        )


_properties_of_kafka = kafka.properties


def running_kafka(folder: Path) -> Iterator[KafkaServer]:
    """A broker for a fixture, empty at first. Tests that make a market in it want one of their own."""
    server = KafkaServer(folder)
    server.start()
    yield server
    server.kill()  # its folder goes too, and an orderly end takes it half a minute


class MinioServer(Server):
    """An object store with an empty bucket."""

    def __init__(self, folder: Path, user: str = "tester", secret: str = "tester-secret") -> None:
        if minio.program() is None:
            pytest.skip("MinIO is not installed: ./deploy.sh builds it")
        port, console = free_ports(2)
        self.settings = Settings(
            minio_port=port,
            minio_console_port=console,
            s3_access_key=user,
            s3_secret_key=SecretStr(secret),
            s3_bucket="tests",
        )
        self.client = boto3.client(
            "s3",
            endpoint_url=self.settings.s3_url,
            region_name=self.settings.s3_region,
            aws_access_key_id=self.settings.s3_access_key,
            aws_secret_access_key=self.settings.s3_secret_key.get_secret_value(),
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        super().__init__(folder, lambda: minio.command(self.settings), self._serves)

    def _serves(self) -> None:
        """It says that it is ready some moments before it knows who may ask."""
        probes.minio(self.settings)
        try:
            self.client.list_buckets()
        except ClientError as error:
            raise probes.UnhealthyError(str(error)) from None

    def start(self) -> None:
        super().start()
        if self.settings.bucket not in {bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]}:
            self.client.create_bucket(Bucket=self.settings.bucket)

    def keys(self, prefix: str = "") -> list[str]:
        """The names of the objects, sorted."""
        listed = self.client.list_objects_v2(Bucket=self.settings.bucket, Prefix=prefix).get("Contents", [])
        return sorted(item["Key"] for item in listed)

    def clear(self) -> None:
        """Remove all objects."""
        for key in self.keys():
            self.client.delete_object(Bucket=self.settings.bucket, Key=key)


class PostgresServer(Server):
    """A database server as it is deployed, with its roles. Its folder goes with it: pytest's are closed to its user."""

    def __init__(self) -> None:
        if postgres.binaries() is None:
            try:
                postgres.install(Shell(Console(io.StringIO())))
            except (InstallError, OSError) as error:
                pytest.skip(f"PostgreSQL cannot be had: {error}")
        self._home = Path(tempfile.mkdtemp(prefix="crypto-lakehouse-test-"))
        self._home.chmod(0o755)
        [port] = free_ports(1)
        self.settings = Settings(
            postgres_port=port,
            postgres_password=SecretStr("tester's"),
            serving_owner_password=SecretStr("owner/s"),
            serving_writer_password=SecretStr("writer's"),
            serving_reader_password=SecretStr("reader@s"),
            serving_alerts_password=SecretStr("alert's"),
            dagster_password=SecretStr("dagster's"),
        )
        super().__init__(self._home, lambda: postgres.command(self.settings), lambda: probes.postgres(self.settings))

    def stop(self) -> None:
        """End the sessions, and the server."""
        self._end(signal.SIGINT)  # TERM would wait for the clients to go

    def remove(self) -> None:
        """Stop it, and remove what it kept."""
        self.stop()
        shutil.rmtree(self._home)
