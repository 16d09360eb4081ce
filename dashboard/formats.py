"""Rows as JSON, CSV or Arrow."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec
import pyarrow as pa
from fastapi import Response

from crypto_pipeline.reader import arrow_type
from shared.tables import Column


class Format(StrEnum):
    """How an answer is written."""

    JSON = "json"
    CSV = "csv"
    ARROW = "arrow"


_encoder = msgspec.json.Encoder(decimal_format="string")


def json_response(content: Any, status: int = 200) -> Response:
    """Any value as JSON: times as `2026-11-21T10:00:00Z`, decimals as strings, what is no number as null."""
    return Response(_encoder.encode(content), status, media_type="application/json")


def rows_response(
    columns: Sequence[Column], rows: Sequence[Sequence[Any]], wanted: Format, about: dict[str, Any]
) -> Response:
    """Rows in the order of `columns`. JSON has `about` beside them, and decimals as strings, exact; so has CSV."""
    names = [column.name for column in columns]
    match wanted:
        case Format.JSON:
            return json_response(about | {"rows": [dict(zip(names, row, strict=True)) for row in rows]})
        case Format.CSV:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([_plain(value) for value in row] for row in rows)
            return Response(text.getvalue(), media_type="text/csv; charset=utf-8")
        case Format.ARROW:
            return Response(_arrow(columns, rows), media_type="application/vnd.apache.arrow.stream")


def exact_text(value: Decimal) -> str:
    """A decimal without zeros at its end and without an exponent."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return exact_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (list, dict)):
        return _encoder.encode(value).decode()
    return value


def _arrow(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> bytes:
    schema = pa.schema([(column.name, _kind(column)) for column in columns])
    values = [
        pa.array([_fitting(row[place], field.type) for row in rows], field.type) for place, field in enumerate(schema)
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_table(pa.Table.from_arrays(values, schema=schema))
    return bytes(sink.getvalue())


def _kind(column: Column) -> pa.DataType:
    if column.type == "date":
        return pa.date32()
    if column.type.startswith("array"):
        return pa.string()  # as JSON
    return arrow_type(column.type)


def _fitting(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_decimal(kind):
        return Decimal(value)
    if pa.types.is_string(kind) and not isinstance(value, str):
        return _encoder.encode(value).decode()
    return value
