"""Rows of Arrow into a served table: what is new or differs, and how far the lake was followed, in one transaction."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from psycopg.sql import SQL, Composed, Identifier

from serving.json_text import json_text
from serving.tables import Served
from shared.settings import Settings

_ROWS_AT_ONCE = 20_000
"""So many become text together: some 10 MB."""
_STAGED = Identifier("staged")
_NOTE = (
    "INSERT INTO serving.marks (table_name, source, mark) VALUES (%s, %s, %s) "
    "ON CONFLICT (table_name, source) DO UPDATE SET mark = excluded.mark, written_at = now()"
)


class ServingError(Exception):
    """The serving database cannot be used; the message says why, and the cure."""


@dataclass(frozen=True)
class Written:
    """What one transaction did to a table."""

    received: int
    """Rows that came."""
    changed: int
    """Rows that were added, or replaced because they differed."""
    removed: int = 0
    """Rows that the lake has no longer (a full reload alone looks for them)."""


@contextmanager
def connected(settings: Settings) -> Iterator[psycopg.Connection]:
    """A connection of the writer. Raises `ServingError` where there is none to be had, or it breaks."""
    try:
        with psycopg.connect(
            settings.serving_writer_url, connect_timeout=5, autocommit=True, options="-c timezone=UTC"
        ) as connection:
            yield connection
    except psycopg.OperationalError as error:
        said = str(error).strip().splitlines()[0]
        raise ServingError(
            f"PostgreSQL does not take the tables: {said}. `crypto status` tells how it is, and ./deploy.sh starts it; "
            "the next run takes in what this one did not."
        ) from None


def marks(connection: psycopg.Connection, table: Served) -> dict[str, str]:
    """How far each source of the table was followed; empty where it was never filled."""
    asked = "SELECT source, mark FROM serving.marks WHERE table_name = %s"
    return dict(connection.execute(asked, [table.full_name]).fetchall())


def write(
    connection: psycopg.Connection,
    table: Served,
    pieces: Iterable[pa.Table],
    followed: Mapping[str, str],
    *,
    whole: bool = False,
) -> Written:
    """Add and replace rows by the table's key, and note how far its sources were followed: all of it or nothing.

    The pieces are read one after the other, and none is kept. A row that is there as it comes is left alone. With
    `whole` the pieces are all that there is: other rows are removed, and until then readers see the old ones.
    Raises psycopg's `DataError` for a value that its column cannot hold.
    """
    with connection.transaction():
        if _is_empty(connection, table) and not table.prefers:
            received = _copied(connection, table, _name(table), pieces)
            done = Written(received, received)
        else:
            connection.execute(SQL("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP").format(_STAGED, _name(table)))
            received = _copied(connection, table, _STAGED, pieces)
            removed = _removed(connection, table) if whole else 0
            done = Written(received, connection.execute(_upsert(table, whole=whole)).rowcount, removed)
        for source, mark in followed.items():
            connection.execute(_NOTE, [table.full_name, source, mark])
    return done


def _is_empty(connection: psycopg.Connection, table: Served) -> bool:
    [has_rows] = connection.execute(SQL("SELECT EXISTS (SELECT FROM {})").format(_name(table))).fetchone() or (True,)
    return not has_rows


def _copied(connection: psycopg.Connection, table: Served, target: Identifier, pieces: Iterable[pa.Table]) -> int:
    """Copy the rows there, and give how many they were."""
    received = 0
    made: set[datetime] = set()
    copying = SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(target, _columns(table.column_names))
    for rows, text in _encoded(table, pieces):
        for month in sorted(_months(table, rows) - made):
            connection.execute("SELECT serving.make_month(%s)", [month])
            made.add(month)
        with connection.cursor() as cursor, cursor.copy(copying) as copy:
            copy.write(text)
        received += rows.num_rows
    return received


def _encoded(table: Served, pieces: Iterable[pa.Table]) -> Iterator[tuple[pa.RecordBatch, bytes]]:
    """The rows in batches, each with its text. The next is made while PostgreSQL takes one in."""
    with ThreadPoolExecutor(1) as other_thread:
        ahead: tuple[pa.RecordBatch, Future[bytes]] | None = None
        for piece in pieces:
            for batch in piece.select(table.column_names).to_batches(max_chunksize=_ROWS_AT_ONCE):
                following = batch, other_thread.submit(as_csv, batch)
                if ahead:
                    yield ahead[0], ahead[1].result()
                ahead = following
        if ahead:
            yield ahead[0], ahead[1].result()


def _months(table: Served, rows: pa.RecordBatch) -> set[datetime]:
    if not table.month_of:
        return set()
    return set(pc.unique(pc.floor_temporal(rows[table.month_of], unit="month")).to_pylist())


def as_csv(rows: pa.RecordBatch) -> bytes:
    """The rows as PostgreSQL's COPY reads them, without a header: null is empty, an empty text is quoted."""
    columns = [_writable(column) for column in rows.columns]
    out = pa.BufferOutputStream()
    options = pa.csv.WriteOptions(include_header=False)
    pa.csv.write_csv(pa.record_batch(columns, names=rows.schema.names), out, options)
    return bytes(out.getvalue())


