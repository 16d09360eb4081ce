"""One candle a minute by the precedence of the sources, with what proves it.

The first of these that there is makes the candle: the closed kline of the exchange's WebSocket; our own trades, where
they are provably all of the minute; the exchange's kline by REST, then of its archive; our trades as far as they go.
REST never replaces what the WebSocket said.

`proof` says what the candle rests on. `trade_ids`: all the minute's trades are in `bronze.trades`, which the exchange's
kline (its ids, or its count) or the neighbouring ids prove. `agg`: all are accounted for, some only as merged fills
(`bronze.agg_trades`). `exchange_kline`: the exchange's own candle stands for trades that are not there. `none`: nothing
proves it yet.

`status`: `complete`, or `repaired` where it is just as sure but something of it came after a hole, by REST or from the
archive (a minute that is the archive's alone was imported whole); `pending` while nothing proves it and something still
may; `partial` after a day of that.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import agg_trades, klines, trades
from crypto_pipeline.frames import added
from crypto_pipeline.silver.candle_frames import every_source, finished, interval_start, revised
from crypto_pipeline.silver.candles import CANDLE_COLUMNS, PRICES_AND_VOLUMES, RULES, SERIES, SUPERSEDED
from shared.tables import Table

TABLE = Table(
    layer="silver",
    name="ohlcv_1m",
    grain="One row per exchange, symbol and minute in which something traded",
    columns=(*CANDLE_COLUMNS, SUPERSEDED),
    key=("exchange", "symbol", "interval_start"),
    partitions=("month",),
    time="interval_start",
    rules=RULES
    | {
        # An exchange rounds its quote volume; ours is exact. A longer candle may rest on both.
        "vwap_lies_between_low_and_high": "source != 'trades' "
        "or vwap between low - 0.000000000000000001 and high + 0.000000000000000001"
    },
)
SOURCES = (trades.TABLE, klines.TABLE, agg_trades.TABLE)

KLINE = (*SERIES, *PRICES_AND_VOLUMES, "trade_count", "first_trade_id", "last_trade_id", "source")
"""What a kline says of a minute."""
_SECONDS = 60
HOPE = timedelta(days=1)
"""How long something may still prove a minute: the exchange's archive of a day comes the next."""


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The minutes that new trades, fills or closed klines fall into, and those that are not settled yet."""
    minutes = [
        changes[name].select("exchange", "symbol", minute_of("event_time"))
        for name in (trades.TABLE.full_name, agg_trades.TABLE.full_name)
    ]
    closed = closed_minutes(changes["bronze.klines"]).filter("trade_count > 0").select(*TABLE.key)
    is_over = F.col("interval_end") <= F.lit(now)
    unsettled = current.filter(is_over & (~F.col("is_closed") | (F.col("status") == "pending"))).select(*TABLE.key)
    return minutes[0].unionByName(minutes[1]).unionByName(closed).unionByName(unsettled).distinct()


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The hours of trades, klines and fills that the minutes `keys` and their neighbours lie in."""
    minute = F.unix_seconds("interval_start")
    around = F.explode(F.array(*[F.timestamp_seconds(minute + shift) for shift in (-_SECONDS, 0, _SECONDS)]))
    hours = keys.select(around.alias("time")).select(F.date_trunc("hour", "time").alias("start")).distinct()
    return every_source(hours.withColumn("end", F.col("start")), SOURCES)


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The candles of the minutes `keys`, and of unproven ones in the hours around, as far as they differ from the
    current ones: what comes late proves the minutes beside it too, also those that nobody hoped for any more.
    """
    hours = needs(keys, now).select("start").distinct()
    in_them = F.date_trunc("hour", F.col("interval_start")) == F.col("start")
    unproven = current.filter("is_closed and proof = 'none'").join(hours, in_them, "left_semi")
    keys = keys.unionByName(unproven.select(*TABLE.key)).distinct()
    ours = own_view(keys, sources)
    theirs = exchange_view(klines_of(keys, sources))
    known = current.select(*TABLE.key, "first_trade_id", "last_trade_id").join(
        keys, on=list(TABLE.key), how="left_anti"
    )
    return revised(chosen(ours, theirs, known, now), current, TABLE.key).select(TABLE.column_names)


def own_view(keys: DataFrame, sources: Mapping[str, DataFrame]) -> DataFrame:
    """Our candles (`from_fills`) of the minutes `keys`, from all their trades and merged fills."""
    tape, merged = (
        added(sources[table.full_name], interval_start=minute_of("event_time")).join(keys, list(TABLE.key), "left_semi")
        for table in (trades.TABLE, agg_trades.TABLE)
    )
    return from_fills(fills(tape, merged))


def klines_of(keys: DataFrame, sources: Mapping[str, DataFrame]) -> DataFrame:
    """The exchange's `closed_minutes` among the minutes `keys`."""
    return closed_minutes(sources["bronze.klines"]).join(keys, list(TABLE.key), "left_semi")


