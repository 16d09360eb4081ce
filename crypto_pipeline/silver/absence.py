"""Why something of a minute is not there: the holes on record, and the exchange's own word that it did not trade."""

from datetime import timedelta

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added
from crypto_pipeline.silver import instruments
from shared.symbol_manager import TRADING

REACH = timedelta(days=7)
"""A hole on record explains minutes for so long after its begin: else each minute would have to ask for all that ever
was."""
SKEW = timedelta(minutes=5)
"""The exchange's clock says when a hole begins, ours when it was last looked at; bronze refuses what differs more."""

_KAFKA = "kafka"
"""What `bronze.gaps` gives as exchange of messages that Kafka dropped unread: they may have been of any."""
_MINUTE = 60_000_000
_ALWAYS = 2**62
"""Microseconds, or ids, beyond any."""
_WORST_LAST = ("repaired", "venue_gap", "lost", "open")
_HOLE = (
    *("badness", "kind", "first_missing", "last_missing", "since", "until"),
    *("cause", "status", "repaired_from", "detail", "reason"),
)
"""Of several holes that concern a minute the greatest says most of it: by status, then trades before klines."""


def micros(span: timedelta) -> Expression:
    """A span of time in microseconds."""
    return F.lit(span // timedelta(microseconds=1))


def holes(gaps: DataFrame) -> DataFrame:
    """The holes of trades and klines in `bronze.gaps`, with the time in which what they miss may lie.

    `since` to `until`, microseconds, both inclusive; `until` is open while the hole grows. `kind` is `trade`,
    `kline_1m` (their ids and open times are `first_missing` to `last_missing`), or `expired`.
    """
    is_expired, is_kline = F.col("exchange") == _KAFKA, F.col("gap_stream") == "kline_1m"
    grows = (F.col("status") == "open") & F.col("last_missing").isNull()
    looked_at = F.unix_micros("updated_at") + micros(SKEW)
    until = F.when(is_expired, looked_at).when(is_kline, F.col("last_missing")).when(~grows, looked_at)
    begin = F.unix_micros("event_time")
    since = F.when(~is_expired & is_kline, F.least(begin, "first_missing")).otherwise(begin)
    return gaps.filter(F.col("gap_stream").isin("trade", "kline_1m")).select(
        "exchange",
        "symbol",
        F.when(is_expired, F.lit("expired")).otherwise(F.col("gap_stream")).alias("kind"),
        since.alias("since"),
        F.least(F.coalesce(until, F.lit(_ALWAYS)), since + micros(REACH)).alias("until"),
        "first_missing",
        F.coalesce("last_missing", F.lit(_ALWAYS)).alias("last_missing"),
        "cause",
        "status",
        "repaired_from",
        "detail",
        F.expr(f"array_position(array{_WORST_LAST}, status)").alias("badness"),
        F.when(is_expired, F.lit("expired"))
        .when(F.col("status") == "venue_gap", F.lit("venue_gap"))
        .otherwise(F.lit("our_outage"))
        .alias("reason"),
    )


def of_symbol(hole_symbol: Expression, symbol: Expression) -> Expression:
    """A hole of Kafka's concerns the symbol: of one topic for all it names the topic's partition in its place."""
    return (hole_symbol == symbol) | hole_symbol.contains("[")


def with_holes(minutes: DataFrame, gaps: DataFrame) -> DataFrame:
    """The minutes with `holes`, an array of those of their symbol that lie in their day."""
    found = added(holes(gaps), hole=F.struct(*_HOLE))
    days = F.sequence(F.to_date(F.timestamp_micros("since")), F.to_date(F.timestamp_micros("until")))
    by_day = (
        found.filter("kind != 'expired' and until >= since")
        .select("exchange", "symbol", F.explode(days).alias("day"), "hole")
        .groupBy("exchange", "symbol", "day")
        .agg(F.collect_list("hole").alias("own"))
    )
    dropped = found.filter("kind = 'expired'").agg(F.collect_list(F.struct("symbol", "hole")).alias("dropped"))
    both = added(minutes, day=F.to_date("interval_start")).join(
        F.broadcast(by_day), on=["exchange", "symbol", "day"], how="left"
    )
    both = both.crossJoin(F.broadcast(dropped))
    symbol = F.col("symbol")
    mine = F.filter("dropped", lambda one: of_symbol(one["symbol"], symbol))["hole"]
    return added(both, holes=F.concat(F.coalesce("own", F.array()), mine))


def concerns(hole: Expression, low: Expression, high: Expression, lacks: Expression) -> Expression:
    """A hole lies in the minute `interval_start`, of which `low` to `high` are the ids that it has or may have (null
    where that is not known); `lacks` where some of them are not there."""
    start = F.unix_micros("interval_start")
    in_time = (start + F.lit(_MINUTE) > hole["since"]) & (start <= hole["until"])
    by_id = (hole["first_missing"] <= F.coalesce(high, F.lit(_ALWAYS))) & (
        hole["last_missing"] >= F.coalesce(low, F.lit(-1))
    )
    has_end = hole["last_missing"] < F.lit(_ALWAYS)
    return in_time & (
        F.when(hole["kind"] == "trade", by_id & (has_end | lacks))
        .when(hole["kind"] == "kline_1m", start >= hole["first_missing"])
        .otherwise(lacks)
    )


def has_no_kline(found: Expression) -> Expression:
    """The exchange was asked for the minute's kline, and has none: it did not trade."""
    return F.exists(found, lambda hole: (hole["kind"] == "kline_1m") & (hole["status"] == "venue_gap"))


def closures(spans: DataFrame) -> DataFrame:
    """The spans of `silver.instruments` in which a pair did not trade: `word` is `halt` or `not_listed`."""
    is_gone = (F.col("status") == instruments.DELISTED) | F.coalesce(
        F.col("valid_from") >= F.col("delisted_at"), F.lit(False)
    )
    word = F.when(is_gone, F.lit("not_listed")).when(F.col("status") != TRADING, F.lit("halt"))
    return added(spans, word=word).filter("word is not null")


def with_closure(minutes: DataFrame, spans: DataFrame) -> DataFrame:
    """The minutes with `closure`, the exchange's `word` and `status`, where it did not trade the whole minute long."""
    shut = (
        closures(spans)
        .groupBy("exchange", "symbol")
        .agg(
            F.collect_list(
                F.struct(
                    F.unix_micros("valid_from").alias("since"),
                    F.coalesce(F.unix_micros("valid_to"), F.lit(_ALWAYS)).alias("until"),
                    "word",
                    "status",
                )
            ).alias("shut")
        )
    )
    start = F.unix_micros("interval_start")

    def shared(span: Expression) -> Expression:
        return F.least(span["until"], start + F.lit(_MINUTE)) - F.greatest(span["since"], start)

    touching = F.filter("shut", lambda span: shared(span) > 0)
    length = F.aggregate("touching", F.lit(0).cast("bigint"), lambda so_far, span: so_far + shared(span))
    last = F.array_max(F.col("touching"))
    joined = added(minutes.join(F.broadcast(shut), on=["exchange", "symbol"], how="left"), touching=touching)
    return added(joined, closure=F.when(length == _MINUTE, last))
