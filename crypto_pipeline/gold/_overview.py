"""The arithmetic of `gold.market_overview`, over pandas."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from crypto_pipeline.gold._prices import SERIES, grid, log_returns

LEAST_RETURNS = 720
"""Of the 1440 of a day. A volatility of fewer would be one of other hours."""
_MINUTE = pd.Timedelta(minutes=1)
_DAY = pd.Timedelta(days=1)
_WINDOWS = ("1h", "24h", "day", "7d")
_DAY_MINUTES = 1440
_CARRIED = pd.Timedelta(minutes=60)
"""For so long the last price of a quote asset in USDT is good."""
_RANKS = {
    "volume_rank": "quote_volume_24h_usdt",
    "trade_count_rank": "trade_count_24h",
    "change_rank": "change_24h_percent",
    "change_1h_rank": "change_1h_percent",
    "change_day_rank": "change_day_percent",
    "change_7d_rank": "change_7d_percent",
    "volatility_rank": "volatility_24h",
    "imbalance_rank": "imbalance",
}
_MORE_IS_ABOVE = ("high", "volume", "quote_volume", "trade_count")
"""Where we have less than the exchange when minutes are missing; of the low we have more."""


def overview(series: pd.DataFrame, sums: pd.DataFrame, closes: pd.DataFrame, proven: pd.DataFrame) -> pd.DataFrame:
    """A row for each of `series` (SERIES, base_asset, quote_asset, as_of), with the columns of the table.

    `sums`: what the minutes of a series add up to. `closes`: those of the 24 hours and the one before, with `close` and
    `quote_volume` as floats. `proven`: of each series `first_minute` and `quiet`, the minutes (seconds since 1970) in
    which proven nothing traded. Times are UTC without a zone.
    """
    quiet = quiet_minutes(proven)
    rows = series.merge(sums, how="left", on=SERIES).merge(proven[[*SERIES, "first_minute"]], how="left", on=SERIES)
    rows = rows.merge(volatilities(series, closes, quiet), how="left", on=SERIES)
    rows = rows.merge(in_usdt(closes, series), how="left", on=SERIES)
    for name in _WINDOWS:
        rows[f"change_{name}_percent"] = changes(rows, quiet, name)
    rows.loc[rows["change_24h_percent"].isna(), "change_24h"] = None
    is_there = rows["last_price"].notna()
    start = rows["as_of"] - _DAY
    quiet_count = counted(rows, quiet, start, rows["as_of"])
    rows["minutes_quiet_24h"] = quiet_count.where(is_there)
    rows["minutes_missing_24h"] = (_DAY_MINUTES - rows["minutes_24h"] - quiet_count).where(is_there)
    rows["observations"] = rows["observations"].where(is_there, 0).fillna(0)
    is_booked = rows["book_spread"].notna()
    rows["spread_bps"] = rows["book_spread"].where(is_booked, rows["ticker_spread"])
    rows["spread_as_of"] = rows["book_as_of"].where(is_booked, rows["ticker_as_of"]).where(rows["spread_bps"].notna())
    rows["spread_source"] = np.select([is_booked, rows["spread_bps"].notna()], ["order_book", "ticker"], default="")
    rows["spread_source"] = rows["spread_source"].replace("", None)
    rows["imbalance_as_of"] = rows["book_as_of"].where(rows["imbalance"].notna())
    for figure in ("spread_bps", "spread_source", "spread_as_of", "imbalance", "imbalance_as_of"):
        rows[figure] = rows[figure].where(is_there)
    reconcile(rows, quiet)
    of_exchange = rows.groupby("exchange")
    for rank, figure in _RANKS.items():
        rows[rank] = of_exchange[figure].rank(method="min", ascending=False)
    rows["spread_rank"] = of_exchange["spread_bps"].rank(method="min")
    rows["reason"] = reasons(rows)
    counts = [name for name in map(str, rows) if name.endswith("_rank") or "minutes" in name or "trade_count" in name]
    return rows.astype(dict.fromkeys([*counts, "observations"], "Int64"))


def quiet_minutes(proven: pd.DataFrame) -> pd.DataFrame:
    """SERIES and `interval_start` of every minute in the lists `quiet`."""
    listed = proven[[*SERIES, "quiet"]].explode("quiet").dropna(subset="quiet")
    return pd.DataFrame(
        {
            **{name: listed[name].to_numpy() for name in SERIES},
            "interval_start": pd.to_datetime(listed["quiet"].to_numpy(dtype="int64"), unit="s"),
        }
    )


def counted(rows: pd.DataFrame, quiet: pd.DataFrame, start: pd.Series, end: pd.Series) -> pd.Series:
    """For each row (one a series) how many quiet minutes of it lie in `[start, end)`."""
    bounds = rows[SERIES].assign(start=start, end=end, place=np.arange(len(rows)))
    inside = quiet.merge(bounds, on=SERIES)
    inside = inside[(inside["interval_start"] >= inside["start"]) & (inside["interval_start"] < inside["end"])]
    return pd.Series(np.bincount(inside["place"].to_numpy(), minlength=len(rows)), index=rows.index)


def starts(as_of: pd.Series, window: str) -> pd.Series:
    """When a window begins that ends at `as_of`."""
    if window == "day":
        return (as_of - _MINUTE).dt.floor("D")
    return as_of - pd.Timedelta(window)


def changes(rows: pd.DataFrame, quiet: pd.DataFrame, window: str) -> pd.Series:
    """last / open - 1 in percent, where nothing traded between the window's start and the trade that is its open."""
    start = starts(rows["as_of"], window)
    first = rows[f"first_{window}"].fillna(rows["as_of"])
    last = rows["last_price"].astype("float64")
    opened = rows[f"open_{window}"].astype("float64").where(rows[f"first_{window}"].notna(), last)
    is_first = counted(rows, quiet, start, first) == (first - start) // _MINUTE
    return ((last / opened - 1) * 100).where(is_first)


