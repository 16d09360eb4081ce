"""Whether each minute is complete, what of it is missing and why, and what was repaired: also where nothing came.

A symbol's rows begin with the first minute of which a trade or a kline is known, and go on without a gap to the last
minute that is over.

`status` and `proof` of a minute with a candle are those of `silver.ohlcv_1m`. One without is `complete` (`repaired`
where only REST says so) with `proof = trade_ids` where the exchange's closed kline says that nothing traded, or where
the trades around it, within six hours, have ids that follow each other. Else:

- `not_expected`: the exchange says that it did not trade the pair
- `pending`: something may still come; a day after the minute it is
- `missing` where nothing of it is there, and `partial` where something is

`reason`: why there is no candle, or why something was or is missing. Null where all came as it should, and while a
minute is pending and nothing is on record.

- `no_trades`: nothing was traded, proven as above
- `halt`, `not_listed`: the exchange says that the pair did not trade (`silver.instruments`; or it has no kline when
  asked for it), or that it does not list it
- `our_outage`: a hole in what we took in (`bronze.gaps`); `gap_status` is `open` while it mends, `repaired` after, or
  `lost` where nobody can tell what is in it
- `expired`: Kafka dropped it before it was read
- `venue_gap`: the exchange never issued these ids
- `not_collected`: nothing is on record: nobody asked for it, as for the single trades of minutes of which only klines
  were imported

`evidence` is the sentence on record, or the exchange's word. A hole is looked for up to a week after its begin.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import add

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import gaps, klines, trades
from crypto_pipeline.frames import added, differing
from crypto_pipeline.silver import absence, instruments, ohlcv_1m, order_book_1m, ticker_1m
from shared.symbol_manager import TRADING
from shared.tables import Column, Table

TABLE = Table(
    layer="silver",
    name="completeness",
    grain="One row per exchange, symbol and minute, from its first known minute on, also where nothing came",
    columns=(
        Column("exchange", "string", "the market: binance is Binance spot"),
        Column("symbol", "string", "canonical: base and quote in upper case, joined"),
        Column("interval_start", "timestamp", "the minute, UTC, inclusive"),
        Column("status", "string", "complete, repaired, pending, partial, missing or not_expected"),
        Column("proof", "string", "what it rests on: trade_ids, agg, exchange_kline or none"),
        Column(
            "reason",
            "string",
            "no_trades, halt, not_listed, our_outage, expired, venue_gap or not_collected; null: all came as it should",
        ),
        Column(
            "trades_expected",
            "bigint",
            "as the exchange's closed kline counts them, else as the ids around them do; null where nothing tells",
        ),
        Column("trades_received", "bigint", "in bronze.trades, from whatever source"),
        Column(
            "trades_missing",
            "bigint",
            "expected, and neither received nor in a merged fill; null where nothing tells how many are expected",
        ),
        Column("trades_websocket", "bigint", "received: streamed"),
        Column("trades_rest", "bigint", "received: repaired by REST"),
        Column("trades_archive", "bigint", "received: from the exchange's archive, to repair or as history"),
        Column("trades_merged", "bigint", "not received, and accounted for by merged fills (bronze.agg_trades)"),
        Column(
            "kline_source", "string", "of the exchange's closed kline: websocket, rest, archive; null: there is none"
        ),
        Column(
            "gap_cause", "string", "cause of the hole on record (bronze.gaps) that concerns it most; null: none does"
        ),
        Column("gap_status", "string", "open, repaired, lost or venue_gap: that hole as it is now"),
        Column(
            "gap_repaired_from", "string", "what has filled it: websocket (late), rest, archive, agg_trades or empty"
        ),
        Column("evidence", "string", "what that hole's record says in a sentence, or the exchange's word: HALT"),
        Column("depth_seconds", "int", "of 60, in which the order book is known"),
        Column("depth_longest_silence_ms", "bigint", "the longest time without a book snapshot; 60000: none came"),
        Column("ticker_seconds", "int", "of 60, in which the ticker is known"),
        Column("ticker_longest_silence_ms", "bigint", "the longest time without a ticker; 60000: none came"),
        Column("first_minute", "timestamp", "first minute of the symbol, as it was known when the row was written"),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of interval_start, yyyy-MM"),
    ),
    key=("exchange", "symbol", "interval_start"),
    partitions=("month",),
    time="interval_start",
    rules={
        "it_starts_on_its_grid": "unix_micros(interval_start) % 60000000 = 0",
        "status_is_known": "status in ('complete', 'repaired', 'pending', 'partial', 'missing', 'not_expected')",
        "complete_is_proven": "(status in ('complete', 'repaired')) = (proof != 'none')",
        "absence_is_explained": "reason is not null or status not in ('partial', 'missing', 'not_expected')",
        "received_are_of_a_source": "trades_received = trades_websocket + trades_rest + trades_archive",
        "seconds_are_of_a_minute": "depth_seconds between 0 and 60 and ticker_seconds between 0 and 60",
    },
)
SOURCES = (
    ohlcv_1m.TABLE,
    trades.TABLE,
    klines.TABLE,
    gaps.TABLE,
    instruments.TABLE,
    order_book_1m.TABLE,
    ticker_1m.TABLE,
)
JOB = "evidence"
"""No candle rests on it."""

BOOKKEEPING = ("first_minute",)
"""A row that is made again may know of an earlier one."""

_SERIES = ("exchange", "symbol")
_MINUTE = timedelta(minutes=1)
_AROUND = timedelta(hours=6)
"""How far from a minute the trades may lie whose ids prove that nothing was traded between them."""
_EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)
"""No exchange is older: an earlier time is a fault, and would be the begin of years of minutes."""
_LEANS_ON_OTHERS = "proof != 'trade_ids' or trades_received = 0 or kline_source is null"
"""The minutes in which the ids of others have a say."""
_BY_IDS = ("trade_ids", "agg")
_CANDLE = ("first_trade_id", "last_trade_id", "trade_count", "status", "proof", "is_closed")
_KLINE = ("trade_count", "first_trade_id", "last_trade_id", "source")
_SOURCES_OF_TRADES = ("websocket", "rest", "archive")
_COVERAGE = {"depth": order_book_1m.TABLE, "ticker": ticker_1m.TABLE}


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The minutes that changes of the sources concern, those that ended since they were last written, and those that
    were pending for too long. Where history comes that is older than all there was, also every minute between.

    With `first_minute`, the symbol's first; and `reads_trades`, where its trades are to be counted.
    """
    last = F.lit(_last_minute(now))
    begun = current.groupBy(*_SERIES).agg(
        F.max_by("first_minute", "interval_start").alias("begun"), F.max("interval_start").alias("written")
    )
    ranges = reduce(
        lambda left, right: left.unionByName(right, allowMissingColumns=True),
        [begun, *_changed(changes, begun, last), *_undecided(changes["silver.instruments"], current, now)],
    )
    of_series = Window.partitionBy(*_SERIES)
    is_believed = F.col("is_known") & F.col("start").between(F.lit(_EARLIEST), last)
    series = added(
        ranges,
        begun_at=F.max("begun").over(of_series),
        written_to=F.max("written").over(of_series),
        first_known=F.min(F.when(is_believed, F.col("start"))).over(of_series),
    )
    first_minute = F.least("begun_at", "first_known")
    placed = added(series, first_minute=first_minute).filter("first_minute is not null")
    first, begun_at, written_to = (F.col(name) for name in ("first_minute", "begun_at", "written_to"))
    minute = F.lit(_MINUTE)
    # A minute that is new has its trades counted: some may have come, and been followed, before it was over.
    of_state = F.array(
        _piece(written_to + minute, last, reads_trades=F.lit(True)),
        _piece(first, begun_at - minute, reads_trades=F.lit(True)),
        # The newest row tells the next run where the symbol begins.
        _piece(F.when(first < begun_at, written_to), written_to, reads_trades=F.lit(False)),
    )
    is_first = begun_at.isNull() & F.coalesce("is_known", F.lit(False)) & (F.col("start") == first)
    of_range = F.when(is_first, F.array(_piece(first, last, reads_trades=F.lit(True)))).otherwise(
        F.array(
            _piece(F.greatest("start", first), F.least("end", last), reads_trades=F.coalesce("trades", F.lit(False)))
        )
    )
    pieces = placed.select(
        *_SERIES, "first_minute", F.inline(F.when(F.col("written").isNotNull(), of_state).otherwise(of_range))
    ).filter(F.col("from") <= F.col("to"))
    minutes = F.explode(F.sequence("from", "to", F.expr("interval 1 minute")))
    return (
        pieces.select(*_SERIES, minutes.alias("interval_start"), "first_minute", "reads_trades")
        .groupBy(*TABLE.key)
        .agg(F.max("first_minute").alias("first_minute"), F.max("reads_trades").alias("reads_trades"))
    )


