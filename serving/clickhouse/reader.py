"""SQL over the tables in ClickHouse by the read-only account, answered in Arrow."""

import re
from contextlib import suppress

import pyarrow as pa
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from crypto_pipeline.lake_sql import SqlError, no_such_table
from crypto_pipeline.reader import LakeError
from serving.clickhouse import trades
from serving.clickhouse.server import reading, sentence
from serving.tables import served
from shared.settings import Settings

_LAKES = pa.decimal128(38, 18)
_UNKNOWN_TABLE, _TOO_LONG = 60, 159


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
            return _narrowed(reader.query_arrow(sql, use_strings=True))
    except OperationalError as error:
        raise LakeError(
            f"ClickHouse at {settings.clickhouse_place} does not answer: {sentence(error)}. Start it with "
            "./deploy.sh, or ask with --engine duckdb."
        ) from None
    except DatabaseError as error:
        raise SqlError(_told(error)) from None


def _narrowed(answer: pa.Table) -> pa.Table:
    """The answer with the lake's own decimals, which ClickHouse keeps wider, where they hold the values."""
    for at, field in enumerate(answer.schema):
        if pa.types.is_decimal256(field.type) and field.type.scale == _LAKES.scale:
            with suppress(pa.ArrowInvalid):
                answer = answer.set_column(at, field.name, answer.column(at).cast(_LAKES))
    return answer


def _told(error: DatabaseError) -> str:
    said = sentence(error)
    if error.code == _UNKNOWN_TABLE and (name := re.search(r"'([\w.]+)'|\b(\w+\.\w+)\b", said)):
        return no_such_table(name[1] or name[2], [*served(), trades.NAME], "ClickHouse has no table")
    if error.code == _TOO_LONG:
        return f"{said}: ask for less, or put a condition on the key."
    return said