def volatilities(series: pd.DataFrame, closes: pd.DataFrame, quiet: pd.DataFrame) -> pd.DataFrame:
    """`volatility_24h` and `observations` of each series: sqrt(1440 / n * sum of n squared one-minute log returns)."""
    parts = []
    for exchange, of_exchange in closes.groupby("exchange"):
        end = series.loc[series["exchange"] == exchange, "as_of"].max()
        prices = grid(of_exchange, quiet[quiet["exchange"] == exchange], 60)
        returns = log_returns(prices)
        returns = returns[(returns.index >= end - _DAY) & (returns.index < end)]
        count = returns.count()
        squares = (returns**2).sum()
        value = np.sqrt(squares * _DAY_MINUTES / count.where(count >= LEAST_RETURNS))
        parts.append(pd.DataFrame({"volatility_24h": value, "observations": count}).rename_axis(SERIES).reset_index())
    return pd.concat(parts) if parts else pd.DataFrame(columns=[*SERIES, "volatility_24h", "observations"])


def in_usdt(closes: pd.DataFrame, series: pd.DataFrame) -> pd.DataFrame:
    """`quote_volume_24h_usdt` of each series; NaN where a minute's cannot be converted."""
    ends = series.groupby("exchange")["as_of"].max()
    day = closes[closes["interval_start"] >= closes["exchange"].map(ends) - _DAY]
    is_usdt = day["quote_asset"] == "USDT"
    others = day[~is_usdt].sort_values("interval_start")
    straight, inverse = closes[closes["quote_asset"] == "USDT"], closes[closes["base_asset"] == "USDT"]
    rates = pd.concat(
        [
            straight.assign(asset=straight["base_asset"], rate=straight["close"]),
            inverse.assign(asset=inverse["quote_asset"], rate=1 / inverse["close"]),
        ]
    )[["exchange", "asset", "interval_start", "rate"]].sort_values("interval_start", kind="stable")
    rates = rates[rates["asset"].isin(others["quote_asset"].unique())]
    converted = pd.merge_asof(
        others, rates, on="interval_start", left_by=["exchange", "quote_asset"], right_by=["exchange", "asset"],
        tolerance=_CARRIED,
    )  # fmt: skip
    volumes = pd.concat([day[is_usdt].assign(rate=1.0), converted])
    volumes["quote_volume_24h_usdt"] = volumes["quote_volume"] * volumes["rate"]
    of_series = volumes.groupby(SERIES)["quote_volume_24h_usdt"]
    return of_series.sum().where(of_series.count() == of_series.size()).reset_index()


def reconcile(rows: pd.DataFrame, quiet: pd.DataFrame) -> None:
    """Add `ticker_minutes_missing` and `reconciliation` to rows with the differences from the ticker."""
    is_told = rows["ticker_as_of"].notna() & rows["last_price"].notna()
    until = rows["ticker_as_of"].dt.ceil("min").fillna(rows["as_of"])
    since = (rows["ticker_as_of"] - _DAY).dt.floor("min").fillna(rows["as_of"])
    known = rows["outer_minutes"] + counted(rows, quiet, since, until) - rows["outer_unproven"]
    rows["ticker_minutes_missing"] = ((until - since) // _MINUTE - known).where(is_told)
    differences = {
        name: rows[f"difference_{name}_24h"].astype("float64").fillna(0)
        for name in ("open", "low", *_MORE_IS_ABOVE)
    }  # fmt: skip
    agrees = np.all([each == 0 for each in differences.values()], axis=0)
    # What is missing can neither add to a sum nor widen a range; the open may then be another minute's.
    has_more = np.any([differences[name] > 0 for name in _MORE_IS_ABOVE] + [differences["low"] < 0], axis=0)
    is_explained = ~has_more & (rows["ticker_minutes_missing"] > 0)
    verdict = np.select([~is_told, agrees, is_explained], ["", "agrees", "missing_minutes"], default="differs")
    rows["reconciliation"] = pd.Series(verdict, index=rows.index).replace("", None)


def reasons(rows: pd.DataFrame) -> list[str | None]:
    """Which figures of each row are null and why: `change_7d: too_little_history until 2026-12-01 10:00`, ..."""
    return [_reason(row) for row in rows.to_dict("records")]


def _reason(row: dict[Any, Any]) -> str | None:
    if pd.isna(row["last_price"]):
        return "all: no_candle_in_24h"
    unknown = [window for window in _WINDOWS if pd.isna(row[f"change_{window}_percent"])]
    told = [f"change_{window}: {_why(row, window)}" for window in unknown]
    if pd.isna(row["volatility_24h"]):
        told.append("volatility_24h: too_few_minutes")
    lacking: Sequence[tuple[str, str]] = (
        ("quote_volume_24h_usdt", "no_price_of_the_quote_asset_in_usdt"),
        ("spread_bps", "no_order_book_and_no_ticker"),
        ("imbalance", "no_order_book"),
        ("reconciliation", "no_ticker"),
    )
    told += [f"{figure}: {why}" for figure, why in lacking if pd.isna(row[figure])]
    return "; ".join(told) or None


def _why(row: dict[Any, Any], window: str) -> str:
    """Why a window's first price is not known; with the time at which it will be, where the history is too short."""
    start = starts(pd.Series([row["as_of"]]), window)[0]
    begun = row["first_minute"]
    if pd.isna(begun) or begun <= start:
        return "the_price_then_is_missing"
    filled = start + _DAY if window == "day" else begun + pd.Timedelta(window)
    return f"too_little_history until {filled:%Y-%m-%d %H:%M}"
