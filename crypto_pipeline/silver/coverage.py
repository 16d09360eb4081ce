"""How well messages cover a minute: what each says holds until the next one, but no longer than `HOLDS`.

Book snapshots and tickers bear no number that counts them. So what can be said of a minute is in how many of its
seconds something was known, and for how long nothing came.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window, WindowSpec
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added
from crypto_pipeline.silver.candle_frames import every_source, interval_start
from shared.tables import Column, Table

HOLDS = timedelta(seconds=10)
"""So long after the last message its word is good; then nothing is known. Both streams come each second, and streaming
calls neither silent sooner (`streaming/watchdog.py`). At most a minute: what holds reaches into the next one alone."""

KEY = ("exchange", "symbol", "interval_start")
COLUMNS = (
    Column(
        "seconds_covered",
        "int",
        "of the minute's 60 seconds those in which a valid one came, or held for a moment at least: 0 to 60",
    ),
    Column(
        "longest_silence_ms",
        "int",
        "the longest time within the minute in which none came, valid or not, in milliseconds: 60000 where none did",
    ),
    Column("is_closed", "boolean", "the minute is over; until then the values move"),
)
RULES = {
    "it_starts_on_its_grid": "unix_micros(interval_start) % 60000000 = 0",
    "seconds_are_of_a_minute": "seconds_covered between 0 and 60",
    "silence_is_of_a_minute": "longest_silence_ms between 0 and 60000",
}

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HELD = HOLDS // timedelta(microseconds=1)


def touched(changed: DataFrame, current: DataFrame, now: datetime) -> DataFrame:
    """The minutes that changed messages (`time`) lie in or may hold into, and those that ended since they were made."""
    ended = current.filter(is_over(now) & ~F.col("is_closed")).select(*KEY)
    return in_minutes(changed).select(*KEY).unionByName(ended).distinct()


def needs(keys: DataFrame, sources: Sequence[Table]) -> DataFrame:
    """The hours of the minutes `keys` and of what may hold into them."""
    start = F.col("interval_start")
    around = F.explode(F.array(start - F.lit(HOLDS), start)).alias("time")
    hours = keys.select(around).select(F.date_trunc("hour", "time").alias("start")).distinct()
    return every_source(added(hours, end=F.col("start")), sources)


def in_minutes(messages: DataFrame) -> DataFrame:
    """The messages (`time`), each once for its own minute, and once for the next where it may hold into that."""
    last = F.col("time") + F.lit(HOLDS - timedelta(microseconds=1))
    minutes = F.array_distinct(F.array(interval_start(F.col("time"), 60), interval_start(last, 60)))
    return messages.select("*", F.explode(minutes).alias("interval_start"))


def in_time(*ties: str) -> WindowSpec:
    """The messages of a minute in order; of one time, by the columns `ties`."""
    return Window.partitionBy(*KEY).orderBy("time", *ties)


def held(messages: DataFrame, window: WindowSpec) -> DataFrame:
    """The messages of minutes (`in_minutes`, with `is_valid`) with what each is to the minute.

    `came`: it came in the minute, not before. `held`: the microseconds of the minute in which it held; one that is not
    valid ends what held before it and holds for none. `seconds`: those in which it came or held, a bit each, or null.
    `silence`: microseconds of the minute without a message before it, or after it where it is the last.
    """
    start = F.unix_micros("interval_start")
    at = F.unix_micros("time") - start
    ordered = added(messages, at=at, before=F.lag(at).over(window), after=F.lead(at).over(window))
    since = F.greatest("at", F.lit(0))
    until = F.least("after", F.col("at") + F.lit(_HELD), F.lit(_MINUTE))
    came = F.col("at") >= 0
    silence = F.greatest(
        since - F.greatest("before", F.lit(0)),
        F.when(F.col("after").isNull(), F.lit(_MINUTE) - since),
    )
    spans = added(ordered, came=came, since=since, until=until, silence=silence)
    lasted = F.greatest(F.col("until") - F.col("since"), F.lit(0))
    is_there = F.col("is_valid") & (came | (lasted > 0))
    first = F.floor(F.col("since") / _SECOND).cast("int")
    last = F.greatest(first, F.floor((F.col("until") - 1) / _SECOND).cast("int"))
    numbered = added(
        spans, held=F.when(F.col("is_valid"), lasted).otherwise(F.lit(0)), first_second=first, last_second=last
    )
    bits = F.expr("shiftleft(1L, last_second + 1) - shiftleft(1L, first_second)")
    return added(numbered, seconds=F.when(is_there, bits))


def covered() -> Sequence[Expression]:
    """`seconds_covered` and `longest_silence_ms` of `held` messages, grouped by minute."""
    seconds = F.bit_count(F.coalesce(F.bit_or("seconds"), F.lit(0)))
    silence = (F.max("silence") / 1000).cast("int")
    return seconds.alias("seconds_covered"), silence.alias("longest_silence_ms")


def is_over(now: datetime) -> Expression:
    """The minute `interval_start` is over."""
    return F.col("interval_start") <= F.lit(now - timedelta(minutes=1))