def _last_minute(now: datetime) -> datetime:
    """The last one that is over."""
    return now.replace(second=0, microsecond=0) - _MINUTE


def _piece(start: Expression, end: Expression, *, reads_trades: Expression) -> Expression:
    return F.struct(start.alias("from"), end.alias("to"), reads_trades.alias("reads_trades"))


def _changed(changes: Mapping[str, DataFrame], begun: DataFrame, last: Expression) -> list[DataFrame]:
    """What the changed rows of the sources concern: minutes `start` to `end`; `is_known` where something is there."""
    traded = changes["bronze.trades"].select(*_SERIES, ohlcv_1m.minute_of("event_time")).distinct()
    closed = ohlcv_1m.closed_minutes(changes["bronze.klines"])
    ranges = [
        _of_minutes(traded, is_known=True, trades=True),
        _of_minutes(changes["silver.ohlcv_1m"], is_known=True),
        _of_minutes(closed, is_known=True),
        *[_of_minutes(changes[table.full_name]) for table in _COVERAGE.values()],
    ]
    holes = added(
        absence.holes(changes["bronze.gaps"]),
        start=_minute_at(F.timestamp_micros("since")),
        end=F.least(_minute_at(F.timestamp_micros("until")), last),
    )
    dropped = holes.filter("kind = 'expired'").select(F.col("symbol").alias("dropped"), "start", "end")
    is_concerned = absence.of_symbol(F.col("dropped"), F.col("symbol"))
    shut = absence.closures(changes["silver.instruments"])
    return [
        *ranges,
        holes.filter("kind != 'expired'").select(*_SERIES, "start", "end"),
        begun.select(*_SERIES).join(F.broadcast(dropped), on=is_concerned).select(*_SERIES, "start", "end"),
        shut.select(
            *_SERIES, _minute_at(F.col("valid_from")).alias("start"), F.coalesce("valid_to", last).alias("end")
        ),
    ]


