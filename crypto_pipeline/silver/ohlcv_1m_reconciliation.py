"""The exchange's candle of each minute beside our own from the trades, field by field, and why they differ.

The exchange's is its closed kline: of the WebSocket, else by REST, else of the archive. Ours is all that the tape holds
(`bronze.trades`, and `bronze.agg_trades` for what is missing there), whether or not it made the candle of
`silver.ohlcv_1m`. Both stay also where they agree. A minute has a row when one of them says something of it; where the
exchange says that nothing traded, and we have nothing, they agree.

`explanation` is the first of these that holds. Where the two agree (mostly it is null):

- `klines_differ`: another kline of the exchange, by REST or of the archive, says something else
- `repaired`: a part came later, by REST, or from the archive beside the stream

Where they differ, or one is absent:

- `halt`: no kline, and the exchange said that the pair did not trade
- `kline_impossible`: the kline cannot be true (a high below the low), and is as good as none
- `kline_missing`: no closed kline is there
- `tape_missing`: we have no trade of it
- `partial_tape`: we have fewer trades than the exchange counts
- `late_trade`: we have trades that its kline does not count
- `rounding`: only quote volumes differ, by less than the exchange cuts off (it keeps eight places of each trade)
- `klines_differ`: the exchange's own klines differ too
- `merged_fills`: a part of our tape is merged fills
- `unexplained`: none of these: look at it

`not_over`: the minute still runs, and `agrees` is null.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import reduce
from operator import and_

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import agg_trades, klines, trades
from crypto_pipeline.frames import added, differing
from crypto_pipeline.silver import instruments, ohlcv_1m
from crypto_pipeline.silver.candle_frames import every_source
from crypto_pipeline.silver.candles import CANDLE_COLUMNS, PRICES_AND_VOLUMES, SERIES
from shared.symbol_manager import TRADING
from shared.tables import Column, Table

FIELDS = (*PRICES_AND_VOLUMES, "trade_count", "first_trade_id", "last_trade_id")
"""What both say of a minute."""
NOT_OVER = "not_over"
_AGREEING = ("klines_differ", "repaired")
_DIFFERING = (
    *("halt", "kline_impossible", "kline_missing", "tape_missing", "partial_tape", "late_trade"),
    *("rounding", "klines_differ", "merged_fills", "unexplained"),
)
_CANDLE = {column.name: column for column in CANDLE_COLUMNS}


def _compared(name: str) -> tuple[Column, ...]:
    kind, what = _CANDLE[name].type, _CANDLE[name].comment.split(";")[0]
    return (
        Column(f"exchange_{name}", kind, f"the exchange's {name}: {what}"),
        Column(f"our_{name}", kind, f"ours, of all fills on our tape: {what}"),
        Column(f"{name}_difference", kind, "ours less the exchange's, exact; null where one does not say it"),
    )


TABLE = Table(
    layer="silver",
    name="ohlcv_1m_reconciliation",
    grain="One row per exchange, symbol and minute of which the exchange's kline or our tape says something",
    columns=(
        *(_CANDLE[name] for name in (*SERIES, "interval_start")),
        Column("agrees", "boolean", "both say the same wherever the exchange says something; null: it is not over yet"),
        Column("explanation", "string", "why they differ, or agree only by now: a word of the list above, or null"),
        Column("exchange_source", "string", "where its kline came from: websocket, rest, archive; null: there is none"),
        Column("our_tape_came_late", "boolean", "a part of ours came by REST, or from the archive beside the stream"),
        Column("our_tape_is_merged", "boolean", "a part of ours is merged fills"),
        *(column for name in FIELDS for column in _compared(name)),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        _CANDLE["month"],
    ),
    key=("exchange", "symbol", "interval_start"),
    partitions=("month",),
    time="interval_start",
    rules={
        "explanation_fits": f"case when agrees then explanation is null or explanation in {_AGREEING} "
        f"when not agrees then explanation in {_DIFFERING} else explanation = '{NOT_OVER}' end"
    },
)
SOURCES = (trades.TABLE, klines.TABLE, agg_trades.TABLE, instruments.TABLE)
JOB = "evidence"

_MINUTE = timedelta(minutes=1)


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The minutes that new trades, fills or closed klines fall into, and those that ended since they were written.

    Also those without a kline, where the exchange says something new of whether the pair traded.
    """
    minutes = [
        changes[table.full_name].select("exchange", "symbol", ohlcv_1m.minute_of("event_time"))
        for table in (trades.TABLE, agg_trades.TABLE)
    ]
    closed = ohlcv_1m.closed_minutes(changes["bronze.klines"]).select(*TABLE.key)
    ended = current.filter((F.col("explanation") == NOT_OVER) & (F.col("interval_start") <= F.lit(now - _MINUTE)))
    told = F.broadcast(changes["silver.instruments"].select("exchange", "symbol", "valid_from", "valid_to"))
    without = current.filter(F.col("explanation").isin("halt", "kline_missing")).select(*TABLE.key)
    spoken_of = without.join(told, on=["exchange", "symbol"], how="inner")
    spoken_of = spoken_of.filter(_overlaps(F.col("valid_from"), F.col("valid_to")))
    every = [*minutes, closed, ended.select(*TABLE.key), spoken_of.select(*TABLE.key)]
    return reduce(lambda some, more: some.unionByName(more), every).distinct()


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The hours that the minutes `keys` lie in; of the instruments, which have no partitions, all."""
    hours = keys.select(F.date_trunc("hour", "interval_start").alias("start")).distinct()
    return every_source(added(hours, end=F.col("start")), SOURCES)


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The minutes `keys`, as far as they differ from the current rows."""
    ours = ohlcv_1m.own_view(keys, sources)
    closed = ohlcv_1m.klines_of(keys, sources)
    return differing(compared(ours, closed, sources["silver.instruments"], now), current, TABLE)


