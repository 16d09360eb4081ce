"""What each portfolio of `config/portfolio.yaml` is worth, what it earned, and by what, day by day.

Days are UTC, and valued at their close; the present one at the end of the last minute that is over (`as_of`,
`is_closed`). Rows of the asset `TOTAL` are of the whole, and the others sum to it exactly: amounts of money have 18
places and are rounded once, where they come about. All money is in USDT; an asset BTC is priced by `BTCUSDT`. A price
`is_stale` where the last known trade is over an hour before the valuation; it counts until another is known.

**Profit.** `value = units * price`. Lots are sold first in, first out: `realised_profit` is what was received less what
was paid for just these units, `unrealised_profit = value - cost`, `profit` is both. Fees are part of the cost of what
is bought and lessen what is received; one paid in a third asset is a sale of that at its price. What is taken out is
realised at its value then. So `value = invested + profit`, where `invested` is all that was put in less what was taken
out: of TOTAL the deposits less the withdrawals.

**Return** is time-weighted: `return_day = prod(1 + r_i) - 1` over the stretches between deposits and withdrawals, with
`r_i` the stretch's profit by the value at its beginning; at each, all is valued at the close of that minute (the true
time-weighted return of the Global Investment Performance Standards, GIPS). Days are linked into the week (from Monday),
the month, and all since the start (`growth`, 1 at the start). `contribution_day` of an asset is its profit by the same
values, scaled by the growth before, so that those of all assets sum to `return_day`; `contribution` sums to
`return_since_start`. `drawdown = growth / highest growth at a close - 1`, 0 or below. `turnover_day` is half of what
was bought and sold, by the mean of the value before and after. The benchmark is held without fees: one asset, or the
portfolio's assets in equal parts, each day anew; `excess_return` is the difference of both returns since the start.

**Trades of target weights** happen at 00:00 UTC at the closes of the day before: at the start, and as `rebalance` says.
Units are rounded down to 8 places, and what remains after the fee is spread. A transaction in another quote asset, and
one without a price, is converted at the close of its minute, or the last known before it.

A portfolio that changes in the file (`definition`) is valued anew from its start; rows that it gives no more are
`retracted`, without values. One that is refused keeps the rows that it had: the check `its_file_is_right` says why.
Once mended it is valued anew from its start, for candles may have come late meanwhile.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added, differing
from crypto_pipeline.gold._portfolios import Portfolio, PortfolioFileError, Portfolios, chosen
from crypto_pipeline.gold._valuation import (
    DAY,
    RETRACTED,
    TOTAL,
    Prices,
    Quote,
    Record,
    first_start,
    retracted,
    valued,
    wanted_minutes,
)
from crypto_pipeline.lakehouse import Lakehouse, hours_between
from crypto_pipeline.silver import ohlcv, ohlcv_1m
from shared.settings import settings
from shared.tables import DECIMAL, Column, Table

TABLE = Table(
    layer="gold",
    name="portfolio_performance",
    grain="One row per portfolio, UTC day and asset; the asset TOTAL is the whole",
    columns=(
        Column("portfolio", "string", "its name in config/portfolio.yaml"),
        Column("day", "timestamp", "00:00 UTC of the day"),
        Column("asset", "string", "BTC and so on; USDT is the cash; TOTAL is the whole"),
        Column("exchange", "string", "the market whose prices count"),
        Column("started_on", "timestamp", "00:00 UTC of the portfolio's first day"),
        Column("definition", "string", "names what the file said of it; another definition is valued anew"),
        Column("is_closed", "boolean", "the day is over; until then the values move"),
        Column("as_of", "timestamp", "UTC moment of the valuation: the day's end, or the end of its last minute known"),
        Column("units", DECIMAL, "held, in the asset; null for TOTAL"),
        Column("price", DECIMAL, "USDT a unit; null for TOTAL"),
        Column(
            "priced_at",
            "timestamp",
            "end of the candle whose close the price is: of an hour; of a minute on the present day; null for TOTAL",
        ),
        Column("is_stale", "boolean", "held, and priced_at is over an hour before as_of; TOTAL: of any of its assets"),
        Column("value", DECIMAL, "units * price, in USDT"),
        Column("weight", "double", "part of the whole's value"),
        Column("cost", DECIMAL, "what was paid for the units that are held, first in first out, with fees, in USDT"),
        Column("unrealised_profit", DECIMAL, "value - cost, in USDT"),
        Column("realised_profit", DECIMAL, "proceeds less cost of what was sold since the start, in USDT"),
        Column("profit", DECIMAL, "realised_profit + unrealised_profit since the start, in USDT"),
        Column("profit_day", DECIMAL, "change of profit within the day, in USDT"),
        Column(
            "invested",
            DECIMAL,
            "put in less taken out since the start, in USDT; of an asset by purchases and sales too; value - profit",
        ),
        Column("fees", DECIMAL, "paid since the start for trading the asset, in USDT; cost and proceeds have them in"),
        Column("traded_day", DECIMAL, "bought and sold on the day, in USDT"),
        Column("contribution_day", "double", "of the asset to return_day, a fraction"),
        Column("contribution", "double", "of the asset to return_since_start, a fraction"),
        Column("return_day", "double", "TOTAL: time-weighted simple return of the day, a fraction"),
        Column("return_week", "double", "TOTAL: of the week up to as_of, from Monday 00:00 UTC or the start"),
        Column("return_month", "double", "TOTAL: of the month up to as_of, from the 1st 00:00 UTC or the start"),
        Column("return_since_start", "double", "TOTAL: growth - 1"),
        Column("growth", "double", "TOTAL: what 1 at the start became"),
        Column("peak_growth", "double", "TOTAL: highest growth at a close so far, at least 1"),
        Column("drawdown", "double", "TOTAL: growth / peak_growth - 1; 0 or below"),
        Column("max_drawdown", "double", "TOTAL: the lowest drawdown so far"),
        Column("turnover_day", "double", "TOTAL: half of traded_day by the mean of the value before and after"),
        Column("turnover", "double", "TOTAL: sum of turnover_day since the start"),
        Column("benchmark", "string", "TOTAL: the asset that it is compared to, or equal_weight"),
        Column("benchmark_return_day", "double", "TOTAL: simple return of the benchmark's prices on the day"),
        Column("benchmark_return_since_start", "double", "TOTAL: benchmark_growth - 1"),
        Column("benchmark_growth", "double", "TOTAL: what 1 in the benchmark at the start became"),
        Column("benchmark_price", DECIMAL, "TOTAL: USDT a unit; null for equal_weight"),
        Column(
            "benchmark_priced_at", "timestamp", "TOTAL: end of the candle of benchmark_price; null for equal_weight"
        ),
        Column("excess_return", "double", "TOTAL: return_since_start - benchmark_return_since_start"),
        Column("observations", "bigint", "days with a return since the start; the present one counts"),
        Column(
            "lots",
            "array<struct<acquired_at:bigint, units:decimal(38,18), cost:decimal(38,18)>>",
            "what is held, by purchase, the oldest first: microseconds since 1970 UTC, units, cost in USDT",
        ),
        Column(
            "reason",
            "string",
            "why values are null: nothing_invested; no_price_yet; retracted: the definition gives this row no more",
        ),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of day, yyyy-MM"),
    ),
    key=("portfolio", "day", "asset"),
    partitions=("month",),
    time="day",
    bucket="portfolio",
    buckets=1,
    rules={
        "nothing_is_lacking_without_a_reason": "value is not null or reason is not null",
        "value_is_cost_and_unrealised_profit": "reason = 'retracted' or value = cost + unrealised_profit",
        "value_is_what_was_put_in_and_profit": "reason = 'retracted' or value = invested + profit",
        "nothing_is_owed": "reason = 'retracted' or value >= 0",
        "a_drawdown_is_a_loss": "drawdown is null or drawdown between -1 and 0",
    },
)
SOURCES = (ohlcv_1m.TABLE, ohlcv.TABLE)
JOB = "analytics"

_SINCE_EVER = datetime(2009, 1, 3)  # noqa: DTZ001 (as Spark gives times: in UTC, without a zone)
"""The day of the first Bitcoin block: no candle is older."""
_INTERVAL = "1h"
"""The candles that say a day's close: of an hour, so that a price can be told to be old."""
_BEHIND = timedelta(hours=1)
"""Rows that are so old have been waiting for a reason: most often no candle came, else something is wrong."""
_KEYS = "portfolio string, definition string, since timestamp, started_on timestamp, reads_from timestamp"
_SPANS = "source string, interval string, start timestamp, end timestamp"
_GONE = ""
"""The definition of a portfolio that the file has no more."""


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The portfolios to value anew, each `since` a day: where prices changed, or the file.

    `started_on` is its first day, or none where that is to be found; own rows are there from `reads_from` on, or none.
    """
    found = _portfolios()
    days, minutes = _changed_days(changes), _changed_minutes(changes, now)
    recorded = {row.portfolio: row for row in _recorded(current)}
    keys: list[tuple[object, ...]] = []
    for portfolio in found.accepted:
        row = recorded.pop(portfolio.name, None)
        new = minutes.get(portfolio.exchange, set())
        if row is None or row.definition != portfolio.definition or _was_passed_over(row, new):
            keys.append(_anew(portfolio, row))
        elif changed := days.get(portfolio.exchange):
            first = _naive(row.started_on) - DAY if portfolio.start else _SINCE_EVER
            mine = [day for symbol in _symbols(portfolio) for day in changed.get(symbol, ()) if day >= first]
            since = min([*mine, _naive(row.first_open), _midnight(_naive(now))])
            if since < _naive(row.started_on):
                keys.append(_anew(portfolio, row))
            else:
                keys.append((portfolio.name, portfolio.definition, since, row.started_on, since - DAY))
    refused = {one.name for one in found.refused}
    if found.accepted or found.refused:  # else it cannot be read
        gone = [row for name, row in recorded.items() if name not in refused]
        keys += [(row.portfolio, _GONE, row.started_on, row.started_on, row.started_on) for row in gone]
    return _frame(current, keys, _KEYS)


def _anew(portfolio: Portfolio, recorded: Row | None) -> tuple[object, ...]:
    return (portfolio.name, portfolio.definition, _SINCE_EVER, None, recorded and recorded.started_on)


def _portfolios() -> Portfolios:
    """Those of the file; none where it cannot be read, of which `refusals` says why."""
    try:
        return chosen(settings())
    except PortfolioFileError:
        return Portfolios((), ())


def _symbols(portfolio: Portfolio) -> set[str]:
    """Those of closes, and those in whose price a transaction may be."""
    return {*portfolio.symbols, *(one.asset + one.quote for one in portfolio.transactions if one.quote)}


def _changed_days(changes: Mapping[str, DataFrame]) -> dict[str, dict[str, list[datetime]]]:
    """The days of changed candles by exchange and symbol."""
    day = F.date_trunc("day", F.col("interval_start")).alias("day")
    minutes = changes["silver.ohlcv_1m"].filter("is_closed").select("exchange", "symbol", day)
    hours = changes["silver.ohlcv"].filter(F.col("interval") == _INTERVAL).select("exchange", "symbol", day)
    by_series = minutes.unionByName(hours).groupBy("exchange", "symbol").agg(F.collect_set("day").alias("days"))
    days: dict[str, dict[str, list[datetime]]] = {}
    for row in by_series.collect():
        days.setdefault(row.exchange, {})[row.symbol] = [_naive(day) for day in row.days]
    return days


def _changed_minutes(changes: Mapping[str, DataFrame], now: datetime) -> dict[str, set[datetime]]:
    """The changed minutes of the last day, by exchange."""
    closed = changes["silver.ohlcv_1m"].filter("is_closed").filter(F.col("interval_start") >= F.lit(now - DAY))
    rows = closed.groupBy("exchange").agg(F.collect_set("interval_start").alias("minutes")).collect()
    return {row.exchange: {_naive(minute) for minute in row.minutes} for row in rows}


def _was_passed_over(row: Row, new: Collection[datetime]) -> bool:
    """A run took in minutes after the last valuation and did not value it, for it was refused: what came late is lost.

    Then the minute that follows that valuation is not among the new ones, and a later one is.
    """
    last = _naive(row.as_of)
    return last not in new and any(minute > last for minute in new)


def _recorded(current: DataFrame) -> Sequence[Row]:
    """What the latest rows of each portfolio say, and the `first_open` day: the first that is to be valued yet."""
    totals = current.filter((F.col("asset") == TOTAL) & ~F.col("reason").eqNullSafe(F.lit(RETRACTED)))
    first_open = F.min(F.when(~F.col("is_closed"), F.col("day")))
    rows: Sequence[Row] = totals.groupBy("portfolio").agg(
        F.max_by("definition", "day").alias("definition"),
        F.max_by("started_on", "day").alias("started_on"),
        F.max("as_of").alias("as_of"),
        F.coalesce(first_open, F.max("day") + F.expr("interval 1 day")).alias("first_open"),
    ).collect()  # fmt: skip
    return rows


def reached(
    keys: DataFrame, own: Sequence[DataFrame], look: Callable[[Sequence[Row]], Mapping[str, DataFrame]], now: datetime
) -> DataFrame:
    """The portfolios with their first day, `started_on`, where that was to be found. One that has none is left out.

    One without rows in `own` is valued from its start.
    """
    wanted = keys.collect()
    there: set[str] = set()
    for rows in own:
        if not there.issuperset(row.portfolio for row in wanted):
            there.update(row.portfolio for row in rows.select("portfolio").distinct().collect())
    accepted = _accepted(wanted)
    anew = [accepted[row.portfolio] for row in wanted if row.portfolio in accepted and not _goes_on(row, there)]
    starts = _starts(anew, look, now) if anew else {}
    ready: list[tuple[object, ...]] = []
    for row in wanted:
        start = starts.get(row.portfolio)
        if isinstance(start, PortfolioFileError):
            continue  # `refusals` says why
        if start is None:
            ready.append(tuple(row))
        else:
            old = [_naive(row.reads_from)] if row.reads_from else []
            ready.append((row.portfolio, row.definition, start, start, min([start, *old])))
    return _frame(keys, ready, _KEYS)


def _goes_on(row: Row, there: Iterable[str]) -> bool:
    return row.started_on is not None and row.portfolio in there


def _accepted(keys: Sequence[Row]) -> dict[str, Portfolio]:
    """The portfolios that the keys name, unless the file has said something else since."""
    defined = {(row.portfolio, row.definition) for row in keys}
    return {one.name: one for one in _portfolios().accepted if (one.name, one.definition) in defined}


def _starts(
    portfolios: Sequence[Portfolio], look: Callable[[Sequence[Row]], Mapping[str, DataFrame]], now: datetime
) -> dict[str, datetime | PortfolioFileError]:
    """The first day of each portfolio, or why it has none."""
    first = min([_at_midnight(one.start) - DAY if one.start else _SINCE_EVER for one in portfolios])
    hours = look([Row(source=ohlcv.TABLE.full_name, interval=_INTERVAL, start=first, end=_naive(now))])
    mine = _of_symbols(hours[ohlcv.TABLE.full_name], portfolios).filter(F.col("interval_start") < F.lit(_midnight(now)))
    days: dict[str, dict[str, set[date]]] = {}
    of_day = F.collect_set(F.to_date("interval_start")).alias("days")
    for row in mine.groupBy("exchange", "symbol").agg(of_day).collect():
        days.setdefault(row.exchange, {})[row.symbol] = set(row.days)
    starts: dict[str, datetime | PortfolioFileError] = {}
    for one in portfolios:
        try:
            starts[one.name] = _at_midnight(first_start(one, days.get(one.exchange, {})))
        except PortfolioFileError as error:
            starts[one.name] = error
    return starts


def _of_symbols(candles: DataFrame, portfolios: Iterable[Portfolio]) -> DataFrame:
    return candles.filter(F.col("symbol").isin(sorted({symbol for one in portfolios for symbol in _symbols(one)})))


def needs(keys: DataFrame, now: datetime) -> DataFrame:
    """The hours from the day before `since`, the minutes of today and of transactions, and the table's own rows."""
    end = _naive(now)
    wanted = keys.collect()
    spans: list[tuple[object, ...]] = []
    for row in wanted:
        since = _naive(row.since)
        spans.append((TABLE.full_name, None, min(since - DAY, _naive(row.reads_from)), end))
        spans.append((ohlcv.TABLE.full_name, _INTERVAL, since - DAY, end))
    minutes = [minute for asked in _wanted_minutes(wanted, end).values() for _, minute in asked]
    if spans:
        spans.append((ohlcv_1m.TABLE.full_name, None, min([*map(_midnight, minutes), _midnight(end)]), end))
    return _frame(keys, spans, _SPANS)


