"""Is a service there? Each probe speaks the service's own protocol; `UnhealthyError` says why not."""

import http.client
import json
import socket
import ssl
import struct
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from shared.broker import BrokerAway, LoginRefused
from shared.settings import Settings

PATIENCE = 4.0
"""Seconds that a probe waits for its answer."""
HEARTBEAT_SECONDS = 90
"""Dagster's daemons report every 30 s."""


class UnhealthyError(Exception):
    """Why a service is not to be used now."""


class LoginRefusedError(UnhealthyError):
    """It is there, and does not know who we say that we are."""


def kafka(settings: Settings) -> None:
    """The broker takes requests, and lets us in. Raises `LoginRefusedError` where it does not know us."""
    try:
        settings.broker.ask(PATIENCE)
    except LoginRefused as refused:
        raise LoginRefusedError(str(refused)) from None
    except BrokerAway as away:
        raise UnhealthyError(str(away)) from None


def minio(settings: Settings) -> None:
    """The object store is ready to serve."""
    get(f"http://{settings.host('minio')}:{settings.minio_port}/minio/health/ready")


def bucket(settings: Settings) -> None:
    """The bucket is there, and lets an account in that may list it."""
    import urllib3
    from minio import Minio
    from minio.error import MinioException
    from urllib3.exceptions import HTTPError

    ours = settings.as_account("reader")
    url = urlsplit(ours.s3_url)
    patience = urllib3.PoolManager(timeout=PATIENCE, retries=False)
    try:
        store = Minio(
            endpoint=url.netloc,
            access_key=ours.s3_access_key,
            secret_key=ours.s3_secret_key.get_secret_value(),
            secure=url.scheme == "https",
            region=ours.s3_region,
            http_client=patience,
        )
        is_there = store.bucket_exists(bucket_name=ours.bucket)
    except MinioException as error:
        raise UnhealthyError(f"{ours.s3_url} refuses our account ({getattr(error, 'code', error)})") from None
    except (HTTPError, ValueError) as error:
        raise UnhealthyError(f"no answer from {ours.s3_url} ({_reason(error)})") from None
    finally:
        patience.clear()
    if not is_there:
        raise UnhealthyError(f"there is no bucket {ours.bucket} at {ours.s3_url} yet")


def postgres(settings: Settings) -> None:
    """The database lets us in, as the first role whose password we were given."""
    import psycopg2

    roles = (
        (settings.postgres_password, settings.superuser_url(settings.postgres_database)),
        (settings.dagster_password, settings.dagster_url),
        (settings.serving_alerts_password, settings.alerts_url),
    )
    address = next((url for password, url in roles if password.get_secret_value()), settings.serving_reader_url)
    try:
        connection = psycopg2.connect(address, connect_timeout=2)
    except psycopg2.OperationalError as error:
        raise UnhealthyError(str(error).strip().splitlines()[0]) from None
    connection.close()


def spark_master(settings: Settings) -> None:
    """The master is alive, and not recovering."""
    status = _master(settings).get("status")
    if status != "ALIVE":
        raise UnhealthyError(f"the master is {status}")


def spark_worker(settings: Settings) -> None:
    """A worker has registered with the master."""
    if not any(worker.get("state") == "ALIVE" for worker in _master(settings).get("workers", ())):
        raise UnhealthyError("no worker has registered with the master")


def spark_connect(settings: Settings) -> None:
    """The Connect server takes gRPC connections, which it does when it is warm."""
    _grpc(settings.host("spark-connect"), settings.spark_connect_port, "")


def dagster_code(settings: Settings) -> None:
    """The code server says that it serves."""
    _grpc(settings.host("dagster-code"), settings.dagster_code_port, "DagsterApi")


def dagster_webserver(settings: Settings) -> None:
    """The GraphQL endpoint answers, and our code has loaded."""
    entries = "locationEntries{loadStatus locationOrLoadError{...on PythonError{message}}}"
    query = "{workspaceOrError{...on Workspace{" + entries + "}}}"
    for entry in graphql(settings, query)["workspaceOrError"].get("locationEntries", ()):
        if entry["loadStatus"] == "LOADING":
            raise UnhealthyError("the code is loading")
        if message := (entry["locationOrLoadError"] or {}).get("message"):
            raise UnhealthyError(f"the code in crypto_pipeline does not load: {message.strip().splitlines()[-1]}")


def dagster_daemon(settings: Settings) -> None:
    """Every daemon that is needed has reported of late, as the webserver has it."""
    query = "{instance{daemonHealth{allDaemonStatuses{daemonType required lastHeartbeatTime}}}}"
    statuses = graphql(settings, query)["instance"]["daemonHealth"]["allDaemonStatuses"]
    oldest = time.time() - HEARTBEAT_SECONDS
    late = [
        status["daemonType"]
        for status in statuses
        if status["required"] and (status["lastHeartbeatTime"] or 0) < oldest
    ]
    if late:
        raise UnhealthyError(f"no heartbeat from {', '.join(sorted(late))}")


