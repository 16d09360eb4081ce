"""Every version of every closed candle, and when it was known: what a back-test may see.

A version is another value of the candle (its prices, volumes, counts or ids). What only proves a candle better changes
`status` and `proof` and is no version: of the current one they say how it stands now, of an earlier one how it stood
last. The versions of a candle follow each other without a hole: `known_to` of one is `known_from` of the next.
"""

from crypto_pipeline.silver.candles import CANDLE_COLUMNS, VERSION
from shared.tables import View

_TABLES = ("silver.ohlcv_1m", "silver.ohlcv")


def versions(table: str) -> str:
    """SQL: the versions of a table's closed candles, the current ones (`known_to` null) too."""
    now, then = [], []
    for name in (column.name for column in CANDLE_COLUMNS):
        if name == "known_at":
            now += ["known_at AS known_from", "NULL AS known_to"]
            then += ["timestamp_micros(v.known_at) AS known_from", "timestamp_micros(v.known_to) AS known_to"]
        else:
            now.append(name)
            earlier = f"v.{name}" if name in VERSION else name
            then.append(f"{f'timestamp_micros({earlier})' if name == 'ingestion_ts' else earlier} AS {name}")
    shared = ", ".join(column.name for column in CANDLE_COLUMNS if column.name not in VERSION)
    # A candle that has earlier versions was closed in each of them.
    return (
        f"SELECT {', '.join(then)} FROM (SELECT {shared}, explode(superseded) AS v FROM {table}) "  # noqa: S608 (names of our own)
        f"UNION ALL SELECT {', '.join(now)} FROM {table} WHERE is_closed"
    )


VIEW = View(
    layer="silver",
    name="ohlcv_revisions",
    grain="One row per exchange, symbol, interval, start and revision of a closed candle",
    tables=_TABLES,
    sql=" UNION ALL ".join(versions(table) for table in _TABLES),
    comments={
        "known_from": "when this version became known",
        "known_to": "when the next one did; null: it is the current one",
    },
)
