"""The one table of the services: what each runs, needs, listens on and may use. Everything else derives from it."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from deployment import bucket, dagster, env_file, jars, kafka, minio, postgres, probes, prometheus, public, spark
from deployment.command import Command
from deployment.paths import PROJECT
from shared.settings import Account, Settings


@dataclass(frozen=True)
class Service:
    """One process that supervisor, or a container, keeps running."""

    name: str
    command: Callable[[Settings], Command]
    """Prepares what the service needs and gives the program to become."""
    probe: Callable[[Settings], None]
    memory_mb: int
    """What its container may take at most; those that always run fit 8 GB in all."""
    needs: tuple[str, ...] = ()
    """The services that must answer before it starts."""
    prepare: Callable[[Settings], None] = lambda _settings: None
    """What is done before each start, once these answer. Where it fails the service ends, and is started again."""
    installs: Callable[[], bool] = lambda: True
    """Is what `deploy.sh` installs for it there?"""
    ports: tuple[str, ...] = ()
    """The settings of the ports that it listens on."""
    code: tuple[str, ...] = ()
    """Files and folders of the project; a change of them restarts it."""
    reads: tuple[str, ...] = ()
    """The settings whose names begin so; a change of them restarts it. Secrets are none of them."""
    secrets: tuple[str, ...] = ()
    """The secrets that it is given; a change of them restarts it."""
    listens_at: str = "bind_address"
    """The setting of the address at which its ports are."""
    account: Account | None = None
    """As whom it reaches the bucket: with our MinIO it has the keys of this account, and no other."""
    unless: str = ""
    """The setting that names another one in its stead; then it is not started."""
    mode: str = ""
    """It belongs to this mode alone."""
    only_with: str = ""
    """What the settings must say for it to be started; in Docker it has a profile of its own name."""
    can_be_had: Callable[[], bool] = lambda: True
    """Is it there, or to be installed? Where neither, the others go on without it."""
    goes_first: bool = False
    """People wait for its answers, which cost little: it goes before what computes, where we may say so."""
    stop_signal: str = "TERM"
    stop_seconds: int = 20


def _module(name: str) -> Callable[[Settings], Command]:
    return lambda _settings: Command((sys.executable, "-m", name))


_ALWAYS_READ = ("mode", "bind_address", "containers", "log_format", "memory_profile")
_PYTHON = ("requirements.lock", "shared")
_LAKE = ("lake_", "s3_", "minio_port", "kafka_", "spark_", "postgres_")
_EXCHANGE = ("binance_", "simulator_port", "symbols_file", "active_symbols")
_STREAM = (*_EXCHANGE, "kafka_", "stream_", "metrics_port", "raw_archive", "s3_", "minio_port")
_KEYS = ("S3_ACCESS_KEY", "S3_SECRET_KEY")
_PORTS = tuple(name for name in Settings.model_fields if name.endswith("_port"))
_DAGSTER = (
    "config/dagster.yaml",
    "config/workspace.yaml",
    "crypto_pipeline/dagster_launcher.py",
    "crypto_pipeline/dagster_storage.py",
    "deployment/dagster.py",
    "requirements.lock",
)

TABLE = (
    Service(
        name="kafka",
        command=kafka.command,
        probe=probes.kafka,
        memory_mb=560,
        installs=lambda: jars.folder("kafka").is_dir(),
        ports=("kafka_port", "kafka_controller_port", "kafka_login_port"),
        code=("config/kafka", "config/jars/kafka", "config/retention.yaml", "deployment/kafka.py"),
        reads=(
            "kafka_port",
            "kafka_controller_port",
            "kafka_login_port",
            "public_host",
            "public_user",
            "public_kafka_port",
            "retention_file",
        ),
        secrets=("PUBLIC_KAFKA_PASSWORD",),
        unless="is_kafka_elsewhere",
        stop_seconds=40,
    ),
    Service(
        name="minio",
        command=minio.command,
        probe=probes.minio,
        memory_mb=400,
        installs=lambda: minio.program() is not None,
        ports=("minio_port", "minio_console_port"),
        code=("deployment/minio.py",),
        reads=("minio_", "s3_region"),
        secrets=_KEYS,
        unless="s3_endpoint",
    ),
    Service(
        name="bucket",
        command=bucket.command,
        prepare=bucket.prepare,
        probe=probes.bucket,
        memory_mb=104,
        needs=("minio",),
        code=("deployment/bucket.py", *_PYTHON),
        reads=("s3_", "minio_port"),
        secrets=tuple(name for name in env_file.SECRETS if name.startswith("S3_")),
    ),
    Service(
        name="postgres",
        command=postgres.command,
        probe=probes.postgres,
        memory_mb=208,
        goes_first=True,
        installs=lambda: postgres.binaries() is not None,
        ports=("postgres_port",),
        code=("deployment/postgres.py",),
        reads=("postgres_",),
        secrets=(
            "POSTGRES_PASSWORD",
            "DAGSTER_PASSWORD",
            "SERVING_OWNER_PASSWORD",
            "SERVING_WRITER_PASSWORD",
            "SERVING_READER_PASSWORD",
            "SERVING_ALERTS_PASSWORD",
        ),
        stop_signal="INT",  # TERM would wait for the clients to go
    ),
    Service(
        name="spark-master",
        command=spark.master,
        probe=probes.spark_master,
        memory_mb=240,
        ports=("spark_master_port", "spark_master_ui_port"),
        code=("config/spark", "requirements.lock", "deployment/spark.py"),
        reads=("spark_master_",),
        unless="spark_remote",
    ),
    Service(
        name="spark-worker",
        command=spark.worker,
        probe=probes.spark_worker,
        memory_mb=2032,
        needs=("spark-master",),
        ports=("spark_worker_ui_port",),
        code=("config/spark", "requirements.lock", "deployment/spark.py"),
        reads=("spark_master_port", "spark_worker_"),
        unless="spark_remote",
    ),
    Service(
        name="spark-connect",
        command=spark.connect,
        probe=probes.spark_connect,
        memory_mb=1600,
        needs=("bucket", "spark-master", "spark-worker"),
        installs=lambda: jars.folder("spark").is_dir(),
        ports=("spark_connect_port", "spark_ui_port"),
        code=(
            "crypto_pipeline",
            "config/indicators.yaml",
            "config/spark",
            "config/jars/spark",
            "deployment/spark.py",
            *_PYTHON,
        ),
        reads=(*_LAKE, "indicators_file"),
        account="lake",
        unless="spark_remote",
        secrets=("KAFKA_PASSWORD",),
    ),
    Service(
        name="dagster-code",
        command=dagster.code,
        prepare=dagster.migrate,
        probe=probes.dagster_code,
        memory_mb=1520,
        needs=("postgres",),
        ports=("dagster_code_port",),
        code=(
            "crypto_pipeline",
            "config/indicators.yaml",
            "config/signals.yaml",
            "serving",
            "shared",
            "streaming",
            *_DAGSTER,
        ),
        reads=(
            *_LAKE,
            *_EXCHANGE,
            "analytics_",
            "candles_first_",
            "clickhouse",
            "dagster_",
            "gold_",
            "history_",
            "imports_",
            "indicators_file",
            "pipeline_",
            "portfolio_file",
            "retention_file",
            "signals_file",
        ),
        secrets=(
            "KAFKA_PASSWORD",
            "DAGSTER_PASSWORD",
            "SERVING_OWNER_PASSWORD",
            "SERVING_WRITER_PASSWORD",
            "CLICKHOUSE_WRITER_PASSWORD",
        ),
        account="lake",
    ),
    Service(
        name="dagster-webserver",
        command=dagster.webserver,
        probe=probes.dagster_webserver,
        memory_mb=208,
        needs=("postgres", "dagster-code"),
        ports=("dagster_port",),
        code=_DAGSTER,
        reads=("postgres_", "dagster_"),
        secrets=("DAGSTER_PASSWORD",),
    ),
    Service(
        name="dagster-daemon",
        command=dagster.daemon,
        probe=probes.dagster_daemon,
        memory_mb=192,
        needs=("postgres", "dagster-code"),
        code=_DAGSTER,
        reads=("postgres_", "dagster_"),
        secrets=("DAGSTER_PASSWORD",),
    ),
    Service(
        name="simulator",
        command=_module("streaming.simulator"),
        probe=probes.simulator,
        memory_mb=128,
        ports=("simulator_port",),
        code=("streaming/simulator", *_PYTHON),
        reads=("simulator_", "symbols_file", "active_symbols"),
        mode="demo",
    ),
    Service(
        name="streaming",
        command=_module("streaming.service"),
        probe=probes.streaming,
        memory_mb=320,
        needs=("kafka", "simulator"),
        ports=("metrics_port",),
        code=("streaming", *_PYTHON),
        reads=_STREAM,
        account="streaming",
        stop_seconds=40,
        secrets=("KAFKA_PASSWORD",),
    ),
    Service(
        name="alerts",
        command=_module("alerts.service"),
        probe=probes.alerts,
        memory_mb=112,
        needs=("kafka", "postgres"),
        ports=("alerts_port",),
        code=("alerts", "deployment/probes.py", "deployment/prometheus.py", *_PYTHON),
        reads=(
            "alertmanager_port",
            "alerts_",
            "dagster_port",
            "imports_",
            "kafka_",
            "postgres_",
            "s3_endpoint",
            "symbols_file",
            "active_symbols",
        ),
        secrets=("KAFKA_PASSWORD", "SERVING_READER_PASSWORD", "SERVING_ALERTS_PASSWORD"),
    ),
    Service(
        name="clickhouse-trades",
        command=_module("serving.clickhouse.service"),
        probe=probes.clickhouse_trades,
        memory_mb=256,
        needs=("kafka",),
        ports=("clickhouse_trades_port",),
        code=(
            "serving/clickhouse",
            "alerts/stream.py",
            "crypto_pipeline/contracts.json",
            "crypto_pipeline/contracts.py",
            *_PYTHON,
        ),
        reads=("clickhouse", "kafka_"),
        secrets=("KAFKA_PASSWORD", "CLICKHOUSE_WRITER_PASSWORD"),
        only_with="has_clickhouse",
    ),
    Service(
        name="monitoring",
        command=_module("monitoring.service"),
        probe=probes.monitoring,
        memory_mb=112,
        ports=("monitoring_port",),
        code=(
            "monitoring/sources",
            "monitoring/service.py",
            "monitoring/asking.py",
            "alerts",
            "deployment",
            "serving/clickhouse",
            *_PYTHON,
        ),
        reads=("clickhouse", "kafka_", "postgres_", "s3_", *_PORTS),
        secrets=("KAFKA_PASSWORD", "SERVING_READER_PASSWORD", "CLICKHOUSE_READER_PASSWORD"),
        account="reader",
    ),
    Service(
        name="prometheus",
        command=prometheus.command,
        probe=probes.prometheus,
        memory_mb=120,
        installs=prometheus.is_installed,
        can_be_had=prometheus.can_be_had,
        ports=("prometheus_port",),
        code=("config/prometheus", "deployment/prometheus.py"),
        reads=(
            "prometheus_",
            "alertmanager_port",
            "alerts_port",
            "clickhouse",
            "metrics_port",
            "monitoring_",
            "spark_ui_port",
        ),
    ),
    Service(
        name="alertmanager",
        command=prometheus.alertmanager_command,
        probe=probes.alertmanager,
        memory_mb=64,
        installs=prometheus.is_installed,
        can_be_had=prometheus.can_be_had,
        ports=("alertmanager_port",),
        code=("config/prometheus/alertmanager.yml", "deployment/prometheus.py"),
        reads=("alertmanager_port",),
    ),
    Service(
        name="dashboard",
        command=_module("dashboard"),
        probe=probes.dashboard,
        memory_mb=272,
        goes_first=True,
        needs=("kafka", "postgres"),
        ports=("dashboard_port",),
        code=("alerts", "config/indicators.yaml", "crypto_pipeline", "dashboard", "deployment", *_PYTHON),
        reads=(
            *_LAKE,
            "analytics_",
            "dagster_port",
            "dashboard_",
            "imports_",
            "indicators_file",
            "metrics_port",
            "simulator_port",
            "spark_",
        ),
        secrets=("KAFKA_PASSWORD", "SERVING_READER_PASSWORD"),
        account="reader",
    ),
    Service(
        name="public",
        command=public.command,
        probe=probes.public,
        memory_mb=192,
        installs=public.is_installed,
        ports=tuple(name for name in Settings.model_fields if name.startswith("public_") and name.endswith("_port")),
        listens_at="public_address",
        code=(
            "config/public",
            "deployment/certificates.py",
            "deployment/doorkeeper.py",
            "deployment/public.py",
            *_PYTHON,
        ),
        reads=("public_", "tls_", "kafka_broker", "kafka_bootstrap_", "postgres_host", *_PORTS),
        secrets=("PUBLIC_PASSWORD", "PUBLIC_TOKEN"),
        only_with="public_host",
        stop_seconds=30,
    ),
)


def table(settings: Settings) -> dict[str, Service]:
    """The services of this deployment, by name: without what belongs to the other mode, is had elsewhere or nowhere."""
    return {
        service.name: service
        for service in TABLE
        if service.mode in ("", settings.mode)
        and (not service.only_with or getattr(settings, service.only_with))
        and service.can_be_had()
        and (settings.containers or not (service.unless and getattr(settings, service.unless)))
    }


def tiers(services: Iterable[Service]) -> list[list[Service]]:
    """The services in the order of starting: each tier needs only those before it."""
    left = list(services)
    names = {service.name for service in left}
    placed: set[str] = set()
    order: list[list[Service]] = []
    while left:
        tier = [service for service in left if set(service.needs) & names <= placed]
        if not tier:
            raise ValueError(f"services need each other in a ring: {', '.join(service.name for service in left)}")
        order.append(tier)
        placed.update(service.name for service in tier)
        left = [service for service in left if service.name not in placed]
    return order


def paths(service: Service) -> tuple[Path, ...]:
    """The files and folders that the service is made of."""
    return tuple(PROJECT / path for path in service.code)


def values(service: Service, settings: Settings) -> dict[str, object]:
    """The settings that the service reads, and the secrets that it is given."""
    prefixes = (*_ALWAYS_READ, *service.reads)
    plain = {
        name: value
        for name, value in sorted(settings.model_dump().items())
        if name.startswith(prefixes) and name.upper() not in env_file.ALL
    }
    return plain | secrets(service, settings)


def secrets(service: Service, settings: Settings) -> dict[str, str]:
    """The secrets that the service is given, by the names of their settings."""
    theirs = settings.as_account(service.account) if service.account else settings
    names = (*service.secrets, *(_KEYS if service.account else ()))
    return {name: _revealed(getattr(theirs, name.lower())) for name in names}


def environment(service: Service, settings: Settings) -> dict[str, str]:
    """What stands in the service's environment for each secret, its own or nothing, so that `.env` is not asked."""
    return dict.fromkeys(env_file.ALL, "") | secrets(service, settings)


def _revealed(value: SecretStr | str) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
