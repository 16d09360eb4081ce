"""Rows of Arrow into a served table of ClickHouse: a batch becomes visible whole, and a repeated one changes nothing.

The rows go into a table beside, of the same shape. Its parts are then attached to the served table, or, when a table is
filled anew, the two are exchanged: each is one step for readers. How far the lake was followed is noted after it. A run
that ends between leaves a batch that the next brings again, under the same version or a later one.
"""

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from serving.clickhouse.schema import BETTER_SOURCE_THEN_ORDERING, BOOKKEEPING, MARKS, Shape, create
from serving.json_text import json_text
from serving.tables import Served
from serving.writer import Written

ROWS_AT_ONCE = 100_000
"""What comes in pieces is gathered to about so many: each insert makes a part for each of its months."""


def shape(table: Served, followed: Mapping[str, str] | None = None) -> Shape:
    """The table as ClickHouse has it, for rows of a batch.

    Where no column tells their version, it is the time until which the lake was followed, by the lake's own clock.
    """
    latest = max((int(mark) for mark in (followed or {}).values()), default=0)
    version = BETTER_SOURCE_THEN_ORDERING if table.prefers else str(latest)
    return Shape(table.full_name, table.grain, table.columns, table.key, version, table.month_of)


def marks(client: Client, table: Served) -> dict[str, str]:
    """How far each source of the table was followed.

    Empty where the table was never filled, or has another shape than its contract now: it is to be filled anew.
    """
    known = {"name": table.full_name}
    asked = (
        "SELECT name, type, is_in_sorting_key FROM system.columns "
        "WHERE concat(database, '.', table) = {name:String} ORDER BY position"
    )
    if client.query(asked, known).result_rows != shape(table).described():
        return {}
    asked = f"SELECT source, mark FROM {MARKS} FINAL WHERE table_name = {{name:String}}"  # noqa: S608 (our own name)
    return {str(source): str(mark) for source, mark in client.query(asked, known).result_rows}


def write(
    client: Client, table: Served, pieces: Iterable[pa.Table], followed: Mapping[str, str], *, whole: bool = False
) -> Written:
    """Add and replace rows by the table's key, and note how far its sources were followed.

    The pieces are read one after the other, and none is kept. With `whole` they are all that there is: other rows go,
    and until then readers see the old ones. Raises `DatabaseError` for a value that its column cannot hold.
    """
    wanted = shape(table, followed)
    staged = f"{BOOKKEEPING}.`{table.full_name}`"
    client.command(f"DROP TABLE IF EXISTS {staged} SYNC")  # of a run that was killed
    client.command(create(wanted, staged))
    received = 0
    for rows in _gathered(pieces):
        client.insert_arrow(staged, _storable(table, rows))
        received += rows.num_rows
    if whole:
        client.command(create(wanted, table.full_name))
        client.command(f"EXCHANGE TABLES {table.full_name} AND {staged}")
    elif received:
        client.command(f"ALTER TABLE {table.full_name} ATTACH PARTITION ALL FROM {staged}")
    noted = [[table.full_name, source, mark] for source, mark in followed.items()]
    client.insert(MARKS, noted, ["table_name", "source", "mark"])
    client.command(f"DROP TABLE {staged} SYNC")
    return Written(received, received)


def _gathered(pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(rows.num_rows for rows in waiting) >= ROWS_AT_ONCE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _storable(table: Served, rows: pa.Table) -> pa.Table:
    """The rows with what is nested as JSON."""
    rows = rows.select(table.column_names)
    for at, field in enumerate(rows.schema):
        if pa.types.is_nested(field.type):
            texts = [None if value is None else json_text(value) for value in rows.column(at).to_pylist()]
            rows = rows.set_column(at, field.name, pa.array(texts, pa.string()))
    return rows
