"""What is made of the contracts, as ClickHouse itself tells it."""

import pytest
from clickhouse_connect.driver.client import Client

from serving.clickhouse import trades
from serving.clickhouse.schema import Shape, column_type, create
from serving.clickhouse.writer import shape
from serving.tables import served
from shared.tables import Column

SHAPES = [*(shape(table) for table in served().values()), trades.shape()]


@pytest.mark.parametrize("wanted", SHAPES, ids=lambda wanted: wanted.full_name)
def test_a_table_is_as_its_contract_says(client: Client, wanted: Shape) -> None:
    client.command(create(wanted, wanted.full_name))
    database, _, table = wanted.full_name.partition(".")
    of_it = {"database": database, "table": table}
    asked = (
        "SELECT name, type, is_in_sorting_key, comment FROM system.columns "
        "WHERE database = {database:String} AND table = {table:String} ORDER BY position"
    )
    columns = client.query(asked, of_it).result_rows
    assert [column[:3] for column in columns] == wanted.described()
    assert [column[3] for column in columns[:-1]] == [column.comment for column in wanted.columns]
    asked = (
        "SELECT engine, sorting_key, comment FROM system.tables "
        "WHERE database = {database:String} AND name = {table:String}"
    )
    assert client.query(asked, of_it).result_rows == [("ReplacingMergeTree", ", ".join(wanted.key), wanted.grain)]


def test_a_type_that_no_contract_has_had_is_refused() -> None:
    with pytest.raises(ValueError, match="no ClickHouse type is known for binary"):
        column_type("binary")


def test_a_wording_with_quotes_is_told_as_it_is(client: Client) -> None:
    said = "the maker's \\ own"
    client.command(create(Shape("gold.quoted", said, (Column("x", "int", said),), ("x",), "0"), "gold.quoted"))
    asked = "SELECT comment FROM system.columns WHERE table = 'quoted' AND name = 'x'"
    assert client.query(asked).result_rows == [(said,)]
