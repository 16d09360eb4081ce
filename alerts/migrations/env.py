"""What Alembic runs: the migrations that are missing, in one transaction, one process at a time."""

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from alerts.store import login

_ONE_AT_A_TIME = 0x616C7363  # "alsc"

_settings = context.config.attributes["settings"]
_engine = create_engine("postgresql+psycopg2://", creator=lambda: login(_settings), poolclass=NullPool)

with _engine.begin() as _connection:
    _connection.execute(text(f"select pg_advisory_xact_lock({_ONE_AT_A_TIME})"))
    context.configure(connection=_connection, version_table_schema="alerts")
    context.run_migrations()