def minute_of(time: str) -> Expression:
    """The minute of a time column, as `interval_start`."""
    return interval_start(F.col(time), _SECONDS).alias("interval_start")


def closed_minutes(klines: DataFrame) -> DataFrame:
    """The exchange's finished one-minute candles, by `interval_start`."""
    is_closed_minute = F.col("is_closed") & (F.col("interval") == "1m")
    return added(klines.filter(is_closed_minute), interval_start=F.col("open_time"))


def fills(tape: DataFrame, merged: DataFrame) -> DataFrame:
    """Trades and merged fills as one tape of id ranges (`first_id` to `last_id`) that do not overlap.

    A merged fill takes the place of its trades where one of them is missing; where all are there, they stay.
    """
    columns = [*SERIES, "interval_start", "price", "quantity", "quote_quantity", "is_buyer_maker", "source"]
    single = tape.select(*columns, F.col("trade_id").alias("first_id"), F.col("trade_id").alias("last_id"))
    ranges = merged.select(*columns, F.col("first_trade_id").alias("first_id"), F.col("last_trade_id").alias("last_id"))
    both = added(single, is_merged=F.lit(False)).unionByName(added(ranges, is_merged=F.lit(True)))
    minute = ["exchange", "symbol", "interval_start"]
    in_order = Window.partitionBy(*minute).orderBy("first_id", F.desc("is_merged"))
    merged_range = F.when(F.col("is_merged"), F.struct("first_id", "last_id"))
    # The last merged fill that begins no later; its trades, and no others, end no later than it.
    cover = F.last(merged_range, ignorenulls=True).over(in_order.rowsBetween(Window.unboundedPreceding, 0))
    inside = F.col("last_id") <= F.col("cover_before.last_id")
    covered = added(added(both, cover_before=cover), cover=F.when(inside, F.col("cover_before")))
    of_one_cover = Window.partitionBy(*minute, "cover")
    singles = F.count(F.when(~F.col("is_merged"), F.lit(1))).over(of_one_cover)
    all_there = singles == F.col("cover.last_id") - F.col("cover.first_id") + 1
    stays = F.col("cover").isNull() | (F.col("is_merged") != all_there)
    return added(covered, stays=stays).filter("stays").select(*columns, "first_id", "last_id", "is_merged")


def from_fills(tape: DataFrame) -> DataFrame:
    """Candles of the fills by `interval_start`. Order is the trade id's: Binance's are sequential.

    `came_late` (by REST, or from another source than the others) and `is_merged` say that for one fill at least.
    """
    taker_bought = ~F.col("is_buyer_maker")
    nothing = F.lit(0).cast("decimal(38,18)")
    return tape.groupBy(*SERIES, "interval_start").agg(
        F.min_by("price", "first_id").alias("open"),
        F.max("price").alias("high"),
        F.min("price").alias("low"),
        F.max_by("price", "first_id").alias("close"),
        F.sum("quantity").alias("volume"),
        F.sum("quote_quantity").alias("quote_volume"),
        F.sum(F.col("last_id") - F.col("first_id") + 1).alias("trade_count"),
        F.sum(F.when(taker_bought, F.col("quantity")).otherwise(nothing)).alias("taker_buy_volume"),
        F.sum(F.when(taker_bought, F.col("quote_quantity")).otherwise(nothing)).alias("taker_buy_quote_volume"),
        F.min("first_id").alias("first_trade_id"),
        F.max("last_id").alias("last_trade_id"),
        (F.max(F.col("source") == "rest") | (F.min("source") != F.max("source"))).alias("came_late"),
        F.max("is_merged").alias("is_merged"),
    )


