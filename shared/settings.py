"""Every setting, read once from the environment and files; no other module reads the environment.

A setting is the upper-case name of its field: `KAFKA_PORT=19092 ./deploy.sh`, or the same line in `.env`. It comes from
the first of these that has it: the environment, `.env.<ENVIRONMENT>`, `.env`, a file of its name in `SECRETS_DIR`.
"""

import ipaddress
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, get_args
from urllib.parse import quote, urlsplit

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.broker import EVENT_HUBS_USER, Broker

PROJECT = Path(__file__).resolve().parent.parent

LogFormat = Literal["text", "json"]
Port = Annotated[int, Field(ge=1, le=65535)]
Account = Literal["streaming", "lake", "reader"]
"""An account in our MinIO: streaming's; that of Spark and Dagster, which fill the lake; that of all who only read."""
Symbols = Annotated[str, BeforeValidator(lambda value: str(value).strip())]

_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
"""A host's name, or an IPv4 address."""
_PLACES = re.compile(r"[^\s:,]+:\d{1,5}(,[^\s:,]+:\d{1,5})*")


def home() -> Path:
    """The folder of `.env` and `var/`: the checkout, unless `CRYPTO_HOME` names another (tests do)."""
    return Path(os.environ.get("CRYPTO_HOME", PROJECT)).resolve()


def env_file() -> Path:
    """The file of the settings."""
    return home() / ".env"


def env_files() -> list[Path]:
    """The files of settings, the one that wins first: `.env.<ENVIRONMENT>`, which need not be there, and `.env`."""
    return [env_file().with_name(f".env.{_before('ENVIRONMENT', 'development')}"), env_file()]


def _secrets_dir() -> Path | None:
    """The folder, where one is named, in which a file is the value of the setting whose name it has."""
    named = _before("SECRETS_DIR", "")
    return Path(named) if named else None


def _before(name: str, default: str) -> str:
    """A setting that says where the others are: it stands in the environment or in `.env` itself."""
    return os.environ.get(name) or dotenv_values(env_file(), interpolate=False).get(name) or default


def _found(name: str) -> tuple[str, str]:
    """Where a setting comes from, and its value; empty where nobody gives it."""
    if value := os.environ.get(name):
        return "the environment", value
    for path in env_files():
        if value := dotenv_values(path, interpolate=False).get(name):
            return str(path), value
    folder = _secrets_dir()
    for path in (folder / name, folder / name.lower()) if folder else ():
        if path.is_file():
            return str(path), path.read_text(encoding="utf-8").strip()
    return "", ""


def secret(name: str) -> str:
    """A secret that `config/alerts.yaml` names, from where settings come from.

    Raises `KeyError` where it is not set, or where its name does not begin with `ALERTS_`: no other is given away.
    """
    _, value = _found(name)
    if not value or not name.startswith("ALERTS_"):
        raise KeyError(name)
    return value


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


class SettingsError(Exception):
    """A setting that cannot be used; the message says which, why, and what would be right."""