def _of_minutes(rows: DataFrame, *, is_known: bool = False, trades: bool = False) -> DataFrame:
    start = F.col("interval_start")
    flags = [F.lit(is_known).alias("is_known"), F.lit(trades).alias("trades")]
    return rows.select(*_SERIES, start.alias("start"), start.alias("end"), *flags)


def _minute_at(time: Expression) -> Expression:
    return F.date_trunc("minute", time)


def _undecided(told: DataFrame, current: DataFrame, now: datetime) -> list[DataFrame]:
    """The rows that have been pending for too long, and those that were thought of as shut and are not."""
    late = current.filter((F.col("status") == "pending") & (F.col("interval_start") < F.lit(now - ohlcv_1m.HOPE)))
    is_open = F.col("status") == TRADING
    spans = told.filter(is_open).select(*_SERIES, "valid_from", F.coalesce("valid_to", F.lit(now)).alias("valid_to"))
    shut = current.filter(F.col("reason").isin("halt", "not_listed")).join(F.broadcast(spans), on=list(_SERIES))
    start = F.col("interval_start")
    opened = shut.filter((start < F.col("valid_to")) & (start + F.lit(_MINUTE) > F.col("valid_from")))
    return [_of_minutes(late), _of_minutes(opened)]


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The hours of the minutes `keys` and of what they lean on; of trades only where they are to be counted."""
    hour = F.date_trunc("hour", "interval_start")
    of_day = keys.groupBy(F.date_trunc("day", "interval_start")).agg(
        F.min(hour).alias("first"), F.max(hour).alias("last")
    )
    around, hole = F.lit(_AROUND), F.lit(_AROUND + absence.REACH)
    nothing = F.lit(timedelta(0))
    reaches = {
        TABLE.full_name: (around, around),
        "silver.ohlcv_1m": (F.lit(2 * _AROUND), F.lit(2 * _AROUND)),
        "bronze.klines": (around, around),
        "bronze.gaps": (hole, around),
        "silver.instruments": (nothing, nothing),
        **{table.full_name: (nothing, nothing) for table in _COVERAGE.values()},
    }
    first, end = F.col("first"), F.col("last")
    spans = [
        F.struct(F.lit(name).alias("source"), (first - before).alias("start"), (end + after).alias("end"))
        for name, (before, after) in reaches.items()
    ]
    counted = keys.filter("reads_trades").select(
        F.lit("bronze.trades").alias("source"), hour.alias("start"), hour.alias("end")
    )
    every = of_day.select(F.inline(F.array(*spans))).unionByName(counted.distinct())
    return every.select("source", F.lit(None).cast("string").alias("interval"), "start", "end")


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The minutes `keys`, and those beside them that lean on others, as far as they differ from the current ones."""
    found = gathered(keys, sources, current)
    explained = absence.with_closure(
        absence.with_holes(with_ids(found), sources["bronze.gaps"]), sources["silver.instruments"]
    )
    return differing(judged(counted(explained), now), current, TABLE)