def exchange_view(klines: DataFrame, says: Sequence[str] = KLINE, more: Sequence[Expression] = ()) -> DataFrame:
    """The exchange's closed klines (`closed_minutes`), one a minute: of the WebSocket before REST before the archive.

    `kline` holds the columns `says`. A kline that cannot be true is as good as none: where there is no other, it is
    null. `more` are aggregates of all klines of a minute.
    """
    is_sane = F.expr(
        "trade_count = 0 or (high >= greatest(open, low, close) and low <= least(open, close) and volume > 0 "
        "and quote_volume > 0 and taker_buy_volume between 0 and volume)"
    )
    rank = F.when(F.col("source") == "websocket", 3).when(F.col("source") == "rest", 2).otherwise(1)
    best = F.max_by(F.struct(*says), F.when(is_sane, F.struct(rank.alias("rank"), F.col("ordering"))))
    return klines.groupBy(*TABLE.key).agg(best.alias("kline"), *more)


def chosen(ours: DataFrame, theirs: DataFrame, known: DataFrame, now: datetime) -> DataFrame:
    """The candle of each minute by precedence, with `is_closed`, `status`, `proof` and `source`.

    `ours` are `from_fills`, `theirs` `exchange_view`, `known` the ids of the candles around that stay as they are.
    """
    assets = [name for name in SERIES if name not in TABLE.key]
    says = [*assets, *PRICES_AND_VOLUMES, "trade_count", "first_trade_id", "last_trade_id"]
    mine = with_neighbours(ours, known).select(
        *TABLE.key, F.struct(*says).alias("ours"), "came_late", "is_merged", "has_both_neighbours"
    )
    both = mine.join(theirs, on=list(TABLE.key), how="full")
    traded = F.coalesce(F.col("kline.trade_count") > 0, F.lit(False))
    has_ours = F.col("ours").isNotNull()
    is_contiguous = F.col("ours.last_trade_id") - F.col("ours.first_trade_id") + 1 == F.col("ours.trade_count")
    names_other_ids = (F.col("kline.first_trade_id") != F.col("ours.first_trade_id")) | (
        F.col("kline.last_trade_id") != F.col("ours.last_trade_id")
    )
    as_kline_says = (F.col("kline.trade_count") == F.col("ours.trade_count")) & ~F.coalesce(
        names_other_ids, F.lit(False)
    )
    # As many as the exchange counts are all of them, also where it left out ids.
    is_whole = F.coalesce(as_kline_says, F.lit(False)) | F.coalesce(
        is_contiguous & F.col("has_both_neighbours"), F.lit(False)
    )
    by_trades = is_whole & ~F.col("is_merged")
    made_from = (
        F.when(traded & (F.col("kline.source") == "websocket"), F.lit("websocket"))
        .when(by_trades, F.lit("trades"))
        .when(traded, F.col("kline.source"))
        .otherwise(F.lit("trades"))
    )
    candle = F.when(F.col("source") == "trades", F.col("ours"))
    candle = candle.otherwise(F.struct(*[F.col(f"kline.{name}").alias(name) for name in says]))
    is_proven = F.col("proof") != "none"
    came_late = (F.col("source") == "rest") | (F.coalesce(F.col("came_late"), F.lit(False)) & is_whole)
    proof = (
        F.when(by_trades, F.lit("trade_ids"))
        .when(is_whole, F.lit("agg"))
        .when(traded, F.lit("exchange_kline"))
        .otherwise(F.lit("none"))
    )
    status = (
        F.when(is_proven & came_late, F.lit("repaired"))
        .when(is_proven, F.lit("complete"))
        .when(F.col("interval_start") < F.lit(now - HOPE), F.lit("partial"))
        .otherwise(F.lit("pending"))
    )
    is_closed = F.col("kline").isNotNull() | (F.col("interval_start") <= F.lit(now - timedelta(seconds=_SECONDS)))
    judged = added(both.filter(has_ours | traded), source=made_from, proof=proof)
    known_so = {
        "status": status,
        "is_closed": is_closed,
        "interval": F.lit("1m"),
        "interval_seconds": F.lit(_SECONDS),
        "minutes_present": F.lit(1),
    }
    names = [*TABLE.key, "source", "proof", *known_so]
    return finished(added(judged, candle=candle, **known_so).select(*names, "candle.*"), F.lit(_SECONDS))


def with_neighbours(ours: DataFrame, known: DataFrame) -> DataFrame:
    """With `has_both_neighbours`: the trade before the minute's first and the one after its last are known."""
    around = added(ours, is_ours=F.lit(True)).unionByName(known, allowMissingColumns=True)
    in_time = Window.partitionBy("exchange", "symbol").orderBy("interval_start")
    follows = F.lag("last_trade_id").over(in_time) + 1 == F.col("first_trade_id")
    is_followed = F.lead("first_trade_id").over(in_time) == F.col("last_trade_id") + 1
    return added(around, has_both_neighbours=follows & is_followed).filter("is_ours")