def _writable(column: pa.Array) -> pa.Array:
    """The column in a type that Arrow can write as CSV, in PostgreSQL's spelling."""
    kind = column.type
    if pa.types.is_decimal(kind):
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us"))  # without its zone, which is the session's, it takes Arrow a fifth
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return pa.array([None if value is None else _array(value) for value in column.to_pylist()], pa.string())
    if pa.types.is_nested(kind):
        return pa.array([None if value is None else json_text(value) for value in column.to_pylist()], pa.string())
    return column


def _array(values: Iterable[str | None]) -> str:
    return "{" + ",".join("NULL" if value is None else _quoted(value) for value in values) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _removed(connection: psycopg.Connection, table: Served) -> int:
    """Remove what is not staged, and give how many rows that were."""
    is_same = SQL(" AND ").join([SQL("staged.{0} = old.{0}").format(Identifier(name)) for name in table.key])
    removal = SQL("DELETE FROM {} AS old WHERE NOT EXISTS (SELECT FROM {} WHERE {})")
    connection.execute(SQL("ANALYZE {}").format(_STAGED))  # else it is taken for small, whatever it holds
    return connection.execute(removal.format(_name(table), _STAGED, is_same)).rowcount


def _upsert(table: Served, *, whole: bool) -> Composed:
    """What is staged into the table: rows that are new, and those that differ from what is there."""
    others = [name for name in table.column_names if name not in table.key]
    key = _columns(table.key)
    choice = order = better = SQL("").format()
    if table.prefers:
        choice = SQL("DISTINCT ON ({})").format(key)
        best_first = SQL(", ").join([SQL("{} DESC").format(one) for one in _preference(table, "staged")])
        order = SQL("ORDER BY {}, {}").format(key, best_first)
        if not whole:
            ours, theirs = (SQL(", ").join(_preference(table, row)) for row in ("old", "excluded"))
            better = SQL("AND ({}) >= ({})").format(theirs, ours)
    return SQL(
        "INSERT INTO {table} AS old ({all}) SELECT {choice} {all} FROM {staged} {order} "
        "ON CONFLICT ({key}) DO UPDATE SET {set} WHERE ({ours}) IS DISTINCT FROM ({theirs}) {better}"
    ).format(
        table=_name(table),
        all=_columns(table.column_names),
        choice=choice,
        staged=_STAGED,
        order=order,
        key=key,
        set=SQL(", ").join([SQL("{0} = excluded.{0}").format(Identifier(name)) for name in others]),
        ours=_columns(others, "old"),
        theirs=_columns(others, "excluded"),
        better=better,
    )


def _preference(table: Served, row: str) -> list[Composed]:
    return [SQL(one).format(row=Identifier(row)) for one in table.prefers]


def _name(table: Served) -> Identifier:
    return Identifier(table.layer, table.name)


def _columns(names: Iterable[str], row: str = "") -> Composed:
    return SQL(", ").join([Identifier(*filter(None, (row, name))) for name in names])
