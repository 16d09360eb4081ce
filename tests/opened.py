"""What is asked of a system that is open to a network, wherever it runs: 127.0.0.2 is its address there."""

import base64
import ssl
from http.client import HTTPSConnection
from pathlib import Path

import psycopg

from deployment import public
from shared.settings import Settings
from tests.servers import free_ports
from tests.system import PATIENCE, wait_for

HOST = "127.0.0.2"


def opening() -> dict[str, str]:
    """The settings that open a system there, on free ports."""
    names = [name for name in Settings.model_fields if name.startswith("public_") and name.endswith("_port")]
    ports = {name.upper(): str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    return {"PUBLIC_HOST": HOST, "PUBLIC_ADDRESS": HOST, **ports}


def login(settings: Settings) -> dict[str, str]:
    """The header of who has the login."""
    words = f"{settings.public_user}:{settings.public_password.get_secret_value()}"
    return {"Authorization": "Basic " + base64.b64encode(words.encode()).decode()}


def check_pages(settings: Settings, authority: Path) -> None:
    """Each page answers to who has the login, and sends nobody to a plain one."""
    context = ssl.create_default_context(cafile=str(authority))
    for door in public.doors(settings):
        port = getattr(settings, door.public_port)
        place = f"{HOST}:{port}"
        for headers in (login(settings), {}):
            connection = HTTPSConnection(HOST, port, timeout=PATIENCE, context=context)
            connection.request("GET", "/", headers=headers)
            answer = connection.getresponse()
            answer.read()
            connection.close()
            if door.login and not headers:
                assert answer.status == 401, door.name
            elif door.name != "MinIO":  # which knows no page, and refuses who signs nothing
                assert answer.status in (200, 302, 303, 307), (door.name, answer.status)
                location = answer.getheader("Location") or "/"
                assert location.startswith(("/", f"https://{place}")), (door.name, location)


def check_logins(settings: Settings, authority: Path) -> None:
    """PostgreSQL and Kafka know their logins there."""
    with psycopg.connect(
        host=HOST,
        port=settings.public_postgres_port,
        user=settings.serving_reader,
        password=settings.serving_reader_password.get_secret_value(),
        dbname=settings.serving_database,
        sslmode="verify-full",
        sslrootcert=str(authority),
    ) as database:
        assert database.execute("SELECT 7").fetchone() == (7,)
    there = Settings(
        kafka_broker=f"{HOST}:{settings.public_kafka_port}",
        kafka_username=settings.public_user,
        kafka_password=settings.public_kafka_password,
        kafka_ca=authority,
    )
    wait_for("Kafka lets in", lambda: there.broker.ask(PATIENCE) is None)
