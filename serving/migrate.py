"""The serving database brought to the schema of this code, in one transaction: a killed one leaves all as it was."""

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, NullPool, create_engine, inspect, text
from sqlalchemy.schema import CreateColumn, CreateSchema, SetColumnComment, SetTableComment

from serving.schema import BOOKKEEPING, INDICATORS, configured_columns, metadata

if TYPE_CHECKING:
    from shared.settings import Settings

_ONE_AT_A_TIME = 7_262_001
"""The advisory lock of a migration; another process that begins one waits for it, and then has nothing to do."""


def migrate(settings: "Settings") -> None:
    """Make the migrations that the database has not had, give it the configured indicators, and tell what columns hold.

    Raises SQLAlchemy's `OperationalError` where the database does not let its owner in.
    """
    with create_engine(settings.serving_owner_url, poolclass=NullPool).begin() as connection:
        upgrade(connection)


def upgrade(connection: Connection) -> None:
    """The same on a connection of the owner, within its transaction."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ONE_AT_A_TIME})
    connection.execute(CreateSchema(BOOKKEEPING, if_not_exists=True))
    command.upgrade(alembic_config(connection), "head")
    _add_configured_columns(connection)
    _comment(connection)


def alembic_config(connection: Connection) -> Config:
    """What Alembic's commands want to know, to work on this connection."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


def _add_configured_columns(connection: Connection) -> None:
    """One that the configuration gave up stays, null in what is written from then on, as in the lake."""
    schema, _, name = INDICATORS.partition(".")
    there = {column["name"] for column in inspect(connection).get_columns(name, schema)}
    for column in configured_columns():
        if column.name not in there:
            described = CreateColumn(column).compile(dialect=connection.dialect)
            connection.execute(text(f"ALTER TABLE {INDICATORS} ADD COLUMN {described}"))


def _comment(connection: Connection) -> None:
    """The contracts' words, where the database has others: a new wording needs no migration."""
    told = connection.execute(
        text(
            "SELECT n.nspname, c.relname, coalesce(a.attname, ''), d.description FROM pg_description d "
            "JOIN pg_class c ON c.oid = d.objoid JOIN pg_namespace n ON n.oid = c.relnamespace "
            "LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0 "
            "WHERE d.classoid = 'pg_class'::regclass"
        )
    )
    known = {(schema, table, column): words for schema, table, column, words in told}
    for table in metadata().tables.values():
        if table.comment != known.get((table.schema, table.name, "")):
            connection.execute(SetTableComment(table))
        for column in table.columns:
            if column.comment != known.get((table.schema, table.name, column.name)):
                connection.execute(SetColumnComment(column))
