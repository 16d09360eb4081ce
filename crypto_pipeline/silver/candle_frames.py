"""What all that makes candles shares: their intervals in Spark, and how two versions of a candle are told apart."""

from collections.abc import Sequence

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added
from crypto_pipeline.silver.candles import BOOKKEEPING, CANDLE_COLUMNS, KEPT, LONGER, SUPERSEDED, VALUES, VERSION
from shared.tables import DECIMAL, Table


def every_source(spans: DataFrame, sources: Sequence[Table]) -> DataFrame:
    """The same spans (`start`, `end`) for each source: rows of `source`, `interval` (null: all), `start`, `end`."""
    names = F.explode(F.array(*[F.lit(table.full_name) for table in sources]))
    return spans.select(names.alias("source"), F.lit(None).cast("string").alias("interval"), "start", "end")


def in_every_interval(minutes: DataFrame, columns: Sequence[str] = ("exchange", "symbol")) -> DataFrame:
    """These columns of each minute, and its `minute`, once for every longer interval, with that one's start."""
    start = F.col("interval_start")
    one_each = [
        F.struct(
            F.lit(name).alias("interval"),
            F.lit(seconds).alias("interval_seconds"),
            interval_start(start, seconds).alias("interval_start"),
        )
        for name, seconds in LONGER.items()
    ]
    return minutes.select(*columns, start.alias("minute"), F.inline(F.array(*one_each)))


def interval_start(time: Expression, seconds: int) -> Expression:
    """The start of the interval that a time falls into."""
    return F.timestamp_seconds(F.floor(F.unix_seconds(time) / F.lit(seconds)) * F.lit(seconds))


def vwap() -> Expression:
    """The volume-weighted average price of the columns `quote_volume` and `volume`."""
    return F.when(F.col("volume") > 0, (F.col("quote_volume") / F.col("volume")).cast(DECIMAL))


def finished(candles: DataFrame, seconds: Expression) -> DataFrame:
    """With the columns that follow from the interval's start and its length in seconds."""
    start = F.unix_seconds("interval_start")
    return added(
        candles,
        interval_end=F.timestamp_seconds(start + seconds),
        minutes_expected=(seconds / 60).cast("int"),
        vwap=vwap(),
        month=F.date_format("interval_start", "yyyy-MM"),
    )


def revised(built: DataFrame, current: DataFrame, key: tuple[str, ...]) -> DataFrame:
    """The built candles that say something new, with `revision` counted on from the current ones.

    Where a closed candle gets other values, the version that it was until now goes to `superseded`.
    """
    says = [c.name for c in CANDLE_COLUMNS if c.name not in (*key, *BOOKKEEPING)]
    was = [F.col(name).alias(f"old_{name}") for name in BOOKKEEPING]
    old = current.select(*key, F.struct(*says).alias("old"), *was)
    new = built.select(*key, F.struct(*says).alias("new"))
    says_the_same = F.struct(*[F.col(f"new.{name}") for name in VALUES]).eqNullSafe(
        F.struct(*[F.col(f"old.{name}") for name in VALUES])
    )
    was_closed = F.coalesce(F.col("old.is_closed"), F.lit(False))
    is_new_version = was_closed & ~says_the_same
    known_at = F.when(was_closed & says_the_same, F.col("old_known_at")).otherwise(F.current_timestamp())
    revision = F.coalesce(F.col("old_revision"), F.lit(1)) + is_new_version.cast("int")
    before = F.coalesce(F.col("old_superseded"), F.array().cast(SUPERSEDED.type))
    superseded = F.when(is_new_version, F.concat(before, F.array(_version()))).otherwise(F.col("old_superseded"))
    return (
        new.join(old, on=list(key), how="left")
        .filter(~F.col("new").eqNullSafe(F.col("old")))
        .select(
            *key,
            "new.*",
            revision.alias("revision"),
            known_at.alias("known_at"),
            F.current_timestamp().alias("ingestion_ts"),
            superseded.alias("superseded"),
        )
    )


def _version() -> Expression:
    """The version that a candle was until now, of the columns `old` and `old_...`."""
    moments = {name: F.unix_micros(f"old_{name}") for name in ("known_at", "ingestion_ts")}
    moments["known_to"] = F.unix_micros(F.current_timestamp())
    kept = {name: F.col("old_revision" if name == "revision" else f"old.{name}") for name in KEPT}
    return F.struct(*[({**kept, **moments})[name].alias(name) for name in VERSION])