def _wanted_minutes(keys: Sequence[Row], until: datetime) -> dict[str, set[tuple[str, datetime]]]:
    """The symbols and minutes whose prices transactions want, by exchange."""
    wanted: dict[str, set[tuple[str, datetime]]] = {}
    accepted = _accepted(keys)
    for row in keys:
        if one := accepted.get(row.portfolio):
            asked = wanted_minutes(one, _naive(row.started_on).date(), _naive(row.since).date(), until)
            wanted.setdefault(one.exchange, set()).update(asked)
    return wanted


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The rows of each portfolio since its day, as far as they differ from the current ones."""
    wanted = keys.collect()
    accepted = _accepted(wanted)
    prices = _prices(list(accepted.values()), _wanted_minutes(wanted, _naive(now)), sources, now)
    own = _own(current, wanted, accepted)
    records: list[Record] = []
    for row in wanted:
        one = accepted.get(row.portfolio)
        mine = own.get(row.portfolio, [])
        if one is None:
            # What the file has said since is for the next run.
            records += retracted(mine, None) if row.definition == _GONE else []
            continue
        if one.exchange not in prices:
            continue
        since, start = _naive(row.since).date(), _naive(row.started_on).date()
        before = [record for record in mine if record["day"].date() == since - DAY and record["reason"] != RETRACTED]
        try:
            made = valued(one, start, since, before if since > start else [], prices[one.exchange])
        except PortfolioFileError:
            continue  # `refusals` says why
        if since == start:
            kept = {(record["day"], record["asset"]) for record in made}
            lost = [record for record in mine if (record["day"].date(), record["asset"]) not in kept]
            records += retracted(lost, one)
        records += made
    return differing(_rows(keys, records), current, TABLE)


def _prices(
    portfolios: Sequence[Portfolio], wanted: Mapping[str, set[tuple[str, datetime]]],
    sources: Mapping[str, DataFrame], now: datetime,
) -> dict[str, Prices]:  # fmt: skip
    """The prices of each exchange; none of one that has no candle there."""
    today = _midnight(now)
    end = F.col("interval_end")
    last = [F.max_by("close", "interval_start").alias("close"), F.max(end).alias("at")]
    hours = _of_symbols(sources["silver.ohlcv"], portfolios).filter(F.col("interval_start") < F.lit(today))
    by_day = hours.groupBy("exchange", "symbol", F.to_date("interval_start").alias("day")).agg(*last)
    minutes = sources["silver.ohlcv_1m"].filter("is_closed")
    by_symbol = minutes.filter(F.col("interval_start") >= F.lit(today)).groupBy("exchange", "symbol").agg(*last)
    closes: dict[str, dict[tuple[str, date], Quote]] = {}
    as_of: dict[str, datetime] = {}
    for row in [*by_day.collect(), *added(by_symbol, day=F.lit(today).cast("date")).collect()]:
        closes.setdefault(row.exchange, {})[row.symbol, row.day] = Quote(row.close, _naive(row.at))
        # Of a day that is over all is known that will be; the present one is valued as far as there are minutes.
        known = _naive(row.at) if row.day == today.date() else _at_midnight(row.day) + DAY
        as_of[row.exchange] = max(as_of.get(row.exchange, known), known)
    at_minutes = _at_minutes(minutes, wanted)
    return {name: Prices(of, at_minutes.get(name, {}), as_of[name]) for name, of in closes.items()}


def _at_minutes(
    minutes: DataFrame, wanted: Mapping[str, set[tuple[str, datetime]]]
) -> dict[str, dict[tuple[str, datetime], Any]]:
    """The last close within the day by the end of each wanted minute, by exchange."""
    asked = [(exchange, symbol, minute) for exchange, pairs in wanted.items() for symbol, minute in sorted(pairs)]
    if not asked:
        return {}
    frame = _frame(minutes, asked, "exchange string, symbol string, minute timestamp")
    start = F.col("interval_start")
    is_by_then = (start <= F.col("minute")) & (start >= F.date_trunc("day", "minute"))
    found = minutes.join(F.broadcast(frame), on=["exchange", "symbol"], how="inner").filter(is_by_then)
    prices: dict[str, dict[tuple[str, datetime], Any]] = {}
    for row in found.groupBy("exchange", "symbol", "minute").agg(F.max_by("close", start).alias("close")).collect():
        prices.setdefault(row.exchange, {})[row.symbol, _naive(row.minute)] = row.close
    return prices


def _own(current: DataFrame, keys: Sequence[Row], accepted: Mapping[str, Portfolio]) -> dict[str, list[Record]]:
    """Own rows by portfolio: those of the day before, where it goes on; else all that may have to be retracted."""
    condition = F.lit(False)
    for row in keys:
        goes_on = row.portfolio in accepted and row.since != row.started_on
        is_wanted = (
            F.col("day") == F.lit(_as_spark(row.since - DAY))
            if goes_on
            else ~F.col("reason").eqNullSafe(F.lit(RETRACTED))
        )
        condition = condition | ((F.col("portfolio") == row.portfolio) & is_wanted)
    own: dict[str, list[Record]] = {}
    for row in current.filter(condition).collect():
        own.setdefault(row.portfolio, []).append(row.asDict(recursive=True))
    return own


def _rows(like: DataFrame, records: Iterable[Record]) -> DataFrame:
    names = [column for column in TABLE.columns if column.name not in ("ingestion_ts", "month")]
    schema = ", ".join(f"{column.name} {column.type}" for column in names)
    rows = _frame(like, [tuple(record.get(column.name) for column in names) for record in records], schema)
    return added(rows, month=F.date_format("day", "yyyy-MM"))


def _frame(like: DataFrame, rows: Sequence[tuple[object, ...]], schema: str) -> DataFrame:
    return like.sparkSession.createDataFrame([tuple(map(_as_spark, row)) for row in rows], schema)


def _as_spark(value: object) -> object:
    """Days become timestamps, and times get the zone that they are in."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return _at_midnight(value).replace(tzinfo=UTC) if isinstance(value, date) else value


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _at_midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 (as Spark gives times: in UTC, without a zone)