def gathered(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame) -> DataFrame:
    """All that is said of the minutes, one row each: `candle`, `kline`, `tape`, `depth`, `ticker`, and `old`, the row
    as it is. `is_asked` is null of those that are there for their ids alone.
    """
    hour = F.date_trunc("hour", "interval_start")
    hours = keys.select(*_SERIES, hour.alias("hour")).distinct()
    near = F.sequence(F.col("hour") - F.lit(_AROUND), F.col("hour") + F.lit(_AROUND), F.expr("interval 1 hour"))
    near_hours = hours.select(*_SERIES, F.explode(near).alias("hour"))
    old = added(current, hour=hour).join(near_hours, on=[*_SERIES, "hour"], how="left_semi")
    tape = (
        sources["bronze.trades"]
        .groupBy(*_SERIES, ohlcv_1m.minute_of("event_time"))
        .agg(*[F.count_if(F.col("source") == source).alias(source) for source in _SOURCES_OF_TRADES])
    )
    view = ohlcv_1m.exchange_view(ohlcv_1m.closed_minutes(sources["bronze.klines"]), _KLINE)
    covered = [
        sources[table.full_name].select(*TABLE.key, F.struct("seconds_covered", "longest_silence_ms").alias(name))
        for name, table in _COVERAGE.items()
    ]
    parts = [
        keys.select(*TABLE.key, F.lit(True).alias("is_asked"), "first_minute"),
        old.select(
            *TABLE.key,
            F.when(F.expr(_LEANS_ON_OTHERS), F.lit(True)).alias("is_asked"),
            _whole(TABLE.column_names, "old"),
        ),
        sources["silver.ohlcv_1m"].select(*TABLE.key, _whole(_CANDLE, "candle")),
        view,
        tape.select(*TABLE.key, _whole(_SOURCES_OF_TRADES, "tape")),
        *covered,
    ]
    every = reduce(lambda left, right: left.unionByName(right, allowMissingColumns=True), parts)
    names = ("first_minute", "old", "candle", "kline", "tape", *_COVERAGE)
    return (
        every.groupBy(*TABLE.key)
        .agg(F.max("is_asked").alias("is_asked"), *[F.first(name, ignorenulls=True).alias(name) for name in names])
        .filter("is_asked or candle is not null")
    )