class Settings(BaseSettings):
    """The settings of one deployment. Ports are all on loopback; `public_host` opens others to the network."""

    model_config = SettingsConfigDict(env_file_encoding="utf-8", extra="ignore", frozen=True)

    mode: Literal["demo", "live"] = Field("live", alias="CRYPTO_MODE")
    """`demo` streams from the simulator, `live` from the exchanges. They share no bucket, topic or database."""
    environment: Literal["development", "staging", "production"] = "development"
    """Whose `.env.<ENVIRONMENT>` wins over `.env`. It stands in the environment or in `.env`, as `SECRETS_DIR` does."""
    secrets_dir: str = ""
    """A folder of files that are the values of the settings whose names they have, as Docker mounts its secrets."""
    memory_profile: Literal["6g", "8g"] = Field("8g", alias="MEMORY_PROFILE")
    bind_address: str = "127.0.0.1"
    containers: bool = False
    """In Docker, where each service is another host of its own name; `docker-compose.yml` sets it."""
    log_format: LogFormat = "text"
    """`json`: every log has an object a line, for what gathers logs; `text`: lines for people."""

    kafka_port: Port = 9092
    kafka_controller_port: Port = 9093
    minio_port: Port = 9000
    minio_console_port: Port = 9001
    postgres_port: Port = 5432
    spark_master_port: Port = 7077
    spark_master_ui_port: Port = 8080
    spark_worker_ui_port: Port = 8081
    spark_ui_port: Port = 4040
    spark_connect_port: Port = 15002
    dagster_port: Port = 3000
    dagster_code_port: Port = 4266
    metrics_port: Port = 8000
    alerts_port: Port = 8010
    monitoring_port: Port = 8020
    prometheus_port: Port = 9090
    alertmanager_port: Port = 9095
    grafana: bool = True
    """Is Grafana started? It runs in Docker alone, from its makers' image."""
    grafana_port: Port = 3001
    simulator_port: Port = 8100
    dashboard_port: Port = 8050
    clickhouse_port: Port = 8123
    clickhouse_trades_port: Port = 8030

    kafka_bootstrap_servers: str = ""
    """Another Kafka than the one that `deploy.sh` starts, without a login: `host:port[,host:port]`."""
    kafka_broker: str = ""
    """The same; with `kafka_password` over TLS and with a login: Azure Event Hubs, or one of ours that is public."""
    kafka_username: str = ""
    """Who we are there; empty: `$ConnectionString`, as Event Hubs wants it."""
    kafka_password: SecretStr = SecretStr("")
    kafka_ca: Path | None = None
    """A PEM file: the authority that signed the broker's certificate, where it is no public one."""
    kafka_topic: str = ""
    """One topic for everything, keyed by symbol, where topics are few (Azure Event Hubs). Empty: a topic a symbol."""
    kafka_linger_ms: Annotated[int, Field(ge=0, le=1000)] = 50
    spark_remote: str = ""
    """Another Spark Connect server: `sc://host:port`."""
    spark_jars: Path | None = None
    """The folder of Spark's extra jars; `deploy.sh` fills it in for the Connect server."""
    s3_endpoint: str = ""
    """Another object store than our MinIO: `https://host`."""
    s3_bucket: str = ""
    s3_access_key: str = ""
    s3_secret_key: SecretStr = SecretStr("")
    """In `.env` of our MinIO's root, or of the other store; in a service of its own account."""
    s3_region: str = "us-east-1"
    s3_streaming_access_key: str = ""
    s3_streaming_secret_key: SecretStr = SecretStr("")
    """The account in our MinIO that adds to the raw archive."""
    s3_lake_access_key: str = ""
    s3_lake_secret_key: SecretStr = SecretStr("")
    """The account of Spark and Dagster, which fill the tables."""
    s3_reader_access_key: str = ""
    s3_reader_secret_key: SecretStr = SecretStr("")
    """The account in our MinIO that may read the bucket and nothing else: give it to who does research elsewhere."""
    backup_s3_endpoint: str = ""
    """The object store of `crypto backup --to s3://…`: `https://host`; empty: Amazon's."""
    backup_s3_access_key: str = ""
    backup_s3_secret_key: SecretStr = SecretStr("")
    """Its keys; empty: as Amazon's own tools find theirs."""
    backup_s3_region: str = "us-east-1"
    postgres_host: str = "127.0.0.1"
    postgres_user: str = "crypto"
    postgres_password: SecretStr = SecretStr("")
    postgres_database: str = "dagster"
    dagster_role: ClassVar[str] = "crypto_dagster"
    """Whom that database belongs to: Dagster's webserver, daemon and runs."""
    dagster_password: SecretStr = SecretStr("")
    serving_database: ClassVar[str] = "lake"
    """Where the lake's tables stand for other tools, in the same PostgreSQL."""
    serving_owner: ClassVar[str] = "lake_owner"
    """Whom its tables belong to: who migrates."""
    serving_owner_password: SecretStr = SecretStr("")
    serving_writer: ClassVar[str] = "lake_writer"
    """Who fills them, there and in ClickHouse."""
    serving_writer_password: SecretStr = SecretStr("")
    serving_reader: ClassVar[str] = "lake_reader"
    """Who may read them, and nothing else: BI tools, the dashboard, `crypto query --engine postgres|clickhouse`."""
    serving_reader_password: SecretStr = SecretStr("")
    serving_alerts: ClassVar[str] = "crypto_alerts"
    """Whom its schema `alerts` belongs to. Not `alerts_…`, which a file of rules may ask for."""
    serving_alerts_password: SecretStr = SecretStr("")

    clickhouse: bool = False
    """Serve the tables, and the trades from Kafka, in ClickHouse too: in Docker by a server of its own."""
    clickhouse_url: str = ""
    """Another ClickHouse than that: `http://host:8123` or `https://host:8443`. It turns serving there on too."""
    clickhouse_in_docker: ClassVar[int] = 8123
    """The port on which the containers reach our own; `CLICKHOUSE_PORT` is where it is published."""
    clickhouse_writer_password: SecretStr = SecretStr("")
    clickhouse_reader_password: SecretStr = SecretStr("")

    grafana_admin_password: SecretStr = SecretStr("")

    public_host: str = ""
    """What this machine is called by others. It opens what follows to the network, by TLS and a login."""
    public_address: str = "0.0.0.0"  # noqa: S104 (only where public_host is set)
    """Where those ports listen."""
    public_user: str = "crypto"
    public_password: SecretStr = SecretStr("")
    """With `public_user` the login of the pages: dashboard, Dagster, Spark, Prometheus."""
    public_token: SecretStr = SecretStr("")
    """The same for programs, as `Authorization: Bearer …`, at the dashboard alone."""
    public_kafka_password: SecretStr = SecretStr("")
    """With `public_user` the login at Kafka, from the network alone."""
    public_dashboard_port: Port = 18050
    public_dagster_port: Port = 13000
    public_spark_ui_port: Port = 14040
    public_spark_master_ui_port: Port = 18080
    public_minio_port: Port = 19000
    public_minio_console_port: Port = 19001
    public_prometheus_port: Port = 19090
    public_grafana_port: Port = 13001
    public_kafka_port: Port = 19092
    public_postgres_port: Port = 15432
    kafka_login_port: Port = 9096
    """Where Kafka takes in, on loopback, who comes by `public_kafka_port`."""
    tls_certificate: Path | None = None
    """A certificate of yours, with its chain, instead of one that is made; and its key. PEM files."""
    tls_key: Path | None = None

    symbols_file: Path = PROJECT / "config" / "symbols.yaml"
    active_symbols: Symbols = ""
    """Comma-separated symbols that are streamed instead of the enabled ones of `symbols.yaml`."""
    indicators_file: Path = PROJECT / "config" / "indicators.yaml"
    portfolio_file: Path = PROJECT / "config" / "portfolio.yaml"
    signals_file: Path = PROJECT / "config" / "signals.yaml"
    alerts_file: Path = PROJECT / "config" / "alerts.yaml"
    retention_file: Path = PROJECT / "config" / "retention.yaml"
    stream_memory_mb: Annotated[int, Field(ge=8)] = 256
    """What the streaming service may hold in memory while Kafka is away; beyond it, events spool to disk, in order."""
    stream_spool_mb: Annotated[int, Field(ge=0)] = 20_000
    """How much may lie in the spool. When it or the disk is full, nothing more is read from the exchange."""
    raw_archive: bool = True
    """Keep every frame as received, compressed, under `raw/` in the bucket."""
    history_days: Annotated[int, Field(ge=0)] = 30
    """Days of one-minute klines fetched at once for a symbol that is new."""
    history_days_later: Annotated[int, Field(ge=0)] = 400
    """Days of one-minute klines that are there in the end, fetched in the background."""
    imports_pause_percent: Annotated[int, Field(ge=1, le=100)] = 90
    """While so much of the disk is used, imports wait. Streaming never does."""
    binance_ws_url: str = ""
    binance_rest_url: str = ""
    binance_archive_url: str = ""
    """Another address for Binance, such as a simulator's; `CRYPTO_MODE=demo` fills these in."""

    simulator_seed: int = 7
    simulator_rate: Annotated[float, Field(gt=0)] = 2.0
    """Trades a second of the busiest simulated symbol; the others are quieter."""
    simulator_history_hours: Annotated[int, Field(ge=0)] = 402 * 24
    """How long before its first start the simulated market opened."""
    simulator_planted_faults: bool = True
    """The demo cuts its connections in its third minute and then each half hour, so that one sees it heal."""
    simulator_faults: str = ""
    """What goes wrong there instead: a YAML file, or the text itself, such as `chaos`."""

    dashboard_requests_per_minute: Annotated[int, Field(ge=1)] = 12_000
    """What the dashboard's API answers to one address; more is refused with 429."""

    lake_buckets: Annotated[int, Field(ge=1, le=256)] = 1
    """Over how many files each partition of the large tables is spread, by symbol. Fixed once they are made."""

    gold_requires: Literal["", "available", "pending", "degraded"] = ""
    """Gold is made only while the data of each streamed symbol, yesterday's and today's, is in this condition or better
    (in this order). Empty: always; what is not available only warns."""
    pipeline_seconds_after_minute: Annotated[int, Field(ge=0, le=55)] = 5
    """When in each minute the sensor starts the pipeline: late enough for the closed klines to be there."""
    analytics_minutes: Literal["5", "10", "15", "20", "30", "60"] = "5"
    """How often gold is made. On two cores each run of it makes the minute's runs beside it slower."""
    candles_first_seconds: Annotated[int, Field(ge=0)] = 240
    """So long a run of evidence or gold waits, between its tables, for the minute's runs of candles; on a cluster 0."""

    @property
    def state(self) -> Path:
        """Where this deployment keeps its data and logs."""
        return home() / "var" / self.mode

    @property
    def bans(self) -> Path:
        """Where processes tell each other until when an exchange wants to hear nothing."""
        return self.state / "rest"

    @property
    def memory(self) -> Path:
        """Where a run of the pipeline keeps what spares the next one a read; may be lost at any time."""
        return self.state / "memory"

    @property
    def kafka(self) -> str:
        return self.kafka_broker or self.kafka_bootstrap_servers or f"{self.host('kafka')}:{self.kafka_port}"

    @property
    def is_kafka_elsewhere(self) -> bool:
        """Whether it is another one than ours."""
        return bool(self.kafka_broker or (self.kafka_bootstrap_servers and not self.containers))

    @property
    def broker(self) -> Broker:
        """Kafka, with the login where there is one."""
        if not self.kafka_broker or not self.kafka_password.get_secret_value():
            return Broker(self.kafka)
        return Broker(self.kafka, self.kafka_username or EVENT_HUBS_USER, self.kafka_password, self.kafka_ca)

    @property
    def loopback(self) -> str:
        """The address under which our own services find each other."""
        return "127.0.0.1" if self.bind_address == "0.0.0.0" else self.bind_address  # noqa: S104 (compared, not bound)

    def host(self, service: str) -> str:
        """Where our own service of this name is reached from here."""
        return service if self.containers else self.loopback

    @property
    def s3_url(self) -> str:
        return self.s3_endpoint or f"http://{self.host('minio')}:{self.minio_port}"

    @property
    def bucket(self) -> str:
        return self.s3_bucket or ("datalake-demo" if self.mode == "demo" else "datalake")

    def account(self, name: Account) -> tuple[str, SecretStr]:
        """The two keys of an account in our MinIO; empty where this process is not given them."""
        return getattr(self, f"s3_{name}_access_key"), getattr(self, f"s3_{name}_secret_key")

    def as_account(self, name: Account) -> Self:
        """These settings with the keys of this account for the object store.

        As they are with another store than our MinIO, and where the account's keys are not known: then
        `S3_ACCESS_KEY` and `S3_SECRET_KEY` are what this process was given.
        """
        key, secret = self.account(name)
        if self.s3_endpoint or not key:
            return self
        return self.model_copy(update={"s3_access_key": key, "s3_secret_key": secret})

    @property
    def serving_owner_url(self) -> str:
        return self._postgres_url(self.serving_owner, self.serving_owner_password, self.serving_database)

    @property
    def serving_writer_url(self) -> str:
        return self._postgres_url(self.serving_writer, self.serving_writer_password, self.serving_database)

    @property
    def serving_reader_url(self) -> str:
        """The address of the serving database with its read-only role, as libpq and SQLAlchemy take it."""
        return self._postgres_url(self.serving_reader, self.serving_reader_password, self.serving_database)

    @property
    def alerts_url(self) -> str:
        """The address of the serving database with the role whose the tables of alerts are."""
        return self._postgres_url(self.serving_alerts, self.serving_alerts_password, self.serving_database)

    @property
    def dagster_url(self) -> str:
        """The address of Dagster's database with its role."""
        return self._postgres_url(self.dagster_role, self.dagster_password, self.postgres_database)

    def superuser_url(self, database: str) -> str:
        """The address of a database with PostgreSQL's superuser."""
        return self._postgres_url(self.postgres_user, self.postgres_password, database)

    def _postgres_url(self, role: str, password: SecretStr, database: str) -> str:
        login = f"{quote(role, safe='')}:{quote(password.get_secret_value(), safe='')}"
        return f"postgresql://{login}@{self.postgres_host}:{self.postgres_port}/{quote(database, safe='')}"

    @property
    def has_clickhouse(self) -> bool:
        """Whether anything is served in ClickHouse."""
        return self.clickhouse or bool(self.clickhouse_url)

    @property
    def clickhouse_address(self) -> str:
        """Where ClickHouse answers HTTP."""
        port = self.clickhouse_in_docker if self.containers else self.clickhouse_port
        return self.clickhouse_url or f"http://{self.host('clickhouse')}:{port}"

    @property
    def clickhouse_place(self) -> str:
        """The same in words: what stands before an `@` may be a secret."""
        return urlsplit(self.clickhouse_address).netloc.rpartition("@")[2]

    @property
    def spark_connect_url(self) -> str:
        return self.spark_remote or f"sc://{self.host('spark-connect')}:{self.spark_connect_port}"

    @property
    def alertmanager_url(self) -> str:
        return f"http://{self.host('alertmanager')}:{self.alertmanager_port}"

    @property
    def simulator_url(self) -> str:
        return f"http://{self.host('simulator')}:{self.simulator_port}"

    @property
    def simulator_ws_url(self) -> str:
        return f"ws://{self.host('simulator')}:{self.simulator_port}"

    @classmethod
    def load(cls) -> Self:
        """The settings from where they come from. Raises `SettingsError`, which names each fault and its place."""
        try:
            folder = _secrets_dir()
            if folder and not folder.is_dir():
                raise SettingsError(f"Wrong setting: SECRETS_DIR in {_found('SECRETS_DIR')[0]} is {folder}: no folder.")
            files = env_files()[::-1]  # the last one wins
            return cls(_env_file=files, _secrets_dir=folder)  # type: ignore[call-arg]
        except ValidationError as error:
            faults = []
            for fault in error.errors():
                name = str(fault["loc"][0]).upper()
                where = _found(name)[0] or "the environment"
                faults.append(f"{name} is {fault['input']!r} in {where}: {fault['msg'].lower()}")
            raise SettingsError(f"Wrong setting: {'; '.join(faults)}. Mend it there.") from None
        except (OSError, UnicodeDecodeError) as error:
            place = f"{env_file()}, .env.<ENVIRONMENT> beside it or SECRETS_DIR"
            raise SettingsError(f"A file of settings ({place}) cannot be read as UTF-8: {error}. Mend it.") from None

    def check(self) -> None:
        """Whether a deployment can start with these settings; a secret that `deploy.sh` makes may be missing.

        Raises `SettingsError`, which names each fault, its place and its cure.
        """
        faults = [*self._kafka_faults(), *self._public_faults()]
        for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY"):
            if self.s3_endpoint and not _found(name)[1]:
                where = _found("S3_ENDPOINT")[0]
                faults.append(f"{name} is missing: S3_ENDPOINT in {where} names a store. Put its key into {env_file()}")
        if not self.s3_endpoint:
            for name in ("S3_SECRET_KEY", *(f"S3_{account.upper()}_SECRET_KEY" for account in get_args(Account))):
                where, value = _found(name)
                is_long = len(value) > 40 and name != "S3_SECRET_KEY"  # root's may be
                if value and (len(value) < 8 or is_long):
                    cure = "Take it out there, and ./deploy.sh makes one"
                    faults.append(f"{name} in {where} has {len(value)} characters, and MinIO takes 8 to 40. {cure}")
        if faults:
            raise SettingsError(f"Wrong setting: {'; '.join(faults)}.")

    def _kafka_faults(self) -> Iterator[str]:
        where = _found("KAFKA_BROKER")[0]
        if self.kafka_broker and not _PLACES.fullmatch(self.kafka_broker):
            yield f"KAFKA_BROKER in {where} is {self.kafka_broker!r}, and must be host:port"
        for name in ("KAFKA_USERNAME", "KAFKA_PASSWORD"):
            if not self.kafka_broker and (given := _found(name)[0]):
                yield f"{name} in {given} needs KAFKA_BROKER, the host:port that it is for"
        if self.kafka_broker and self.kafka_username and not self.kafka_password.get_secret_value():
            yield f"KAFKA_PASSWORD is missing, and KAFKA_USERNAME in {_found('KAFKA_USERNAME')[0]} needs it"
        if self.kafka_ca and not self.kafka_ca.is_file():
            yield f"KAFKA_CA in {_found('KAFKA_CA')[0]} is {self.kafka_ca}: no file"

    def _public_faults(self) -> Iterator[str]:
        if not self.containers and not _is_loopback(self.bind_address):
            where = _found("BIND_ADDRESS")[0]
            yield (
                f"BIND_ADDRESS in {where} is {self.bind_address}, where all would be open to a network without a "
                "login. Take it out, and set PUBLIC_HOST to what this machine is called there"
            )
        if self.public_host and not _NAME.fullmatch(self.public_host):
            where = _found("PUBLIC_HOST")[0]
            yield f"PUBLIC_HOST in {where} is {self.public_host!r}, and must be a name or IPv4 address, without a port"
        if bool(self.tls_certificate) != bool(self.tls_key):
            yield "TLS_CERTIFICATE and TLS_KEY belong together, and only one is set"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, which reads the bucket; to write there `as_account` gives those of who may."""
    return Settings.load().as_account("reader")
