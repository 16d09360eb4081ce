"""SQL over the tables in ClickHouse by the read-only account, answered in Arrow."""

import re

import pyarrow as pa
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from crypto_pipeline.lake_sql import SqlError, no_such_table
from crypto_pipeline.reader import LakeError
from serving.clickhouse import trades
from serving.clickhouse.server import reading, sentence
from serving.tables import served
from shared.settings import Settings

_UNKNOWN_TABLE, _TOO_LONG, _OVERFLOW = 60, 159, 407


def query(sql: str, settings: Settings) -> pa.Table:
    """The answer to one statement, with exact decimals.

    Raises `SqlError` where the SQL is wrong or takes too long, and `LakeError` where ClickHouse does not answer.
    """
    if not settings.has_clickhouse:
        raise LakeError(
            "Nothing is served in ClickHouse: put CLICKHOUSE=true (in Docker) or CLICKHOUSE_URL into .env and run "
            "./deploy.sh, or ask with --engine duckdb."
        )
    try:
        with reading(settings) as reader:
            return reader.query_arrow(sql, use_strings=True)
    except OperationalError as error:
        raise LakeError(
            f"ClickHouse at {settings.clickhouse_place} does not answer: {sentence(error)}. Start it with "
            "./deploy.sh, or ask with --engine duckdb."
        ) from None
    except DatabaseError as error:
        raise SqlError(_told(error)) from None


def _told(error: DatabaseError) -> str:
    said = sentence(error)
    if error.code == _UNKNOWN_TABLE and (name := re.search(r"'([\w.]+)'|\b(\w+\.\w+)\b", said)):
        return no_such_table(name[1] or name[2], [*served(), trades.NAME], "ClickHouse has no table")
    if error.code == _TOO_LONG:
        return f"{said}: ask for less, or put a condition on the key."
    if error.code == _OVERFLOW:
        return f"{said}: multiply and divide floats, such as toFloat64(price)."
    return said
