"""What is known at the end of each hour, as numbers for the models, and what came in the hour after."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from crypto_pipeline.gold._prices import SERIES

Values = npt.NDArray[np.float64]

VERSION = "1"
"""Of the features and models. Whoever changes what comes out of them counts it up: all models are then trained anew."""
LOOKBACK = 168
"""Hours that the features reach back."""
SHARE = 0.9
"""So much of a span must be known for its mean to be."""
FLOOR = 1e-10
"""The least variance of an hour: (0.001 %)². A price that did not move has one of 0, of which there is no logarithm."""

FEATURES = {
    "log_variance_1h": "ln of the hour's realised variance",
    "log_variance_24h": "ln of its mean over 24 hours",
    "log_variance_168h": "ln of its mean over 168 hours",
    "variance_1h_to_24h": "ln of the hour's to the mean over 24 hours",
    "variance_4h_to_24h": "the same of the mean over 4 hours",
    "variance_24h_to_168h": "ln of the mean over 24 hours to that over 168 hours",
    "return_1h": "log return of the hour, in standard deviations of the last 24 hours",
    "return_4h": "the same of 4 hours",
    "return_24h": "the same of 24 hours",
    "range_1h": "ln(high / low) of the hour, in the same",
    "volume_to_24h": "ln(1 + quote volume of the hour / its mean over 24 hours)",
    "trades_to_24h": "the same of the number of trades",
    "taker_share": "share of the quote volume that takers bought, less one half",
    "hour_sin": "sine of the forecast hour's place in the day",
    "hour_cos": "cosine of it",
    "is_weekend": "1 where the forecast hour lies on a Saturday or Sunday, UTC",
}
"""Each with what it is. All are known when the forecast hour begins."""

_MEASURES = ("close", "high", "low", "realised_variance", "quote_volume", "taker_buy_quote_volume", "trade_count")


def examples(inputs: pd.DataFrame) -> pd.DataFrame:
    """One row per series and hour that may be forecast: from its second known hour to the one after the last.

    `inputs` are closed rows of `gold.forecast_inputs`: SERIES, `interval_start` and the measures. Columns given back:
    SERIES, `interval_start` (of the forecast hour), FEATURES, `variance` and `went_up` (1.0 or 0.0), both of the
    forecast hour and NaN where it is not known, `observations` (known hours of the 168 before) and `reason`
    (`last_hour_unknown`, `too_little_history`; None where every feature is known). A row rests on the 169 hours before
    it and on no other, and comes out the same to the last bit whatever else there is.
    """
    if inputs.empty:
        nothing = pd.DataFrame(columns=[*SERIES, "interval_start", *FEATURES, *_TRUTH])
        return nothing.astype({"interval_start": "datetime64[ns]"})
    hours = pd.date_range(inputs["interval_start"].min(), inputs["interval_start"].max(), freq="h")
    table = inputs.pivot_table(index="interval_start", columns=SERIES, values=list(_MEASURES), aggfunc="last")
    series = inputs[SERIES].drop_duplicates().sort_values(SERIES)
    columns = pd.MultiIndex.from_frame(series)

    def on_grid(name: str) -> Values:
        if name not in table:
            return np.full((len(hours), len(columns)), np.nan)
        return pd.DataFrame(table[name]).reindex(index=hours, columns=columns).to_numpy(float)

    measures = {name: on_grid(name) for name in _MEASURES}
    is_known = ~np.isnan(measures["realised_variance"])
    measures = {name: np.where(is_known, values, np.nan) for name, values in measures.items()}
    variance = np.maximum(measures["realised_variance"], FLOOR)
    returns = _log_returns(measures["close"])
    made = _features(measures, variance, returns, hours)

    one = np.full((1, len(columns)), np.nan)
    truth = {
        "variance": np.concatenate([variance[1:], one]),
        "went_up": np.concatenate([np.where(np.isnan(returns), np.nan, returns > 0)[1:], one]),
    }
    observations = trailing_sum(is_known.astype(float), LOOKBACK)
    is_whole = np.isfinite(np.stack(list(made.values()))).all(axis=0)
    has_begun = np.maximum.accumulate(is_known, axis=0)
    why = np.where(is_known, "too_little_history", "last_hour_unknown").astype(object)
    reason = np.where(is_whole, np.array(None, dtype=object), why)
    row, column = np.nonzero(has_begun)
    long = {name: values[row, column] for name, values in (made | truth).items()}
    rows = pd.DataFrame(
        {
            **{name: columns.get_level_values(name)[column] for name in SERIES},
            "interval_start": hours[row] + pd.Timedelta(hours=1),
            **long,
            "observations": observations[row, column].astype(int),
            "reason": reason[row, column],
        }
    )
    return rows.sort_values([*SERIES, "interval_start"], ignore_index=True)


_TRUTH = ("variance", "went_up", "observations", "reason")


def _features(
    measures: dict[str, Values], variance: Values, returns: Values, hours: pd.DatetimeIndex
) -> dict[str, Values]:
    """The FEATURES on the grid of hours and series; at each hour those of a forecast for the next."""
    mean_4h, mean_24h, mean_168h = (trailing_mean(variance, span) for span in (4, 24, LOOKBACK))
    deviation = np.sqrt(mean_24h)
    volume, trades = measures["quote_volume"], measures["trade_count"]
    with np.errstate(invalid="ignore", divide="ignore"):
        bought = np.where(volume > 0, measures["taker_buy_quote_volume"] / volume, 0.5)
        made = {
            "log_variance_1h": np.log(variance),
            "log_variance_24h": np.log(mean_24h),
            "log_variance_168h": np.log(mean_168h),
            "variance_1h_to_24h": np.log(variance / mean_24h),
            "variance_4h_to_24h": np.log(mean_4h / mean_24h),
            "variance_24h_to_168h": np.log(mean_24h / mean_168h),
            "return_1h": returns / deviation,
            "return_4h": trailing_mean(returns, 4) * 2 / deviation,  # 4 returns, √4 deviations
            "return_24h": trailing_mean(returns, 24) * np.sqrt(24) / deviation,
            "range_1h": np.log(measures["high"] / measures["low"]) / deviation,
            "volume_to_24h": np.log1p(volume / trailing_mean(volume, 24)),
            "trades_to_24h": np.log1p(trades / trailing_mean(trades, 24)),
            "taker_share": np.where(np.isnan(volume), np.nan, bought - 0.5),
        }
    forecast = hours + pd.Timedelta(hours=1)
    turn = 2 * np.pi * forecast.hour.to_numpy() / 24
    of_time = {"hour_sin": np.sin(turn), "hour_cos": np.cos(turn), "is_weekend": forecast.dayofweek.to_numpy() >= 5}
    made |= {name: np.broadcast_to(values[:, None].astype(float), variance.shape) for name, values in of_time.items()}
    return {name: made[name] for name in FEATURES}


def _log_returns(closes: Values) -> Values:
    """ln(close / close of the hour before) on the grid; NaN where either is not known."""
    logs = np.log(closes)
    before = np.concatenate([np.full((1, logs.shape[1]), np.nan), logs[:-1]])
    return np.asarray(logs - before)


def trailing_sum(values: Values, hours: int) -> Values:
    """The sum of each row and the `hours - 1` before it, added from the newest back; what is NaN counts nothing.

    The order is fixed so that a row is the same to the last bit wherever the series begins; running sums are not.
    """
    known = np.where(np.isnan(values), 0.0, values)
    total = np.zeros_like(known)
    for back in range(min(hours, len(known))):
        total[back:] += known[: len(known) - back]
    return total


def trailing_mean(values: Values, hours: int) -> Values:
    """The mean of what is known of each row and the `hours - 1` before; NaN where that is less than SHARE of them."""
    count = trailing_sum(np.where(np.isnan(values), 0.0, 1.0), hours)
    enough = count >= np.ceil(SHARE * hours)
    return np.asarray(np.where(enough, trailing_sum(values, hours) / np.maximum(count, 1), np.nan))
