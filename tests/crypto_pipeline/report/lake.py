"""The lake as a report asks it, in memory."""

from typing import Any

import pytest

from crypto_pipeline import catalog
from crypto_pipeline.lake_sql import Rows
from crypto_pipeline.reader import NotThereYetError
from shared.tables import Table
from tests.crypto_pipeline.engines import Stored


class LakeInMemory:
    """Tables by full name, with `__` for the point; one of which nothing is said is not there yet."""

    def __init__(self, **rows: list[dict[str, Any]]) -> None:
        self.rows = {name.replace("__", "."): each for name, each in rows.items()}
        for name in self.rows:
            if name not in catalog.tables():
                pytest.skip(f"{name} is not a table of this checkout")

    def __call__(self, table: Table, settings: object = None) -> Rows:
        if table.full_name not in self.rows:
            raise NotThereYetError(f"{table.full_name} is not there yet.")
        return Stored(table, self.rows[table.full_name])
