"""The served tables as SQLAlchemy knows them, and how their types follow from the contracts."""

import re
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from crypto_pipeline.catalog import LAYERS
from crypto_pipeline.indicators._file import plan
from serving.tables import Served, served

INDICATORS = "silver.indicators"
BOOKKEEPING = "serving"
"""The schema of what is noted about the tables: `marks`, and which migrations were made."""
SCHEMAS = (*LAYERS, BOOKKEEPING)

_TYPES: dict[str, TypeEngine[Any]] = {
    "string": Text(),
    "boolean": Boolean(),
    "int": Integer(),
    "bigint": BigInteger(),
    "double": Double(),
    "date": Date(),
    "timestamp": DateTime(timezone=True),
    "array<string>": ARRAY(Text()),
}


def column_type(spark_type: str) -> TypeEngine[Any]:
    """PostgreSQL's type for a contract's. What is nested is `jsonb`, but for a list of strings, which is `text[]`.

    Raises `ValueError` for a type that no contract has had yet.
    """
    if found := _TYPES.get(spark_type):
        return found
    if decimal := re.fullmatch(r"decimal\((\d+), *(\d+)\)", spark_type):
        return Numeric(int(decimal[1]), int(decimal[2]))
    if spark_type.startswith(("array<", "struct<", "map<")):
        return JSONB()
    raise ValueError(f"no PostgreSQL type is known for {spark_type}")


def metadata() -> MetaData:
    """Every table that the migrations must have made."""
    known = MetaData()
    for table in served().values():
        _declare(table, known)
    Table(
        "marks",
        known,
        Column("table_name", Text(), comment="the served table, such as silver.fact_ohlcv"),
        Column("source", Text(), comment="the table of the lake that was followed"),
        Column("mark", Text(), nullable=False, comment="until which commit of the source, by Hudi's time"),
        Column(
            "written_at",
            DateTime(timezone=True),
            nullable=False,
            server_default=func.now(),
            comment="when it was taken in",
        ),
        PrimaryKeyConstraint("table_name", "source", name="marks_pkey"),
        schema=BOOKKEEPING,
        comment="One row per served table and source: how far the lake was followed",
    )
    return known


def _declare(table: Served, known: MetaData) -> None:
    Table(
        table.name,
        known,
        *(
            Column(column.name, column_type(column.type), nullable=column.name not in table.key, comment=column.comment)
            for column in table.columns
        ),
        PrimaryKeyConstraint(*table.key, name=f"{table.name}_pkey"),
        schema=table.layer,
        comment=table.grain,
        postgresql_partition_by=f"RANGE ({table.month_of})" if table.month_of else None,
    )


def configured_columns() -> list[Column[Any]]:
    """The columns of `silver.indicators` that `config/indicators.yaml` names, and no migration can know."""
    names = plan().comments()
    return [column for column in metadata().tables[INDICATORS].columns if column.name in names]


def is_migrated(
    thing: SchemaItem, name: str | None, _kind: str, reflected: bool, counterpart: SchemaItem | None
) -> bool:
    """Whether Alembic is to compare a thing: not the months of a table, nor the columns that are configured."""
    if isinstance(thing, Table) and reflected and counterpart is None:
        return not any(
            thing.schema == table.layer and thing.name.startswith(f"{table.name}_")
            for table in served().values()
            if table.month_of
        )
    if isinstance(thing, Column) and thing.table.fullname == INDICATORS:
        is_given_up = reflected and counterpart is None
        return not (is_given_up or name in plan().comments())
    return True
