"""What `deploy.sh` says at its end: where everything is, or what is not healthy and why."""

from pathlib import Path

from deployment import env_file, given, prometheus, public
from deployment.services import Service
from shared.settings import Settings

QUERY = '  crypto query "select interval, count(*) from silver.fact_ohlcv group by 1"'


def failure(left: dict[str, Service], reasons: dict[str, str], logs: Path) -> str:
    """What to say of services that did not become healthy: first those that do not wait for another one of them."""
    parts = []
    for name, service in left.items():
        waits = [need for need in service.needs if need in left]
        if waits:
            parts.append(f"{name} waits for {', '.join(waits)}.")
            continue
        log = logs / f"{name}.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:] if log.exists() else []
        shown = "".join(f"\n    | {line[:200]}" for line in lines)
        parts.insert(0, f"{name} is not healthy: {reasons.get(name, '')}. The end of its log, {log}:{shown}")
    cure = (
        "They are tried again for as long as supervisor runs: ./monitor.sh shows them, "
        "./deploy.sh waits for them again, ./stop.sh stops all."
    )
    return "\n✗ ".join([*parts, cure])


def network(settings: Settings, in_docker: bool) -> str:
    """What is open to the network, and to whom."""
    lines = [f"Open to the network at {settings.public_host}, by TLS and a login (docs/recipes/open-to-a-network.md):"]
    for door in public.doors(settings.model_copy(update={"containers": in_docker})):
        who = f"user {settings.public_user}, password: PUBLIC_PASSWORD in .env" if door.login else "its own login"
        lines.append(f"  {door.name:<15}https://{settings.public_host}:{getattr(settings, door.public_port):<7}{who}")
    if in_docker or not settings.is_kafka_elsewhere:
        who = f"SASL_SSL, PLAIN, user {settings.public_user}, password: PUBLIC_KAFKA_PASSWORD in .env"
        lines.append(f"  {'Kafka':<15}{settings.public_host}:{settings.public_kafka_port}  {who}")
    who = f"sslmode=verify-full, database {settings.serving_database}, user {settings.serving_reader}"
    lines.append(f"  {'PostgreSQL':<15}{settings.public_host}:{settings.public_postgres_port}  {who}")
    if not settings.tls_certificate:
        file = "docker compose cp public:/data/var/" if in_docker else f"{settings.state.parent}/"
        lines.append(
            f"  Those who connect trust this authority: {file}{settings.mode}/public/ca.pem{' .' if in_docker else ''}"
        )
    return "\n".join(lines)


def farewell(settings: Settings, in_docker: bool = False) -> str:
    """The addresses, and what to do next. Grafana is there only `in_docker`."""
    host = settings.loopback
    what = "the simulated exchange (demo)" if settings.mode == "demo" else "live Binance"
    places = [
        ("Dashboard", settings.dashboard_port, "prices, portfolios, and whether the data is whole"),
        ("Dagster", settings.dagster_port, "the assets and their runs"),
        ("Spark master", settings.spark_master_ui_port, ""),
        ("Spark jobs", settings.spark_ui_port, "each materialization by its name"),
        ("MinIO console", settings.minio_console_port, "user and password: S3_ACCESS_KEY and S3_SECRET_KEY in .env"),
        ("Metrics", settings.metrics_port, "of streaming, at /metrics"),
        ("Alerts", settings.alerts_port, "of the rules in config/alerts.yaml: /health and /metrics"),
    ]
    if in_docker or prometheus.can_be_had():
        places.append(("Prometheus", settings.prometheus_port, "the metrics of all services, and the rules on them"))
    if in_docker and settings.grafana:
        places.append(("Grafana", settings.grafana_port, "user admin, password: GRAFANA_ADMIN_PASSWORD in .env"))
    addresses = "\n".join(f"  {name:<15}http://{host}:{port:<7}{note}".rstrip() for name, port, note in places)
    if not in_docker and not prometheus.can_be_had():
        packages = " ".join(prometheus.PACKAGES)
        addresses += f"\n  {'Prometheus':<15}is not installed: apt-get install {packages}, then ./deploy.sh again"
    who = f"{settings.serving_reader}, password: SERVING_READER_PASSWORD in .env"
    addresses += (
        f"\n  {'PostgreSQL':<15}{host}:{settings.postgres_port}  database {settings.serving_database}, user {who}"
    )
    if settings.has_clickhouse:
        who = f"{settings.serving_reader}, password: CLICKHOUSE_READER_PASSWORD in .env"
        addresses += f"\n  {'ClickHouse':<15}{settings.clickhouse_place}  user {who}"
    if settings.public_host:
        addresses += "\n\n" + network(settings, in_docker)
    values = ", ".join(
        f"{name}={value}" for name, value in given.settings_in_environment().items() if name not in env_file.ALL
    )
    kept = (
        f"\n\nThe environment gave {values}: put that into .env for `crypto` and ./monitor.sh to see it too."
        if values
        else ""
    )
    return f"""
Everything is healthy. Streaming from {what}.

{addresses}

Next:
  . .venv/bin/activate
{QUERY}    (the first candles come after two minutes)
  crypto status
  ./monitor.sh      a live table of services, topics and assets
  edit config/symbols.yaml, and save: streaming follows without a restart
  ./stop.sh         stops everything; the data stays{kept}"""