def simulator(settings: Settings) -> None:
    """The simulated exchange answers REST."""
    get(f"{settings.simulator_url}/api/v3/ping")


def streaming(settings: Settings) -> None:
    """The service shows its metrics."""
    get(f"http://{settings.host('streaming')}:{settings.metrics_port}/metrics")


def alerts(settings: Settings) -> None:
    """The rules on trades are evaluated, and the alerts can be kept."""
    get(f"http://{settings.host('alerts')}:{settings.alerts_port}/health")


def clickhouse_trades(settings: Settings) -> None:
    """Trades are followed, and ClickHouse takes them."""
    get(f"http://{settings.host('clickhouse-trades')}:{settings.clickhouse_trades_port}/health")


def monitoring(settings: Settings) -> None:
    """The service shows its metrics."""
    get(f"http://{settings.host('monitoring')}:{settings.monitoring_port}/metrics")


def prometheus(settings: Settings) -> None:
    """The server takes queries."""
    get(f"http://{settings.host('prometheus')}:{settings.prometheus_port}/-/ready")


def alertmanager(settings: Settings) -> None:
    """Alerts are taken."""
    get(f"{settings.alertmanager_url}/-/ready")


def dashboard(settings: Settings) -> None:
    """The page is served."""
    get(f"http://{settings.host('dashboard')}:{settings.dashboard_port}/health")


def public(settings: Settings) -> None:
    """The pages ask over TLS who is there, and PostgreSQL's port speaks TLS. Whose certificate it is is not asked."""
    host = (
        settings.host("public") if settings.containers or _is_any(settings.public_address) else settings.public_address
    )
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    asked = http.client.HTTPSConnection(host, settings.public_dashboard_port, timeout=PATIENCE, context=trusting)
    try:
        asked.request("GET", "/", headers={"Host": settings.public_host})
        if (code := asked.getresponse().status) != http.HTTPStatus.UNAUTHORIZED:
            raise UnhealthyError(f"{host}:{settings.public_dashboard_port} answers {code} to who has no login")
        with socket.create_connection((host, settings.public_postgres_port), timeout=PATIENCE) as connection:
            connection.sendall(struct.pack(">ii", 8, 80877103))  # SSLRequest
            if connection.recv(1) != b"S":
                raise UnhealthyError(f"{host}:{settings.public_postgres_port} speaks no TLS")
    except (OSError, http.client.HTTPException) as error:
        raise UnhealthyError(f"no answer from the public ports at {host} ({_reason(error)})") from None
    finally:
        asked.close()


def _is_any(address: str) -> bool:
    return address == "0.0.0.0"  # noqa: S104 (compared, not bound)


def get(url: str, body: bytes | None = None, patience: float = PATIENCE) -> bytes:
    """What a service of ours answers to GET, or to POST of a JSON body, within so many seconds."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"} if body else {})  # noqa: S310 (http)
    try:
        # No proxy: these are our own services.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=patience) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        raise UnhealthyError(f"{url} answers {error.code}") from None
    except (OSError, ValueError) as error:
        raise UnhealthyError(f"no answer from {url} ({_reason(error)})") from None


def _master(settings: Settings) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        get(f"http://{settings.host('spark-master')}:{settings.spark_master_ui_port}/json/")
    )
    return answer


def graphql(settings: Settings, query: str, patience: float = PATIENCE) -> dict[str, Any]:
    """The data that Dagster's webserver answers."""
    body = json.dumps({"query": query}).encode()
    place = f"http://{settings.host('dagster-webserver')}:{settings.dagster_port}/graphql"
    answer = json.loads(get(place, body, patience))
    if not answer.get("data"):
        raise UnhealthyError("the webserver's GraphQL answers with an error")
    data: dict[str, Any] = answer["data"]
    return data


def firing(settings: Settings) -> list[dict[str, Any]]:
    """The alerts of Alertmanager that are active, neither silenced nor inhibited, as its API has them."""
    asked = f"{settings.alertmanager_url}/api/v2/alerts?active=true&silenced=false&inhibited=false"
    found: list[dict[str, Any]] = json.loads(get(asked))
    return found


def _grpc(host: str, port: int, service: str) -> None:
    """A channel comes up; with `service`, its health check says that it serves."""
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()  # a refusal costs nothing, a channel does
    except OSError as error:
        raise UnhealthyError(f"no answer on {host}:{port} ({_reason(error)})") from None
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=PATIENCE)
        except grpc.FutureTimeoutError:
            raise UnhealthyError(f"no gRPC answer on {host}:{port}") from None
        if not service:
            return
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE
            )
        except grpc.RpcError as error:
            raise UnhealthyError(f"the health check on {host}:{port} failed ({error.code().name})") from None
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise UnhealthyError(f"{host}:{port} does not serve yet")


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    return str(getattr(cause, "strerror", None) or cause)
