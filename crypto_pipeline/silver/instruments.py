"""What each pair was when: its status, steps and limits over time, and which asset a ticker named then."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import instruments
from crypto_pipeline.frames import added, differing
from crypto_pipeline.silver.candle_frames import every_source
from shared.tables import DECIMAL, Column, Table

_SAYS = ("base_asset", "quote_asset", "status", "tick_size", "step_size", "min_notional")
DELISTED = "DELISTED"

TABLE = Table(
    layer="silver",
    name="instruments",
    grain="One row per exchange, symbol and span of time in which the exchange said the same of it",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("base_asset", "string", "what is traded"),
        Column("quote_asset", "string", "what it is priced in"),
        Column("instrument_id", "string", "exchange:symbol:n; n counts up when a delisted ticker is listed again"),
        Column(
            "valid_from", "timestamp", "since when the exchange said so, inclusive; of the first span, when we asked"
        ),
        Column("valid_to", "timestamp", "until when, exclusive; null: it still does"),
        Column("status", "string", "the exchange's word (TRADING, HALT, BREAK), or DELISTED where it lists it no more"),
        Column("tick_size", DECIMAL, "the step of prices, in the quote asset"),
        Column("step_size", DECIMAL, "the step of quantities, in the base asset"),
        Column("min_notional", DECIMAL, "the least value of an order, in the quote asset"),
        Column("listed_at", "timestamp", "when we first saw this instrument_id: it was listed then, or earlier"),
        Column(
            "delisted_at",
            "timestamp",
            "since when this instrument_id is gone: no longer listed, or BREAK for over a week; null: it is listed",
        ),
        Column("ingestion_ts", "timestamp", "when the row was written"),
    ),
    key=("exchange", "symbol", "valid_from"),
    buckets=1,
    rules={"it_ends_after_it_began": "valid_to is null or valid_to > valid_from"},
)
SOURCES = (instruments.TABLE,)

_SERIES = ("exchange", "symbol")
_ABSENT = ("BREAK", DELISTED)
_GONE_AFTER = timedelta(days=7)
"""Binance lists a pair for ever and says BREAK of one that it has delisted; an interruption is of hours."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The pairs of which the exchange said something new, and those that are interrupted for too long by now."""
    is_in_break = F.col("valid_to").isNull() & (F.col("status") == "BREAK") & F.col("delisted_at").isNull()
    absent_since = F.coalesce(F.max(F.when(~F.col("status").isin(*_ABSENT), F.col("valid_to"))), F.min("valid_from"))
    pairs = current.groupBy(*_SERIES).agg(F.max(is_in_break).alias("is_in_break"), absent_since.alias("absent_since"))
    overdue = pairs.filter(F.col("is_in_break") & (F.col("absent_since") < F.lit(now - _GONE_AFTER)))
    return changes["bronze.instruments"].select(*_SERIES).unionByName(overdue.select(*_SERIES)).distinct()


def needs(keys: DataFrame, now: datetime) -> DataFrame:
    """All that was ever said of them; the source is small and has no partitions."""
    spans = keys.limit(1).select(F.lit(_EPOCH).alias("start"), F.lit(now).alias("end"))
    return every_source(spans, SOURCES)


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The spans of the pairs `keys` that differ from the current ones.

    An exchange's word comes in order, so a span that was written never vanishes: only its end is set.
    """
    said = sources["bronze.instruments"].join(keys, on=list(_SERIES), how="left_semi")
    in_time = Window.partitionBy(*_SERIES).orderBy("event_time")
    says = F.struct(*_SAYS)
    is_new = F.col("before").isNull() | ~F.col("before").eqNullSafe(says)
    spans = added(
        added(said, before=F.lag(says).over(in_time)).filter(is_new),
        valid_from=F.col("event_time"),
        valid_to=F.lead("event_time").over(in_time),
    )
    # An absence is one, however often the steps of the pair change in it.
    parted = added(spans, is_absent=F.col("status").isin(*_ABSENT))
    begins = (F.col("is_absent") != F.lag("is_absent").over(in_time)).cast("int")
    absences = added(added(parted, begins=begins), absence=F.sum("begins").over(in_time))
    of_absence = Window.partitionBy(*_SERIES, "absence")
    absent_from = F.min("valid_from").over(of_absence)
    lasts_too_long = F.max(F.coalesce("valid_to", F.lit(now))).over(of_absence) > absent_from + F.lit(_GONE_AFTER)
    is_delisted = F.max(F.col("status") == DELISTED).over(of_absence)
    judged = added(absences, absent_from=absent_from, is_gone=F.col("is_absent") & (is_delisted | lasts_too_long))
    comes_again = F.lag("is_gone").over(in_time) & ~F.col("is_absent")
    counted = added(judged, comes_again=F.coalesce(comes_again, F.lit(False)))
    number = F.sum(F.col("comes_again").cast("int")).over(in_time) + 1
    named = added(counted, instrument_id=F.concat_ws(":", *_SERIES, number))
    of_one = Window.partitionBy("instrument_id")
    gone = F.when(F.col("is_gone"), F.col("absent_from"))
    built = added(named, listed_at=F.min("valid_from").over(of_one), delisted_at=F.min(gone).over(of_one))
    return differing(built, current, TABLE)
