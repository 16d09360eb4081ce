"""Parts of the lake in DuckDB, in so much memory and no more: what does not fit lies in a folder of its own."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Context, Decimal
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Protocol, Self

import duckdb
import pyarrow as pa

from crypto_pipeline import reader
from crypto_pipeline.reader import WRITTEN_BY, Filter
from shared.settings import Settings
from shared.tables import DECIMAL, Notes, Table

MEMORY = "1GB"
"""What DuckDB takes at most."""
_DIVISION = Context(prec=76, rounding=ROUND_HALF_UP)
_PLACES = Decimal("1e-18")


class Rows(Protocol):
    """A table that was opened; `reader.Snapshot` is one."""

    def batches(self, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()) -> Iterable[pa.RecordBatch]:
        """The rows, with these columns and of these partitions, piece by piece."""

    def partitions(self) -> list[dict[str, str]]:
        """The value of each partition column, for every partition."""

    def log_files(self) -> list[int]:
        """How many log files wait to be merged, for every file."""


class Tables(Protocol):
    """The lake's tables as they are looked at here."""

    def opened(self, table: Table) -> Rows:
        """A table as it is now."""

    def notes(self, table: Table, name: str) -> Notes | None:
        """All notes of its latest commit that carries the one of this name."""

    def done_after(self, table: Table, mark: str) -> Collection[str]:
        """Its commits that were done after a mark."""


@dataclass(frozen=True)
class Stored:
    """The tables in the object store, without Spark."""

    settings: Settings

    def opened(self, table: Table) -> Rows:
        return reader.open_table(table, self.settings)

    def notes(self, table: Table, name: str) -> Notes | None:
        return reader.notes(table, name, self.settings)

    def done_after(self, table: Table, mark: str) -> Collection[str]:
        return reader.done_after(table, mark, self.settings)


class Workbench:
    """A DuckDB session in UTC over what was brought into it. Times are microseconds since 1970. Use it with `with`."""

    def __init__(self, tables: Tables, symbols: Collection[str] = ()) -> None:
        self.tables = tables
        self._of_symbols = f"symbol in ({', '.join(map(_literal, symbols))})" if symbols else "true"
        self._folder = TemporaryDirectory(prefix="crypto-verify-")
        self._session = duckdb.connect()
        self.run(f"set memory_limit = '{MEMORY}'; set temp_directory = {_literal(self._folder.name)}")
        self.run("set TimeZone = 'UTC'; set enable_progress_bar = false")
        # DuckDB divides decimals as floats.
        self._session.create_function("vwap", vwap, [DECIMAL, DECIMAL], DECIMAL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()
        self._folder.cleanup()

    def run(self, sql: str) -> None:
        """Do something."""
        self._session.execute(sql)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of an answer."""
        answer = self._session.execute(sql)
        names = [column[0] for column in answer.description or ()]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    def value(self, sql: str) -> Any:
        """The one value of an answer."""
        [row] = self.rows(sql)
        return next(iter(row.values()))

    def say(self, **values: int) -> None:
        """Make numbers known to later queries, as `getvariable('name')`."""
        for name, value in values.items():
            self.run(f"set variable {name} = {value}::bigint")

    def bring(
        self, name: str, table: Table, columns: Sequence[str], filters: Sequence[Filter] = (), where: str = "true"
    ) -> None:
        """Make a table of these rows of the lake as they are now, and `written_by`, the commit that wrote each.

        `where` is asked before times are made microseconds.
        """
        wanted = replace(table, columns=(*(c for c in table.columns if c.name in columns), WRITTEN_BY))
        chosen = [
            f"epoch_us({column.name}) as {column.name}" if column.type == "timestamp" else column.name
            for column in wanted.columns[:-1]
        ]
        names = ", ".join([*chosen, f"{WRITTEN_BY.name} as written_by"])
        query = f"select {names} from given"  # noqa: S608 (names of the contract)
        if "symbol" in wanted.column_names:
            where = f"({where}) and {self._of_symbols}"
        self._take(f"create or replace table {name} as {query}", reader.arrow_schema(wanted).empty_table())
        for batch in self.tables.opened(wanted).batches(wanted.column_names, filters):
            self._take(f"insert into {name} {query} where {where}", pa.Table.from_batches([batch]))

    def _take(self, sql: str, given: pa.Table) -> None:
        self._session.register("given", given)
        self._session.execute(sql)
        self._session.unregister("given")


def vwap(quote_volume: Decimal, volume: Decimal) -> Decimal | None:
    """`quote_volume / volume`, 18 places, half up; none where nothing traded."""
    return _DIVISION.quantize(_DIVISION.divide(quote_volume, volume), _PLACES) if volume else None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
