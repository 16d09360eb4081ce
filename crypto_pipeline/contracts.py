"""The contracts as data, for those who only read the lake: the modules that state them bring Spark along."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import msgspec

from shared.settings import settings
from shared.tables import Column, Table, View

FILE = Path(__file__).with_name("contracts.json")
INDICATORS = "silver.indicators"
"""The table whose columns `config/indicators.yaml` names."""


@dataclass(frozen=True)
class Contracts:
    """Every table and view by its full name, in the order of the layers."""

    tables: Mapping[str, Table]
    views: Mapping[str, View]
    indicators: Mapping[str, str]
    """The columns that the file of the indicators names, with what each holds."""
    indicators_file: str
    """The SHA-256 of that file."""


def gathered() -> Contracts:
    """What the code says, and this deployment's own file of indicators. It imports Spark's Python."""
    from crypto_pipeline import catalog
    from crypto_pipeline.indicators._file import plan

    return Contracts(catalog.tables(), catalog.views(), plan().comments(), _digest())


def encoded(contracts: Contracts) -> bytes:
    """What `FILE` holds: JSON, a line for each table and view."""
    return msgspec.json.encode(contracts).replace(b'},"', b'},\n"') + b"\n"


@lru_cache(maxsize=1)
def contracts() -> Contracts:
    """What `FILE` says, which `crypto docs` writes, with the indicators of this deployment's own file."""
    stored = msgspec.json.decode(FILE.read_bytes(), type=Contracts)
    if _digest() == stored.indicators_file:
        return stored
    from crypto_pipeline.indicators._file import plan  # it takes half a second

    chosen = tuple(Column(name, "double", text) for name, text in plan().comments().items())
    return replace(stored, tables={**stored.tables, INDICATORS: with_indicators(stored, chosen)})


def with_indicators(stored: Contracts, chosen: tuple[Column, ...]) -> Table:
    """The contract of the indicators with these in the place of the stored ones."""
    table = stored.tables[INDICATORS]
    place = table.column_names.index(next(iter(stored.indicators)))
    others = [column for column in table.columns if column.name not in stored.indicators]
    return replace(table, columns=(*others[:place], *chosen, *others[place:]), rules={})


def tables() -> Mapping[str, Table]:
    """Every table's contract by its full name."""
    return contracts().tables


def views() -> Mapping[str, View]:
    """Every view by its full name."""
    return contracts().views


def _digest() -> str:
    return sha256(settings().indicators_file.read_bytes()).hexdigest()
