"""An answer of rows on the screen or in a pipe: a table, CSV or JSON. Times are ISO 8601 in UTC."""

import csv
import json
import math
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, TextIO

import pyarrow as pa
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

ROWS_IN_A_PIPE = 1000
"""A table that goes to no terminal has at most so many rows, and all columns."""
WIDTH_OF_A_PIPE = 100_000
LINES_AROUND = 5
"""What the header, the closing line and the prompt take of a terminal's height."""
GAP = 2
WIDEST_CELL = 40
"""Where not all columns have room, none takes more than this."""
DIGITS = 10
"""Significant digits of a float in a table; CSV and JSON have all."""


def write_csv(answer: pa.Table, out: TextIO) -> None:
    """All rows, with a header; null is an empty field."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(answer.schema.names)
    writer.writerows([_text(value) for value in row] for row in _rows(answer))


def write_json(answer: pa.Table, out: TextIO) -> None:
    """All rows: one array, an object a line. Exact decimals are strings, and what is no number is null."""
    names = _distinct(answer.schema.names)
    separator = "[\n"
    for row in _rows(answer):
        values = {name: _plain(value) for name, value in zip(names, row, strict=True)}
        out.write(separator + json.dumps(values, ensure_ascii=False))
        separator = ",\n"
    out.write("\n]\n" if answer.num_rows else "[]\n")


def console() -> Console:
    """Standard output; where it is no terminal there is room for every column."""
    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE)


def write_table(answer: pa.Table, console: Console) -> None:
    """As many rows and columns as the terminal has room for, and how to get the others."""
    room = max(console.height - LINES_AROUND, 1) if console.is_terminal else ROWS_IN_A_PIPE
    rows = [[_cell(value) for value in row] for row in _rows(answer.slice(0, room))]
    names, kinds = answer.schema.names, answer.schema.types
    widths = [_width(name, [row[n] for row in rows]) for n, name in enumerate(names)]
    widest = None
    if columns_that_fit(widths, console.width) < len(names):
        widths, widest = [min(width, WIDEST_CELL) for width in widths], WIDEST_CELL
    shown = columns_that_fit(widths, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for name, kind in zip(names[:shown], kinds, strict=False):
        side: JustifyMethod = "right" if _is_number(kind) else "left"
        table.add_column(Text(name), justify=side, no_wrap=True, max_width=widest)
    for row in rows:
        table.add_row(*row[:shown])
    console.print(table)
    if shown < len(names) or len(rows) < answer.num_rows or not rows:
        console.print(Text(_closing(len(rows), answer.num_rows, names[shown:]), style="dim"), soft_wrap=True)


def columns_that_fit(widths: list[int], room: int) -> int:
    """How many of the columns fit side by side, at least one."""
    taken = 0
    for count, width in enumerate(widths):
        taken += width
        if taken > room and count:
            return count
        taken += GAP
    return len(widths)


def _closing(shown: int, rows: int, hidden: list[str]) -> str:
    if not rows:
        return "No rows."
    parts = []
    if shown < rows:
        parts.append(f"{rows - shown:,} more rows")
    if hidden:
        parts.append(f"{len(hidden)} more columns ({', '.join(hidden)})")
    return f"… {' and '.join(parts)}: --format csv or --format json prints all."


def _rows(answer: pa.Table) -> Iterator[tuple[Any, ...]]:
    for batch in answer.to_batches(max_chunksize=10_000):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _distinct(names: list[str]) -> list[str]:
    """The names, a repeated one with a number: an object has no two fields of one name."""
    taken: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            candidate, number = f"{name}_{number}", number + 1
        taken.append(candidate)
    return taken


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return int(value) if value.as_tuple().exponent == 0 else f"{value:f}"
        case datetime():
            return (value.astimezone(UTC) if value.tzinfo else value).isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return str(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    plain = value if isinstance(value, float) else _plain(value)
    if isinstance(plain, dict | list | bool):
        return json.dumps(plain, ensure_ascii=False)
    return str(plain)


def _cell(value: Any) -> Text:
    if value is None:
        return Text("null", style="dim")
    if isinstance(value, float):
        return Text(f"{Decimal(f'{value:.{DIGITS}g}'):f}")
    return Text(_text(value))


def _width(name: str, cells: list[Text]) -> int:
    lines = [line for cell in cells for line in cell.plain.splitlines()]
    return max(cell_len(line) for line in [name, *lines])


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
