"""What followed each signal: at which price one gets in after it, and the return after 15 m, 1 h, 4 h and 1 d.

**Entry.** The open of the first minute with a trade at or after the signal's `interval_end`, within an hour, and only
where proven nothing traded between. One pays half the spread of that minute and the fee: a buyer's `entry_price` is
open * (1 + spread / 2) * (1 + fee), a seller's open * (1 - spread / 2) * (1 - fee). The spread is the time-weighted
one of `silver.order_book_1m`, else the last one of `silver.ticker_1m`, else that of `config/signals.yaml`;
`spread_source` says which.

**Return** after a horizon h: the close of the minute that ends at `entered_at` + h. Where proven nothing traded in it,
the close before, at most an hour old; across any other absence there is none. A buyer's return is
close / entry_price - 1, a seller's 1 - close / entry_price: simple returns, of a position that is valued and not left.
To leave it costs as much again. It is the return of someone who acts as soon as the candle is closed; `gold.signals`
itself is minutes later.

**`always_long`** is no signal but what signals are compared with: it buys at each full hour. It is treated alike.

Of a signal the row of `gold.signals` that counts is meant. One that is retracted stays here and says so.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added, differing, framed, to_pandas
from crypto_pipeline.gold import signals
from crypto_pipeline.gold._prices import SERIES, candles, quiet_minutes
from crypto_pipeline.gold._rules import ALWAYS_LONG, Costs
from crypto_pipeline.gold.signals import latest
from crypto_pipeline.silver import completeness, ohlcv_1m, order_book_1m, ticker_1m
from shared.tables import Column, Table

HORIZONS = {"15m": 15, "1h": 60, "4h": 240, "1d": 1440}
"""Minutes of each."""

TABLE = Table(
    layer="gold",
    name="signal_outcomes",
    grain="One row per exchange, symbol, interval, candle and rule: a signal, or a full hour's always_long",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("interval", "string", "of the signal's candle"),
        Column("interval_start", "timestamp", "of the signal's candle, UTC, inclusive"),
        Column("interval_end", "timestamp", "its close, exclusive: when one may act"),
        Column("rule", "string", "its name in config/signals.yaml, or always_long"),
        Column("side", "string", "buy or sell"),
        Column("is_retracted", "boolean", "the signal does not hold any more"),
        Column("bridged", "boolean", "an unexplained absence lies within the candles that the signal rests on"),
        Column("entered_at", "timestamp", "start of the minute at whose open one gets in"),
        Column("entry_open", "double", "open of that minute, in the quote asset"),
        Column("spread_bps", "double", "of that minute, in basis points; half of it is paid"),
        Column("spread_source", "string", "order_book_1m, ticker_1m or configured"),
        Column("fee_bps", "double", "in basis points, as config/signals.yaml says"),
        Column("entry_price", "double", "what one pays or gets: entry_open with half the spread and the fee"),
        *(
            Column(f"return_{name}", "double", f"simple return {name} after entered_at; a fraction")
            for name in HORIZONS
        ),
        Column("observations", "int", "returns that are known: 0 to 4"),
        Column(
            "reason",
            "string",
            "why a value is null: no_entry (no minute with a trade yet or within the hour, or an absence before "
            "it), price_not_known (not yet, or the minute is absent); else null",
        ),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of interval_end, yyyy-MM"),
    ),
    key=("exchange", "symbol", "interval", "interval_start", "rule"),
    partitions=("month",),
    time="interval_end",
    rules={
        "one_gets_in_after_the_signal": "entered_at is null or entered_at >= interval_end",
        "costs_are_paid": (
            "entry_price is null or (side = 'buy' and entry_price >= entry_open) "
            "or (side = 'sell' and entry_price <= entry_open)"
        ),
        "observations_are_counted": "observations between 0 and 4 and (observations = 4) = (reason is null)",
    },
)
SOURCES = (signals.TABLE, ohlcv_1m.TABLE, completeness.TABLE, order_book_1m.TABLE, ticker_1m.TABLE)
JOB = "analytics"

CARRIED = 60
"""Minutes for which a price holds, and for which an entry is waited for, while proven nothing trades."""
_BASIS_POINT = 1e-4
_MINUTE = np.timedelta64(1, "m")


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, _now: datetime) -> DataFrame:
    """The hours of each series whose signals rest on something new: themselves, prices, quiet minutes or spreads."""
    minute = F.col("interval_start")
    shifts = [0, -CARRIED]
    for minutes in HORIZONS.values():
        shifts += [1 - minutes - CARRIED, 1 - minutes, 1 - minutes + CARRIED]
    prices = changes["silver.ohlcv_1m"].filter("is_closed").select(*SERIES, _hours(minute, shifts))
    quiet = changes["silver.completeness"].filter("reason = 'no_trades'").select(*SERIES, _hours(minute, shifts))
    hours = changes["gold.signals"].select(*SERIES, _hours(F.col("interval_end"), [0]))
    hours = hours.unionByName(prices).unionByName(quiet)
    for source in ("silver.order_book_1m", "silver.ticker_1m"):
        spreads = changes[source].filter("spread_bps is not null")
        hours = hours.unionByName(spreads.select(*SERIES, _hours(minute, [0, -CARRIED])))
    return hours.distinct()


def _hours(time: Expression, shifts: list[int]) -> Expression:
    """The hours that the time falls into when it is shifted by so many minutes."""
    moved = [F.date_trunc("hour", time + F.expr(f"interval {minutes} minutes")) for minutes in shifts]
    return F.explode(F.array_distinct(F.array(*moved))).alias("hour")


def needs(keys: DataFrame, now: datetime) -> DataFrame:
    """The signals of the hours, their own rows, and the minutes until the last horizon is over."""
    days = keys.groupBy(F.date_trunc("day", "hour").alias("day"))
    hours = days.agg(F.min("hour").alias("first"), F.max("hour").alias("last"))
    longest = max(HORIZONS.values()) + CARRIED

    def span(table: Table, before: int, after: int) -> Expression:
        start = F.col("first") - F.expr(f"interval {before} minutes")
        end = F.least(F.col("last") + F.expr(f"interval {59 + after} minutes"), F.lit(now))
        return F.struct(
            F.lit(table.full_name).alias("source"),
            F.lit(None).cast("string").alias("interval"),
            start.alias("start"),
            F.greatest(start, end).alias("end"),
        )

    spans = F.array(
        span(signals.TABLE, 1440, 0),
        span(ohlcv_1m.TABLE, 0, longest),
        span(completeness.TABLE, 0, longest),
        span(order_book_1m.TABLE, 0, CARRIED),
        span(ticker_1m.TABLE, 0, CARRIED),
        span(TABLE, 0, 0),
    )
    return hours.select(F.explode(spans).alias("span")).select("span.*")


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
    """What followed the signals of the hours `keys`, as far as it differs from what is there."""
    hours, costs = to_pandas(keys), signals.chosen().costs
    named = F.broadcast(keys.select(*SERIES).distinct())
    mine = {name: rows.join(named, on=SERIES, how="left_semi") for name, rows in sources.items()}
    # A month at a time, so that memory does not grow with the history.
    parts = [_outcomes(part, mine, costs) for _, part in hours.groupby(hours["hour"].dt.to_period("M"))]
    columns = [c for c in TABLE.columns if c.name not in ("ingestion_ts", "month")]
    made = framed(keys.sparkSession, pd.concat(parts, ignore_index=True), columns)
    return differing(added(made, month=F.date_format("interval_end", "yyyy-MM")), current, TABLE)


def _outcomes(hours: pd.DataFrame, sources: Mapping[str, DataFrame], costs: Costs) -> pd.DataFrame:
    """What followed the signals of some hours (SERIES, `hour`)."""
    first, last = hours["hour"].min(), hours["hour"].max() + pd.Timedelta(hours=1)
    reach = pd.Timedelta(minutes=max(HORIZONS.values()) + CARRIED)

    def of(name: str, time: str, until: pd.Timestamp) -> DataFrame:
        # With their zone: without one they would be of the zone of this machine.
        start, end = (moment.tz_localize("UTC").to_pydatetime() for moment in (first, until))
        return sources[name].filter((F.col(time) >= F.lit(start)) & (F.col(time) < F.lit(end)))

    minutes = {name: of(name, "interval_start", last + reach) for name in ("silver.ohlcv_1m", "silver.completeness")}
    columns = [*signals.SIGNAL, "interval_end", "revision", "side", "is_retraction", "bridged"]
    of_signals = to_pandas(of("gold.signals", "interval_end", last).select(*columns))
    spreads = {
        name: to_pandas(
            of(f"silver.{name}", "interval_start", last + pd.Timedelta(minutes=CARRIED))
            .filter("spread_bps is not null")
            .select(*SERIES, "interval_start", "spread_bps")
        )
        for name in ("order_book_1m", "ticker_1m")
    }
    acted = latest(of_signals).rename(columns={"is_retraction": "is_retracted"}).drop(columns="revision")
    acted = acted.assign(hour=acted["interval_end"].dt.floor("h")).merge(hours, on=[*SERIES, "hour"])
    prices = candles(minutes, "1m", ("open", "close"))
    both = [each for each in (acted, always_long(hours)) if len(each)]
    return followed(pd.concat(both), prices, quiet_minutes(minutes), spreads, costs)


def always_long(hours: pd.DataFrame) -> pd.DataFrame:
    """A purchase at the start of each of the hours (SERIES, `hour`)."""
    end = hours["hour"]
    return hours[SERIES].assign(
        interval="1h",
        interval_start=end - pd.Timedelta(hours=1),
        interval_end=end,
        rule=ALWAYS_LONG,
        side="buy",
        is_retracted=False,
        bridged=False,
    )


class Minutes(NamedTuple):
    """The minutes of a series, as their numbers since 1970, in order."""

    at: NDArray[np.int64]
    open: NDArray[np.float64]
    close: NDArray[np.float64]
    quiet: NDArray[np.int64]
    """Those in which proven nothing traded."""

    def entered(self, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place of the first minute with a trade at or after each that is wanted; -1 where none is known."""
        place = np.searchsorted(self.at, wanted)
        is_there = place < len(self.at)
        return self._known(np.where(is_there, place, 0), is_there, wanted, 0)

    def last(self, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place of the last minute with a trade until each that is wanted; -1 where none is known."""
        place = np.searchsorted(self.at, wanted, side="right") - 1
        return self._known(np.maximum(place, 0), place >= 0, wanted, 1)

    def _known(
        self, place: NDArray[np.int64], is_there: NDArray[np.bool_], wanted: NDArray[np.int64], shift: int
    ) -> NDArray[np.int64]:
        """Only those between which and the wanted minute nothing traded, for not too long."""
        if not len(self.at):
            return np.full(len(wanted), -1)
        found = self.at[place]
        low, high = np.minimum(found, wanted) + shift, np.maximum(found, wanted) + shift
        silent = np.searchsorted(self.quiet, high) - np.searchsorted(self.quiet, low)
        is_known = is_there & (silent == high - low) & (high - low <= CARRIED)
        return np.where(is_known, place, -1)


def followed(
    acted: pd.DataFrame,
    prices: pd.DataFrame,
    quiet: pd.DataFrame,
    spreads: Mapping[str, pd.DataFrame],
    costs: Costs,
) -> pd.DataFrame:
    """What followed each signal, and each `always_long` that one could get into.

    `acted`: the table's columns from `exchange` to `bridged`. `prices`: SERIES, `interval_start`, `open` and `close` of
    the minutes; `quiet`: SERIES and `interval_start` of those in which proven nothing traded; `spreads`: by source, the
    best first, SERIES, `interval_start` and `spread_bps`. Gives the table's columns from `exchange` to `reason`.
    """
    rows = acted.reset_index(drop=True).assign(entry_open=np.nan)
    rows["entered_at"] = pd.Series(pd.NaT, index=rows.index, dtype="datetime64[ns]")
    ends = {name: np.full(len(rows), np.nan) for name in HORIZONS}
    traded, silent = (dict(list(each.groupby(SERIES))) for each in (prices, quiet))
    for series, found in rows.groupby(SERIES).indices.items():
        if series not in traded:
            continue
        of = traded[series]
        no_trades = _minutes(silent[series]["interval_start"]) if series in silent else np.empty(0, dtype=np.int64)
        at = _minutes(of["interval_start"])
        # Where a minute has a candle it was not quiet, whatever was said of it before.
        known = Minutes(at, of["open"].to_numpy(), of["close"].to_numpy(), np.setdiff1d(no_trades, at))
        place = known.entered(_minutes(rows["interval_end"].iloc[found]))
        places, entry = np.asarray(found)[place >= 0], place[place >= 0]
        rows.loc[places, "entered_at"] = known.at[entry] * _MINUTE + np.datetime64(0, "ns")
        rows.loc[places, "entry_open"] = known.open[entry]
        for name, minutes in HORIZONS.items():
            end = known.last(known.at[entry] + minutes - 1)
            ends[name][places] = np.where(end >= 0, known.close[end], np.nan)
    rows = _with_spread(rows, spreads, costs)
    sign = np.where(rows["side"] == "buy", 1.0, -1.0)
    half, fee = rows["spread_bps"] / 2 * _BASIS_POINT, costs.fee_bps * _BASIS_POINT
    rows["entry_price"] = rows["entry_open"] * (1 + sign * half) * (1 + sign * fee)
    for name, end in ends.items():
        rows[f"return_{name}"] = sign * (end / rows["entry_price"] - 1)
    returns = [f"return_{name}" for name in HORIZONS]
    rows["observations"] = rows[returns].notna().sum(axis=1).astype("int32")
    has_entry = rows["entered_at"].notna()
    why = has_entry.map({True: "price_not_known", False: "no_entry"})
    rows["reason"] = why.where(rows["observations"] < len(HORIZONS), None)
    is_wanted = has_entry | (rows["rule"] != ALWAYS_LONG)
    names = [name for name in TABLE.column_names if name not in ("ingestion_ts", "month")]
    return rows.loc[is_wanted, names].astype({"is_retracted": bool, "bridged": bool}).reset_index(drop=True)


def _minutes(times: pd.Series) -> NDArray[np.int64]:
    return times.to_numpy().astype("datetime64[m]").astype(np.int64)


def _with_spread(rows: pd.DataFrame, spreads: Mapping[str, pd.DataFrame], costs: Costs) -> pd.DataFrame:
    """With the spread of the minute of entry from the first source that knows it."""
    spread = pd.Series(np.nan, index=rows.index)
    source = pd.Series(None, index=rows.index, dtype=object)
    for name, said in spreads.items():
        at = said.rename(columns={"interval_start": "entered_at", "spread_bps": "said"})
        found = rows[[*SERIES, "entered_at"]].merge(at, how="left", on=[*SERIES, "entered_at"])["said"]
        is_new = spread.isna() & found.notna()
        spread, source = spread.where(~is_new, found), source.where(~is_new, name)
    has_entry = rows["entered_at"].notna()
    is_assumed = spread.isna() & has_entry
    return rows.assign(
        spread_bps=spread.where(~is_assumed, costs.spread_bps),
        spread_source=source.where(~is_assumed, "configured"),
        fee_bps=np.where(has_entry, costs.fee_bps, np.nan),
    )
