"""`docs/tables.md`: every table and view of the lake, as its contract has it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import NoReturn

import pyarrow as pa

from crypto_pipeline.catalog import LAYERS
from crypto_pipeline.lake_sql import Lake
from crypto_pipeline.monitoring import cadences
from crypto_pipeline.reader import LakeError
from shared.settings import PROJECT
from shared.tables import Column, Table, View

FILE = PROJECT / "docs" / "tables.md"
COMMAND = "crypto docs"
"""It writes the file."""
_INTRODUCTION = f"""\
# Tables

Every table and view of the lake. This page is made from the contracts by `{COMMAND}`: change those, not this page.

All times are in UTC. A `decimal` is exact; `crypto query` gives it as a float unless `--exact` asks for more. The
indicators are those of `config/indicators.yaml`. An anchor is a table's name: `docs/tables.md#silver.ohlcv_1m`.
"""
_WHAT_LAYERS_HOLD = {
    "bronze": "What was received, row by row: Kafka's messages as tables.",
    "silver": "Candles and what is derived from them, and the evidence that they are complete.",
    "gold": "Answers.",
}
_SPARK_TYPES = {
    "VARCHAR": "string",
    "BOOLEAN": "boolean",
    "INTEGER": "int",
    "BIGINT": "bigint",
    "DOUBLE": "double",
    "DATE": "date",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
}
"""Of DuckDB's types; a decimal's has another spelling alone."""


def reference(modules: Mapping[str, ModuleType]) -> str:
    """The page, in Markdown, of the modules of tables and views by full name. An anchor is the full name."""
    tables = {name: module.TABLE for name, module in modules.items() if hasattr(module, "TABLE")}
    views = {name: module.VIEW for name, module in modules.items() if hasattr(module, "VIEW")}
    columns = columns_of(views, tables)
    used_by = _used_by(modules)
    parts = [_INTRODUCTION]
    described: Sequence[Column]
    for layer in LAYERS:
        names = [name for name in modules if name.startswith(f"{layer}.")]
        contracts = {name: tables.get(name) or views[name] for name in names}
        parts.append(f"## {layer.capitalize()}\n\n{_WHAT_LAYERS_HOLD[layer]}\n\n" + "\n".join(_contents(contracts)))
        for name, contract in contracts.items():
            if isinstance(contract, Table):
                facts = _facts_of_table(modules[name], contract, used_by.get(name, []))
                described = contract.columns
            else:
                facts = _facts_of_view(contract)
                described = columns[name]
            parts.append("\n".join(_section(name, contract.grain, str(modules[name].__doc__), facts, described)))
            if isinstance(contract, Table):
                parts.extend(_conditions(contract))
    return "\n".join(f"{part.rstrip()}\n" for part in parts)


def made_by(module: ModuleType) -> str:
    """Which job makes the table of a module, and how often."""
    if not hasattr(module, "SOURCES") and not _event(module):
        return "the run that writes the other tables of its layer"
    job = getattr(module, "JOB", "pipeline")
    cadence = cadences(5).get(job)
    return f"the job `{job}`" + (f", {cadence.expected}" if cadence else "")


def _event(module: ModuleType) -> type | None:
    """The class of the event that a bronze table is made from."""
    return getattr(module, "EVENT", None) if module.TABLE.layer == "bronze" else None


def columns_of(views: Mapping[str, View], tables: Mapping[str, Table]) -> dict[str, list[Column]]:
    """Each view's columns: types as DuckDB finds them, comments of its own or of the table that has the column."""
    with Lake(tables, views, _unread, exact=True) as lake:
        found = {name: lake.query(f"describe {name}") for name in views}
    return {name: list(_described(views[name], answer, tables)) for name, answer in found.items()}


def _described(view: View, answer: pa.Table, tables: Mapping[str, Table]) -> Iterator[Column]:
    comments = {c.name: c.comment for source in reversed(view.tables) for c in tables[source].columns}
    for row in answer.to_pylist():
        name, kind = row["column_name"], row["column_type"]
        comment = view.comments.get(name) or comments.get(name, "")
        yield Column(name, _SPARK_TYPES.get(kind, kind.lower()), comment)


def _unread(table: Table) -> NoReturn:
    raise LakeError(f"{table.full_name} is not read for its description.")


def _used_by(modules: Mapping[str, ModuleType]) -> dict[str, list[str]]:
    """The tables and views that are made of each."""
    users: dict[str, list[str]] = {}
    for name, module in modules.items():
        if hasattr(module, "VIEW"):
            sources = list(module.VIEW.tables)
        else:
            sources = [source.full_name for source in getattr(module, "SOURCES", ())]
        for source in sources:
            users.setdefault(source, []).append(name)
    return users


def _contents(contracts: Mapping[str, Table | View]) -> Iterator[str]:
    yield "| table | |"
    yield "|---|---|"
    for name, contract in contracts.items():
        kind = "" if isinstance(contract, Table) else " (view)"
        yield f"| [`{name}`](#{name}){kind} | {_cell(contract.grain)} |"


def _section(
    name: str, grain: str, docstring: str, facts: Iterable[tuple[str, str]], columns: Iterable[Column]
) -> Iterator[str]:
    yield f'<a id="{name}"></a>\n'
    yield f"### {name}\n"
    yield f"**{grain}.**\n"
    yield f"{docstring.strip()}\n"
    for what, value in facts:
        yield f"- {what}: {value}"
    yield "\n| column | type | |"
    yield "|---|---|---|"
    for column in columns:
        yield f"| `{column.name}` | {_code(column.type)} | {_cell(column.comment)} |"


def _facts_of_table(module: ModuleType, table: Table, used_by: list[str]) -> Iterator[tuple[str, str]]:
    yield "Key", _listed(table.key)
    yield "Partitions", _listed(table.partitions) or "none"
    if table.ordering:
        yield "Of two rows of one key stays the one with the greater", _code(table.ordering)
    if event := _event(module):
        yield "Made from", f"events of the kind `{event.__name__}`, from Kafka"
    if sources := getattr(module, "SOURCES", ()):
        yield "Made from", _linked(source.full_name for source in sources)
    if used_by:
        yield "Used by", _linked(used_by)
    yield "Made by", made_by(module)


def _facts_of_view(view: View) -> Iterator[tuple[str, str]]:
    yield "A view of", _linked(view.tables)


def _conditions(table: Table) -> Iterator[str]:
    for title, conditions in (
        ("Rules: where a row breaks one it does not go on", table.rules),
        ("Marks: where a row breaks one it goes on, and `broken_rules` names it", table.marks),
    ):
        if conditions:
            lines = [f"{title}.\n", "| name | what must hold |", "|---|---|"]
            lines += [f"| `{name}` | {_code(condition)} |" for name, condition in conditions.items()]
            yield "\n".join(lines)


def _linked(names: Iterable[str]) -> str:
    return ", ".join(f"[`{name}`](#{name})" for name in names)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(_code(name) for name in names)


def _code(text: str) -> str:
    """As code in a cell: a bar would end it."""
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
