"""`docs/tables.md`: what it says of a contract, and that it is what the contracts say."""

from types import ModuleType

import pytest

from crypto_pipeline import table_docs
from crypto_pipeline.catalog import table_modules, tables, views
from shared.tables import Column, Table, View

TRADES = Table(
    layer="bronze",
    name="trades",
    grain="One row per trade",
    columns=(Column("symbol", "string", "a | b"), Column("price", "decimal(38,18)", "in the quote asset")),
    key=("symbol",),
    partitions=("date", "hour"),
    ordering="price",
    rules={"price_is_positive": "price > 0 or symbol = 'a||b'"},
    marks={"price_is_low": "price < 1"},
)
SUMS = Table("gold", "sums", "One row per symbol", (Column("symbol", "string", "canonical"),), key=("symbol",))
DEAR = View(
    "silver",
    "dear",
    "One row per dear trade",
    ("bronze.trades",),
    "SELECT *, price > 1000 AS is_very_dear, unix_seconds(now()) AS at FROM bronze.trades",
    {"is_very_dear": "over 1000"},
)


def module(docstring: str, **attributes: object) -> ModuleType:
    made = ModuleType("module", docstring)
    vars(made).update(attributes)
    return made


@pytest.fixture(scope="module")
def page() -> str:
    return table_docs.reference(
        {
            "bronze.trades": module("What traded.", TABLE=TRADES, EVENT=int),
            "silver.dear": module("What cost much.", VIEW=DEAR),
            "gold.sums": module("Sums of all.", TABLE=SUMS, SOURCES=(TRADES,), JOB="analytics", EVENT=["symbol"]),
        }
    )


def test_the_page_on_disk_is_what_the_contracts_say() -> None:
    is_current = table_docs.FILE.read_text(encoding="utf-8") == table_docs.reference(table_modules())
    assert is_current, f"docs/tables.md is not what the contracts say: run `{table_docs.COMMAND}` and commit it"


def test_every_table_and_view_is_on_the_page_with_its_anchor() -> None:
    page = table_docs.FILE.read_text(encoding="utf-8")
    for name in table_modules():
        assert page.count(f'<a id="{name}"></a>') == 1
        assert f"](#{name})" in page


def test_every_column_of_every_view_is_explained() -> None:
    described = table_docs.columns_of(views(), tables())
    unexplained = [f"{name}.{c.name}" for name, columns in described.items() for c in columns if not c.comment]
    assert not unexplained, "say what they hold in `comments` of the view"


def test_a_table_is_described_whole(page: str) -> None:
    for line in (
        "**One row per trade.**",
        "What traded.",
        "- Key: `symbol`",
        "- Partitions: `date`, `hour`",
        "- Of two rows of one key stays the one with the greater: `price`",
        "- Made from: events of the kind `int`, from Kafka",
        "- Used by: [`silver.dear`](#silver.dear), [`gold.sums`](#gold.sums)",
        "- Made by: the job `pipeline`, a run a minute",
        "| `price` | `decimal(38,18)` | in the quote asset |",
        "| `price_is_low` | `price < 1` |",
        "- Made from: [`bronze.trades`](#bronze.trades)",
        "- Made by: the job `analytics`, a run each 5 minutes",
    ):
        assert f"{line}\n" in page


def test_a_bar_does_not_end_its_cell(page: str) -> None:
    assert "| `symbol` | `string` | a \\| b |" in page
    assert "| `price_is_positive` | `price > 0 or symbol = 'a\\|\\|b'` |" in page


def test_a_view_has_the_types_that_its_sql_gives_and_the_comments_of_its_tables(page: str) -> None:
    of_view = page[page.index("### silver.dear") : page.index('id="gold.sums"')]
    assert "| `price` | `decimal(38,18)` | in the quote asset |" in of_view
    assert "| `is_very_dear` | `boolean` | over 1000 |" in of_view
    assert "| `at` | `bigint` |  |" in of_view
    assert "- A view of: [`bronze.trades`](#bronze.trades)" in of_view


def test_what_no_event_and_no_table_makes_comes_with_the_others_of_its_layer() -> None:
    assert table_docs.made_by(module("Refused.", TABLE=TRADES)) == "the run that writes the other tables of its layer"
