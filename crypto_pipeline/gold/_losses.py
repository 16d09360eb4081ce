"""How wrong forecasts were, and whether one model was less wrong than another by more than chance."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

Values = npt.NDArray[np.float64]

CONFIDENCE = 0.95
_LEAST_PROBABILITY = 1e-9
"""A probability of 0 or 1 is taken as one so far from it: log loss would be infinite."""


def qlike(forecast: Values, realised: Values) -> Values:
    """`y / f - ln(y / f) - 1` of variances; 0 is right, and too low costs more than too high.

    It ranks forecasts rightly although realised variance is a noisy proxy of variance (Patton 2011, Journal of
    Econometrics 160). Both must be positive.
    """
    ratio = realised / forecast
    return np.asarray(ratio - np.log(ratio) - 1)


def squared_error(forecast: Values, realised: Values) -> Values:
    """`(f - y)²` of variances of returns in percent; the other loss that the noise of the proxy does not mislead."""
    return np.asarray(((forecast - realised) * 100**2) ** 2)


def brier(probability: Values, happened: Values) -> Values:
    """`(p - o)²`, o being 1 where it happened and else 0 (Brier 1950)."""
    return np.asarray((probability - happened) ** 2)


def log_loss(probability: Values, happened: Values) -> Values:
    """`-ln` of the probability that was given to what came."""
    clipped = np.clip(probability, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.asarray(-np.where(happened > 0, np.log(clipped), np.log1p(-clipped)))


LOSSES: Mapping[str, Mapping[str, Callable[[Values, Values], Values]]] = {
    "volatility": {"qlike": qlike, "mse": squared_error},
    "direction": {"log_loss": log_loss, "brier": brier},
}
"""The losses of each target by name; the first decides whether a model beats the baseline."""


@dataclass(frozen=True)
class Comparison:
    """The mean loss of a model and of the baseline over the same hours, and their difference with its interval."""

    observations: int
    loss: float
    baseline_loss: float
    difference: float
    """Loss minus the baseline's: negative where the model is better."""
    low: float | None
    high: float | None
    statistic: float | None
    p_value: float | None

    @property
    def beats(self) -> bool:
        """The whole interval of the difference lies below 0."""
        return self.high is not None and self.high < 0

    def sentence(self, model: str, baseline: str, loss: str) -> str:
        """What it comes to, in words."""
        verdict = "beats" if self.beats else "does not beat"
        if self.low is not None and self.low > 0:
            verdict = "is worse than"
        interval = "" if self.low is None else f" ({CONFIDENCE:.0%}: {self.low:+.4g} to {self.high:+.4g})"
        return (
            f"{model} {verdict} {baseline}: {loss} {self.loss:.4g} against {self.baseline_loss:.4g} over "
            f"{self.observations} hours, difference {self.difference:+.4g}{interval}."
        )


def compared(losses: Values, baseline_losses: Values) -> Comparison | None:
    """The comparison over the hours of which both losses are known, in order of time; none where there are under two.

    Diebold and Mariano (1995): the mean of the difference over its standard error, which is Newey and West's with
    Bartlett weights up to lag `n^(1/3)`, against Student's t with n - 1 degrees of freedom. Where the difference never
    varies there is no interval.
    """
    both = np.isfinite(losses) & np.isfinite(baseline_losses)
    ours, theirs = losses[both], baseline_losses[both]
    count = len(ours)
    if count < 2:
        return None
    difference = ours - theirs
    mean, error = float(difference.mean()), standard_error(difference)
    means = (count, float(ours.mean()), float(theirs.mean()), mean)
    if error <= 1e-12 * max(abs(mean), 1e-300):
        return Comparison(*means, None, None, None, None)
    reach = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2)) * error
    p_value = float(2 * stdtr(count - 1, -abs(mean / error)))
    return Comparison(*means, mean - reach, mean + reach, mean / error, p_value)


def standard_error(values: Values) -> float:
    """Of the mean of a series whose neighbours may depend on each other: Newey and West 1987, lags up to `n^(1/3)`."""
    count = len(values)
    centred = values - values.mean()
    lags = int(np.floor(count ** (1 / 3)))
    variance = float(centred @ centred) / count
    for lag in range(1, min(lags, count - 1) + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag]) / count
    return float(np.sqrt(max(variance, 0) / count))
