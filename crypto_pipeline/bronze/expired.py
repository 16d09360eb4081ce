"""What retention has let go of: days of the raw archive and of tables, by `config/retention.yaml`.

A day stands here before anything of it is removed, and stays for ever: what is not there is known to have expired, and
is never thought of as missing.
"""

from shared.tables import Column, Table

TABLE = Table(
    layer="bronze",
    name="expired",
    grain="One row per day of what was let go of: of the raw archive by exchange and symbol, of a table as a whole",
    columns=(
        Column("what", "string", "raw, or the full name of a table: bronze.depth"),
        Column("exchange", "string", "of the raw archive; empty: of a table, all"),
        Column("symbol", "string", "of the raw archive; empty: of a table, all"),
        Column("day", "string", "UTC day of the data, yyyy-MM-dd"),
        Column("files", "bigint", "that were there of it"),
        Column("bytes", "bigint", "of these files"),
        Column("expired_at", "timestamp", "when it was let go of"),
    ),
    key=("what", "exchange", "symbol", "day"),
    bucket="what",
    buckets=1,
)