def _whole(names: Sequence[str], alias: str) -> Expression:
    return F.struct(*names).alias(alias)


def with_ids(found: DataFrame) -> DataFrame:
    """The minutes that are asked for, with `low` and `high`: the ids of trades that each has or may have; null where
    that is not known. Where `high` is below `low` there is none between the trades before and after it.
    """
    in_time = Window.partitionBy(*_SERIES).orderBy("interval_start").rowsBetween(Window.unboundedPreceding, -1)
    back = Window.partitionBy(*_SERIES).orderBy(F.desc("interval_start")).rowsBetween(Window.unboundedPreceding, -1)
    both = added(
        found,
        before=F.last(_id_at("candle.last_trade_id"), ignorenulls=True).over(in_time),
        after=F.last(_id_at("candle.first_trade_id"), ignorenulls=True).over(back),
    )
    start, around = F.col("interval_start"), F.lit(_AROUND)
    own = F.coalesce(
        F.when(F.col("candle.proof").isin(*_BY_IDS) & F.col("candle.first_trade_id").isNotNull(), _ids("candle")),
        F.when((F.col("kline.trade_count") > 0) & (F.col("kline.first_trade_id") >= 0), _ids("kline")),
    )
    low = F.when(start - F.col("before.at") <= around, F.col("before.id") + 1)
    high = F.when(F.col("after.at") - start <= around, F.col("after.id") - 1)
    between = F.struct(low.alias("low"), high.alias("high"))
    return added(both.filter("is_asked"), ids=F.coalesce(own, between))


def _id_at(name: str) -> Expression:
    return F.when(F.col(name).isNotNull(), F.struct(F.col(name).alias("id"), F.col("interval_start").alias("at")))


def _ids(name: str) -> Expression:
    return F.struct(F.col(f"{name}.first_trade_id").alias("low"), F.col(f"{name}.last_trade_id").alias("high"))


def counted(rows: DataFrame) -> DataFrame:
    """With how many trades are expected, received by source, merged and missing, and how far the others cover it.

    Also `is_absent`, where there is neither candle nor trade; `is_quiet`, where the kline says so; and `is_between`,
    where the ids around it say so.
    """
    received = {
        f"trades_{source}": F.coalesce(f"tape.{source}", f"old.trades_{source}", F.lit(0).cast("bigint"))
        for source in _SOURCES_OF_TRADES
    }
    coverage: dict[str, Expression] = {}
    for name in _COVERAGE:
        seconds = F.coalesce(f"{name}.seconds_covered", f"old.{name}_seconds", F.lit(0))
        silence = F.coalesce(f"{name}.longest_silence_ms", f"old.{name}_longest_silence_ms", F.lit(60_000))
        coverage |= {f"{name}_seconds": seconds.cast("int"), f"{name}_longest_silence_ms": silence.cast("bigint")}
    total = reduce(add, [F.col(name) for name in received])
    is_final = F.coalesce("candle.is_closed", F.lit(False))
    taken_in = added(
        added(rows, **received, **coverage),
        trades_received=total,
        candle_status=F.when(is_final, F.col("candle.status")),
        candle_proof=F.when(is_final, F.col("candle.proof")),
    )
    is_absent = F.col("candle").isNull() & (F.col("trades_received") == 0)
    by_ids = F.when(F.col("candle_proof").isin(*_BY_IDS), F.col("candle.trade_count"))
    absent = added(
        taken_in,
        is_absent=is_absent,
        is_quiet=is_absent & F.coalesce(F.col("kline.trade_count") == 0, F.lit(False)),
        is_between=is_absent & F.coalesce(F.col("ids.high") < F.col("ids.low"), F.lit(False)),
    )
    none = F.when(F.col("is_between"), F.lit(0).cast("bigint"))
    expected = added(absent, trades_expected=F.coalesce("kline.trade_count", by_ids, none))
    lacking = F.col("trades_expected") - F.col("trades_received")
    unaccounted = F.when(lacking > 0, lacking).when(lacking <= 0, F.lit(0))
    is_merged = F.coalesce(F.col("candle_proof") == "agg", F.lit(False))
    merged = F.when(is_merged, unaccounted).otherwise(F.lit(0).cast("bigint"))
    return added(
        added(expected, trades_merged=merged),
        trades_missing=F.when(is_merged, F.lit(0).cast("bigint")).otherwise(unaccounted),
    )