def compared(ours: DataFrame, closed: DataFrame, spans: DataFrame, now: datetime) -> DataFrame:
    """Our candles (`ohlcv_1m.from_fills`) beside the best of the exchange's klines (`ohlcv_1m.closed_minutes`).

    `spans` are those of `silver.instruments`.
    """
    says = F.struct(*PRICES_AND_VOLUMES, "trade_count")
    theirs = ohlcv_1m.exchange_view(closed, more=[(F.min(says) != F.max(says)).alias("klines_differ")])
    halted = spans.filter(F.col("status") != TRADING).groupBy("exchange", "symbol")
    halts = halted.agg(F.collect_list(F.struct("valid_from", "valid_to")).alias("halts"))
    both = (
        ours.join(theirs, on=list(TABLE.key), how="full")
        .filter("trade_count is not null or kline is not null")
        .join(F.broadcast(halts), on=["exchange", "symbol"], how="left")
    )
    assets = [F.coalesce(name, f"kline.{name}").alias(name) for name in SERIES if name not in TABLE.key]
    said = {name: F.col(f"kline.{name}") for name in FIELDS}
    for name in ("first_trade_id", "last_trade_id"):
        said[name] = F.when(said[name] >= 0, said[name])  # -1 where nothing traded
    views = [
        column
        for name in FIELDS
        for column in (
            said[name].alias(f"exchange_{name}"),
            F.col(name).alias(f"our_{name}"),
            (F.col(name) - said[name]).cast(_CANDLE[name].type).alias(f"{name}_difference"),
        )
    ]
    is_halted = F.exists("halts", lambda span: _overlaps(span["valid_from"], span["valid_to"]))
    beside = both.select(
        *TABLE.key,
        *assets,
        *views,
        F.col("kline.source").alias("exchange_source"),
        F.col("came_late").alias("our_tape_came_late"),
        F.col("is_merged").alias("our_tape_is_merged"),
        "klines_differ",
        F.coalesce(is_halted, F.lit(False)).alias("is_halted"),
        F.date_format("interval_start", "yyyy-MM").alias("month"),
    )
    is_over = F.col("exchange_source").isNotNull() | (F.col("interval_start") <= F.lit(now - _MINUTE))
    # `inline` keeps the planner from copying what an expression rests on into each place that uses it: it ran out of
    # memory over these.
    judged = beside.select("*", F.inline(F.array(F.struct(F.when(is_over, _agrees()).alias("agrees")))))
    return judged.select("*", F.inline(F.array(F.struct(_explanation().alias("explanation")))))


def _agrees() -> Expression:
    has_both = F.col("our_trade_count").isNotNull() & F.col("exchange_trade_count").isNotNull()
    both_quiet = F.coalesce(F.col("exchange_trade_count") == 0, F.lit(False)) & F.col("our_trade_count").isNull()
    return both_quiet | (has_both & _equal(FIELDS))


def _equal(names: tuple[str, ...]) -> Expression:
    """No difference in these fields; one that the exchange does not say is none."""
    return reduce(and_, [F.coalesce(F.col(f"{name}_difference") == 0, F.lit(True)) for name in names])


def _explanation() -> Expression:
    has_ours, has_theirs = F.col("our_trade_count").isNotNull(), F.col("exchange_source").isNotNull()
    quote = ("quote_volume", "taker_buy_quote_volume")
    cut_off = [f"abs({name}_difference) < our_trade_count * {trades.ROUNDING:f}" for name in quote]
    others = tuple(name for name in FIELDS if name not in quote)
    holds = {
        "halt": ~has_theirs & F.col("is_halted"),
        "kline_impossible": ~has_theirs & F.col("klines_differ").isNotNull(),
        "kline_missing": ~has_theirs,
        "tape_missing": ~has_ours,
        "partial_tape": F.col("trade_count_difference") < 0,
        "late_trade": F.col("trade_count_difference") > 0,
        "rounding": _equal(others) & F.expr(" and ".join(cut_off)),
        "klines_differ": F.col("klines_differ"),
        "merged_fills": F.col("our_tape_is_merged"),
        "unexplained": F.lit(True),
    }
    came_later = F.coalesce("our_tape_came_late", F.lit(False)) | (F.col("exchange_source") == "rest")
    agreeing = F.when(F.col("klines_differ"), F.lit("klines_differ")).when(came_later, F.lit("repaired"))
    first_that_holds = F.coalesce(*[F.when(holds[word], F.lit(word)) for word in _DIFFERING])
    return F.when(F.col("agrees").isNull(), F.lit(NOT_OVER)).when(F.col("agrees"), agreeing).otherwise(first_that_holds)


def _overlaps(valid_from: Expression, valid_to: Expression) -> Expression:
    """A part of the minute lies in the span."""
    start = F.col("interval_start")
    return (valid_from < start + F.expr("interval 1 minute")) & (valid_to.isNull() | (valid_to > start))
