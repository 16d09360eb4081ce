"""What a table's contract is. One pair, layer and name, gives asset key, Hudi table, path and docs anchor."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Layer = Literal["bronze", "silver", "gold"]

NOTE_PREFIX = "crypto."
"""What a commit keeps beside its rows bears a name that begins so."""
OFFSETS = "offsets"
"""The note that keeps, in each bronze commit, the next offset to read."""
TOPIC_IDS = "topic_ids"
"""The note beside it that says of which topics they are, so that one made anew under the same name is known."""

BUCKETS = "buckets"
"""The note that keeps, in each commit, over how many files of a partition its rows were spread."""

CONTRACTS = "contracts"
"""The note that keeps, in each commit, by which version of the contracts it was written."""

BATCH_ID = "batch_id"
"""The note that says which batch of messages was the newest that a commit's rows were made of."""


@dataclass(frozen=True)
class Notes:
    """What a commit keeps beside its rows: when it was asked for, which names it, and the notes by name."""

    commit: str
    values: Mapping[str, str]


DECIMAL = "decimal(38,18)"
"""Prices, quantities and their sums: exact, 20 digits before the point and 18 after."""


@dataclass(frozen=True)
class Column:
    """A column: its name, Spark SQL type, and what it holds, with the unit."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Table:
    """The contract of a Hudi table. `grain` says what one row is: "One row per exchange, symbol and trade id"."""

    layer: Layer
    name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """The columns that name a row, unique over the whole table; `partitions` must follow from the row itself."""
    partitions: tuple[str, ...] = ()
    time: str | None = None
    """The column that places a row in time, in the partition that it lies in; a read of some hours is a range of it."""
    ordering: str | None = None
    """Of two rows of one key the one with the greater value stays, and on a tie the later written; none: the later."""
    bucket: str = "symbol"
    """Rows are spread over `buckets` files a partition by the hash of this key column."""
    buckets: int | None = None
    """A table that stays small has 1; one that grows with the symbols has none, and so as many as LAKE_BUCKETS says.

    Fixed for the table's life: with another number its rows would be looked for, and written, in other files."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """What must hold for every row: the rule's name and its SQL condition. Each is an asset check.

    In bronze a row that breaks one goes to quarantine; of silver and gold, which we make, nothing is written then."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Rules that a row may break and still go on: its column `broken_rules` then names them (bronze)."""

    @property
    def full_name(self) -> str:
        return f"{self.layer}.{self.name}"

    @property
    def folder(self) -> str:
        """Where in the bucket it lies."""
        return f"{self.layer}/{self.name}"

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]


@dataclass(frozen=True)
class View:
    """A view over tables, in SQL that every engine of ours reads."""

    layer: Layer
    name: str
    grain: str
    tables: tuple[str, ...]
    """The tables that it reads, by full name."""
    sql: str
    comments: Mapping[str, str] = field(default_factory=dict)
    """What a column holds, with the unit, that no column of the same name in these tables explains."""

    @property
    def full_name(self) -> str:
        return f"{self.layer}.{self.name}"
