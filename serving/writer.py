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
            received = _copied(connection, table, _name(table), pieces, months_whole=True)
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


def _copied(
    connection: psycopg.Connection,
    table: Served,
    target: Identifier,
    pieces: Iterable[pa.Table],
    *,
    months_whole: bool = False,
) -> int:
    """Copy the rows there, and give how many they were.

    `months_whole`: into a table a month instead, which gets its key once it is full, and belongs to the table then.
    """
    received = 0
    targets: dict[datetime | None, Identifier] = {None: target}
    begun: list[datetime] = []
    copying = SQL("COPY {} ({}) FROM STDIN (FORMAT csv)")
    for month, count, text in _encoded(table, pieces):
        if month is not None and month not in targets:
            targets[month] = target
            if months_whole and (name := _begun(connection, month)):
                targets[month] = Identifier(table.layer, name)
                begun.append(month)
            else:
                connection.execute("SELECT serving.make_month(%s)", [month])
        whole = copying.format(targets[month], _columns(table.column_names))
        with connection.cursor() as cursor, cursor.copy(whole) as copy:
            copy.write(text)
        received += count
    for month in begun:
        connection.execute("SELECT serving.end_month(%s)", [month])
    return received


def _begun(connection: psycopg.Connection, month: datetime) -> str | None:
    """The name of the table that was made for a month; none where the month is there."""
    found = connection.execute("SELECT serving.begin_month(%s)", [month]).fetchone()
    return str(found[0]) if found and found[0] else None


def _encoded(table: Served, pieces: Iterable[pa.Table]) -> Iterator[tuple[datetime | None, int, bytes]]:
    """The rows in batches of one month each: that, how many, and their text.

    The next text is made while PostgreSQL takes one in.
    """
    with ThreadPoolExecutor(1) as other_thread:
        ahead: tuple[datetime | None, int, Future[bytes]] | None = None
        for piece in pieces:
            for batch in piece.select(table.column_names).to_batches(max_chunksize=_ROWS_AT_ONCE):
                for month, rows in _by_month(table, batch):
                    following = month, rows.num_rows, other_thread.submit(as_csv, rows)
                    if ahead:
                        yield ahead[0], ahead[1], ahead[2].result()
                    ahead = following
        if ahead:
            yield ahead[0], ahead[1], ahead[2].result()


def _by_month(table: Served, rows: pa.RecordBatch) -> Iterator[tuple[datetime | None, pa.RecordBatch]]:
    """The rows of each month, where the table lies by months."""
    if not table.month_of:
        yield None, rows
        return
    month_of = pc.floor_temporal(rows[table.month_of], unit="month")
    months = pc.unique(month_of)
    for month in months:
        yield month.as_py(), rows if len(months) == 1 else rows.filter(pc.equal(month_of, month))


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
        return _short(column.cast(pa.string())) if kind.scale > 0 else column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us"))  # without its zone, which is the session's, it takes Arrow a fifth
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return pa.array([None if value is None else _array(value) for value in column.to_pylist()], pa.string())
    if pa.types.is_nested(kind):
        return pa.array([None if value is None else json_text(value) for value in column.to_pylist()], pa.string())
    return column


def _short(numbers: pa.Array) -> pa.Array:
    """Decimals of some places without zeros at the end: to parse digits is what a row costs PostgreSQL most."""
    is_near_zero = pc.match_substring(numbers, "E")  # Arrow writes them as 1.00E-10
    return pc.if_else(is_near_zero, numbers, pc.ascii_rtrim(pc.ascii_rtrim(numbers, "0"), "."))


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
