"""Every contract, found by discovery."""

import pytest

from crypto_pipeline.catalog import LAYERS, table_modules, tables, views
from shared.tables import Table


def test_the_tables_of_the_first_pipeline_are_there() -> None:
    wanted = {"bronze.trades", "bronze.klines", "bronze.tickers", "bronze.depth", "silver.ohlcv_1m", "silver.ohlcv"}
    assert wanted | {"silver.indicators", "gold.market_overview"} <= set(tables())


@pytest.mark.parametrize("table", tables().values(), ids=lambda table: table.full_name)
class TestContract:
    def test_it_lies_where_its_name_says(self, table: Table) -> None:
        module = table_modules()[table.full_name]
        assert module.__name__ == f"crypto_pipeline.{table.layer}.{table.name}"
        assert table.layer in LAYERS

    def test_key_ordering_bucket_and_partitions_are_columns_of_it(self, table: Table) -> None:
        names = set(table.column_names)
        assert set(table.key) | set(table.partitions) <= names
        assert table.bucket in table.key, "Hudi hashes a part of the key"
        assert table.ordering is None or table.ordering in names

    def test_every_column_is_explained_and_stands_once(self, table: Table) -> None:
        assert len(set(table.column_names)) == len(table.columns)
        assert all(column.comment for column in table.columns)

    def test_it_says_what_one_row_is_and_what_it_is_for(self, table: Table) -> None:
        assert table.grain.startswith("One row per ")
        assert table_modules()[table.full_name].__doc__


@pytest.mark.parametrize("view", views().values(), ids=lambda view: view.full_name)
def test_a_view_reads_tables_that_there_are(view) -> None:  # type: ignore[no-untyped-def]
    assert set(view.tables) <= set(tables())