def judged(rows: DataFrame, now: datetime) -> DataFrame:
    """The rows of the table: what each minute is, and why."""
    lacks = F.coalesce(F.col("trades_missing") > 0, F.lit(True))
    low, high = F.col("ids.low"), F.col("ids.high")
    concerning = F.filter("holes", lambda hole: absence.concerns(hole, low, high, lacks))
    found = added(added(rows, concerning=concerning), hole=F.array_max("concerning"))
    word = F.coalesce("closure.word", F.when(absence.has_no_kline(F.col("concerning")), F.lit("halt")))
    # Ids that do not follow each other: in one of the minutes between something was traded.
    something_traded = F.coalesce(high >= low, F.lit(False)) | F.coalesce(F.col("kline.trade_count") > 0, F.lit(False))
    is_proven_absent = F.col("is_quiet") | F.col("is_between")
    shut = F.col("is_absent") & ~is_proven_absent & ~something_traded & F.col("word").isNotNull()
    is_old = F.col("interval_start") < F.lit(now - ohlcv_1m.HOPE)
    has_nothing = F.col("is_absent") & F.col("kline").isNull()
    status = (
        F.when(F.col("candle_status").isNotNull(), F.col("candle_status"))
        .when(F.col("is_quiet") & (F.col("kline.source") == "rest"), F.lit("repaired"))
        .when(is_proven_absent, F.lit("complete"))
        .when(F.col("is_shut"), F.lit("not_expected"))
        .when(~is_old, F.lit("pending"))
        .when(has_nothing, F.lit("missing"))
        .otherwise(F.lit("partial"))
    )
    proof = F.when(is_proven_absent, F.lit("trade_ids")).otherwise(F.coalesce("candle_proof", F.lit("none")))
    is_whole = F.col("status").isin("complete", "repaired") & ~lacks
    reason = (
        F.when(F.col("is_quiet"), F.lit("no_trades"))
        .when(F.col("is_between"), F.coalesce("word", F.lit("no_trades")))
        .when(F.col("is_shut"), F.col("word"))
        .when(F.col("hole.reason") == "venue_gap", F.lit("venue_gap"))
        .when((F.col("status") == "complete") & is_whole, F.lit(None))
        .when(F.col("hole").isNotNull(), F.col("hole.reason"))
        .when(~is_whole & (F.col("status") != "pending"), F.lit("not_collected"))
    )
    nothing = F.when(F.col("is_shut"), F.lit(0).cast("bigint"))
    labelled = added(added(added(found, word=word), is_shut=shut), status=status, proof=proof)
    hole = {"gap_cause": "cause", "gap_status": "status", "gap_repaired_from": "repaired_from"}
    says = {
        "reason": reason,
        "trades_expected": F.coalesce("trades_expected", nothing),
        "trades_missing": F.coalesce("trades_missing", nothing),
        "kline_source": F.col("kline.source"),
        **{name: F.col(f"hole.{field}") for name, field in hole.items()},
        "evidence": F.coalesce(F.when(is_proven_absent | F.col("is_shut"), F.col("closure.status")), "hole.detail"),
        "first_minute": F.coalesce("first_minute", "old.first_minute"),
        "month": F.date_format("interval_start", "yyyy-MM"),
    }
    kept = [name for name in TABLE.column_names if name not in (*says, "ingestion_ts")]
    return labelled.select(*kept, *[column.alias(name) for name, column in says.items()])
