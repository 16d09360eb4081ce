"""SQL over the served tables by the read-only role, answered in Arrow."""

import json
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import Column
from psycopg.types.json import set_json_loads

from crypto_pipeline.lake_sql import SqlError, no_such_table
from crypto_pipeline.reader import LakeError
from serving.tables import served
from shared.settings import Settings

_TYPES = {
    "bool": pa.bool_(),
    "int2": pa.int32(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float64(),
    "float8": pa.float64(),
    "text": pa.string(),
    "varchar": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "_text": pa.list_(pa.string()),
}
"""Of a decimal and of `jsonb` the values say it; anything else is its text."""
_BY_VALUE = ("numeric", "json", "jsonb")
_DIGITS = 38
"""Of Arrow's usual decimal; there is a wider one."""


def query(sql: str, settings: Settings) -> pa.Table:
    """The answer to one statement, with exact decimals.

    Raises `SqlError` where the SQL is wrong or takes too long, and `LakeError` where the database does not answer.
    """
    try:
        with psycopg.connect(
            settings.serving_reader_url, connect_timeout=5, autocommit=True, options="-c timezone=UTC"
        ) as connection:
            set_json_loads(partial(json.loads, parse_float=Decimal), connection)
            return _answer(connection, sql)
    except psycopg.errors.UndefinedTable as error:
        name = str(error).split('"')[1]
        raise SqlError(no_such_table(name, served(), "PostgreSQL has no table")) from None
    except psycopg.errors.QueryCanceled as error:
        raise SqlError(f"{_sentence(error)}: ask for less, or put a condition on the key.") from None
    except psycopg.OperationalError as error:
        raise LakeError(
            f"PostgreSQL does not answer: {_sentence(error)}. Start it with ./deploy.sh, or ask with --engine duckdb."
        ) from None
    except psycopg.Error as error:
        raise SqlError(_sentence(error)) from None


def _sentence(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0]


def _answer(connection: psycopg.Connection, sql: str) -> pa.Table:
    with connection.cursor() as cursor:
        cursor.execute(sql.encode())
        if cursor.description is None:
            return pa.table({})
        rows = cursor.fetchall()
        columns = [
            _column(connection, column, [row[at] for row in rows]) for at, column in enumerate(cursor.description)
        ]
        return pa.Table.from_arrays(columns, [column.name for column in cursor.description])


def _column(connection: psycopg.Connection, column: Column, values: Sequence[Any]) -> pa.Array:
    known = connection.adapters.types.get(column.type_code)
    name = known.name if known else ""
    if known and column.type_code == known.array_oid:
        name = f"_{name}"
    if name == "numeric" and column.precision:
        kind = pa.decimal128 if column.precision <= _DIGITS else pa.decimal256
        return pa.array(values, kind(column.precision, column.scale or 0))
    if name in _TYPES:
        return pa.array(values, _TYPES[name])
    if name in _BY_VALUE:
        with suppress(pa.ArrowInvalid, pa.ArrowTypeError):  # more digits than Arrow has, or rows that are not alike
            return pa.array(values)
    return pa.array([None if value is None else str(value) for value in values], pa.string())