def refusals(lake: Lakehouse, now: datetime) -> list[str]:
    """The portfolios that are not valued as the file says, each with file, line, reason and cure.

    What the lake's data has against one is found by valuing anew those whose rows are of another definition, or behind.
    """
    try:
        found = chosen(settings())
    except PortfolioFileError as error:
        return [str(error)]
    recent = lake.read(TABLE, hours_between(_midnight(now - DAY), now)).filter(F.col("as_of") > F.lit(now - _BEHIND))
    there = {tuple(row) for row in recent.select("portfolio", "definition").distinct().collect()}
    why = [one.why for one in found.refused]
    for one in found.accepted:
        if (one.name, one.definition) not in there:
            why += _what_is_against(one, lake, now)
    return why


def _what_is_against(portfolio: Portfolio, lake: Lakehouse, now: datetime) -> list[str]:
    def look(_spans: Sequence[Row]) -> Mapping[str, DataFrame]:
        return {ohlcv.TABLE.full_name: lake.read(ohlcv.TABLE).filter(F.col("interval") == _INTERVAL)}

    start = _starts([portfolio], look, now)[portfolio.name]
    if isinstance(start, PortfolioFileError):
        return [str(start)]
    asked = wanted_minutes(portfolio, start.date(), start.date(), _naive(now))
    sources = dict(look([])) | {ohlcv_1m.TABLE.full_name: lake.read(ohlcv_1m.TABLE, hours_between(start, _naive(now)))}
    try:
        valued(
            portfolio,
            start.date(),
            start.date(),
            [],
            _prices([portfolio], {portfolio.exchange: asked}, sources, now)[portfolio.exchange],
        )
    except PortfolioFileError as error:
        return [str(error)]
    return []
