"""How Alembic meets the serving database: on the connection that `serving.migrate` gives, or as its owner."""

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine

from serving.schema import BOOKKEEPING, SCHEMAS, is_migrated, metadata
from shared.settings import settings


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata(),
        version_table_schema=BOOKKEEPING,
        include_schemas=True,
        include_name=lambda name, kind, _: kind != "schema" or name in SCHEMAS,  # the others are others': of the alerts
        include_object=is_migrated,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _migrate(given)
else:
    with create_engine(settings().serving_owner_url, poolclass=NullPool).begin() as opened:
        _migrate(opened)
