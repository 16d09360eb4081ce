"""When Kafka had a message, and how late data is in Kafka and in gold: null in the rows that are there."""

from alembic import op

revision = "0002"
down_revision = "0001"

_NEW = {
    "bronze.bronze_ohlcv_native": ("kafka_time timestamptz",),
    "bronze.gaps": ("kafka_time timestamptz",),
    "gold.data_quality_hourly": ("to_kafka jsonb", "to_gold jsonb"),
    "gold.data_quality": tuple(
        f"latency_{stage}_p{percent}_ms float8" for stage in ("kafka", "gold") for percent in (50, 95, 99)
    ),
}


def upgrade() -> None:
    """Columns at the end: no row is written anew."""
    for table, columns in _NEW.items():
        op.execute(f"ALTER TABLE {table} {', '.join(f'ADD COLUMN {column}' for column in columns)}")
