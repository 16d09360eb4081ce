"""The way into ClickHouse: by HTTP, with the account of who asks."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError
from pydantic import SecretStr

from serving.clickhouse.schema import BOOKKEEPING, prepare
from shared.settings import Settings

INSERTS = {
    "async_insert": 0,  # what is answered is there
    "input_format_null_as_default": 0,  # a null in the key is an error, not an empty text
    "max_partitions_per_insert_block": 0,
}
"""How rows are inserted."""
READER = {
    "readonly": 2,  # nothing is written, and a session may still choose how it asks
    "final": 1,  # of each key the row that stays, whether or not ClickHouse has merged yet
    "do_not_merge_across_partitions_select_final": 1,  # a key never lies in two
    "max_execution_time": 60,
}
"""How the read-only account asks, as `config/clickhouse/users.xml` has it."""
PATIENCE_SECONDS = 5


class ServingError(Exception):
    """ClickHouse cannot be used; the message says why, and the cure."""


def client(settings: Settings, user: str, password: SecretStr, **chosen: Any) -> Client:
    """A client of an account, with these settings of ClickHouse. Raises `ClickHouseError` where it is not let in."""
    return clickhouse_connect.get_client(
        interface=urlsplit(settings.clickhouse_address).scheme,
        dsn=settings.clickhouse_address,
        username=user,
        password=password.get_secret_value(),
        connect_timeout=PATIENCE_SECONDS,
        settings=chosen,
    )


@contextmanager
def connected(settings: Settings) -> Iterator[Client]:
    """A client of the writer, with the databases made. Raises `ServingError` where there is none to be had, or it
    breaks, or where what is served there belongs to the other mode.
    """
    try:
        writer = client(settings, settings.serving_writer, settings.clickhouse_writer_password, **INSERTS)
        try:
            _make(writer, settings.mode)
            yield writer
        finally:
            writer.close()
    except OperationalError as error:
        raise ServingError(
            f"ClickHouse at {settings.clickhouse_place} does not answer: {sentence(error)}. What it did not get comes "
            "once it does."
        ) from None
    except DatabaseError as error:
        raise ServingError(f"ClickHouse at {settings.clickhouse_place} refuses: {sentence(error)}") from None


@contextmanager
def reading(settings: Settings) -> Iterator[Client]:
    """A client of the read-only account. Raises `ClickHouseError` where it is not let in."""
    reader = client(settings, settings.serving_reader, settings.clickhouse_reader_password, **READER)
    try:
        yield reader
    finally:
        reader.close()


def _make(writer: Client, mode: str) -> None:
    for statement in prepare(mode):
        writer.command(statement)
    asked = "SELECT comment FROM system.databases WHERE name = {name:String}"
    [[there]] = writer.query(asked, {"name": BOOKKEEPING}).result_rows
    if there != mode:
        raise ServingError(
            f"This ClickHouse holds the tables of the mode {there}, and this deployment is {mode}: give it another by "
            "CLICKHOUSE_URL in .env."
        )


def sentence(error: ClickHouseError) -> str:
    """What went wrong, without ClickHouse's codes and versions, and without the client's tale of its attempts."""
    said = " ".join(str(error).split())
    if told := re.search(r".*DB::Exception: (.+?)\.?(?: \([A-Z][A-Z0-9_]+\).*)?$", said):
        return told[1]
    reason = re.search(r"\[Errno -?\d+\] ([^'\")]+)", said)
    return reason[1] if reason else said
