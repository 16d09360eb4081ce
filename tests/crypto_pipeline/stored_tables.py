"""Tables of the lake in memory, as a client opens them, that note what is read of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crypto_pipeline import contracts
from crypto_pipeline.reader import Filter, arrow_schema
from shared.settings import Settings
from shared.tables import Table


@dataclass
class Stored:
    """A table of the lake that notes what was read of it."""

    table: Table
    rows: Sequence[dict[str, Any]]
    reads: list[tuple[set[str], list[Filter]]] = field(default_factory=list)

    def read(
        self,
        columns: Sequence[str] | None = None,
        filters: Sequence[Filter] = (),
        where: pc.Expression | None = None,
        where_on: Collection[str] = (),
    ) -> pa.Table:
        wanted = list(columns or self.table.column_names)
        looked_at = list(dict.fromkeys([*wanted, *where_on]))
        self.reads.append((set(looked_at), list(filters)))
        whole = [{name: row.get(name) for name in self.table.column_names} for row in self.rows]
        values = pa.Table.from_pylist(whole, arrow_schema(self.table))
        for name, operator, allowed in filters:
            assert operator == "IN"
            values = values.filter(pc.field(name).isin(allowed.split(",")))
        values = values.select(looked_at)
        return (values if where is None else values.filter(where)).select(wanted)

    def partitions(self) -> list[dict[str, str]]:
        return [{name: row[name] for name in self.table.partitions} for row in self.rows]


@dataclass
class Tables:
    """What `open_table` opens; a table that was given no rows has none."""

    stored: dict[str, Stored] = field(default_factory=dict)

    def has(self, name: str, rows: Sequence[dict[str, Any]]) -> Stored:
        self.stored[name] = Stored(contracts.tables()[name], rows)
        return self.stored[name]

    def open(self, table: Table, settings: Settings) -> Stored:
        return self.stored.get(table.full_name) or Stored(table, [])
