"""Indicators, one function a file, found by looking.

A module of this package holds one function that `_indicator.indicator` made an indicator. With its parameters it is a
study: `macd_12_26_9`. `config/indicators.yaml` says which studies stand on which candles.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError, create_model

from crypto_pipeline.indicators._indicator import Candles, Floats, Indicator

_DAY = 86400


@dataclass(frozen=True)
class Study:
    """An indicator with its parameters."""

    indicator: str
    parameters: tuple[int | float, ...]

    def __str__(self) -> str:
        return self._with_parameters(self.indicator)

    def _with_parameters(self, name: str) -> str:
        return "_".join([name, *(f"{value:g}".replace(".", "p") for value in self.parameters)])

    @property
    def columns(self) -> tuple[str, ...]:
        """What it gives, each name with the parameters."""
        return tuple(map(self._with_parameters, _found(self).columns))

    @property
    def comment(self) -> str:
        """What its columns are."""
        named = dict(zip(_parameters(_found(self)).model_fields, self.parameters, strict=True))
        values = ", ".join(f"{name} = {value:g}" for name, value in named.items())
        return _found(self).text + (f" Here {values}." if values else "")

    @property
    def rules(self) -> Mapping[str, str]:
        """What holds for every row of its columns."""
        names = dict(zip(_found(self).columns, self.columns, strict=True))
        return {name.format(**names): rule.format(**names) for name, rule in _found(self).rules.items()}

    def lookback(self, seconds: int) -> int:
        """How many candles of this length before the first wanted one its series must reach back."""
        lookback = _found(self).lookback
        return lookback(*self.parameters) if lookback else _DAY // seconds


@lru_cache(maxsize=1)
def found() -> Mapping[str, Indicator]:
    """Each indicator by its name."""
    modules = [importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)]
    values = [value for module in modules for value in vars(module).values() if isinstance(value, Indicator)]
    return {value.name: value for value in values}


def study(text: str) -> Study:
    """`macd_12_26_9` as the study that it names. Raises `ValueError` with the cure."""
    names = [name for name in found() if text == name or text.startswith(f"{name}_")]
    if not names:
        raise ValueError(f"there is no indicator of the name {text}; there are {', '.join(sorted(found()))}")
    name = max(names, key=len)
    model = _parameters(found()[name])
    given = [part.replace("p", ".") for part in text[len(name) + 1 :].split("_") if part]
    if len(given) != len(model.model_fields):
        written = "_".join([name, *(each.upper() for each in model.model_fields)])
        raise ValueError(f"{text} names {len(given)} parameters; write it as {written}")
    try:
        values = model.model_validate(dict(zip(model.model_fields, given, strict=True)))
    except ValidationError as error:
        fault = error.errors()[0]
        raise ValueError(f"{fault['loc'][0]} of {text}: {fault['msg']}") from None
    made = Study(name, tuple(dict(values).values()))
    if str(made) != text:
        raise ValueError(f"{text} is written {made}")
    try:
        made.lookback(_DAY)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None
    return made


def compute(candles: pd.DataFrame, studies: Iterable[Study]) -> Mapping[str, Floats]:
    """The columns of these studies over one series of candles, oldest first; null (NaN) during the warm-up.

    `candles` has `interval_start` and, as float64, open, high, low, close, volume and quote_volume.
    """
    scale = _scale(candles["close"].to_numpy())
    columns = {name: candles[name].to_numpy(dtype=np.float64) for name in Candles._fields if name != "day"}
    scaled = {name: values if name == "volume" else values * scale for name, values in columns.items()}
    series = Candles(**scaled, day=candles["interval_start"].to_numpy().astype("datetime64[D]").astype(np.int64))
    results: dict[str, Floats] = {}
    for each in studies:
        values = _found(each).function(series, *each.parameters)
        unit = scale if _found(each).is_price else 1.0
        several = values if isinstance(values, tuple) else (values,)
        results |= {name: value / unit for name, value in zip(each.columns, several, strict=True)}
    return results


def _scale(close: Floats) -> float:
    """The power of two that brings the last close to some 2 ** 60; to multiply by it changes no digit.

    To TA-Lib all below 1e-14 is zero. A coin of 1e-9 would have neither RSI nor bands.
    """
    return float(2.0 ** (60 - np.frexp(close[-1])[1]))


def _found(study: Study) -> Indicator:
    return found()[study.indicator]


@lru_cache
def _parameters(indicator: Indicator) -> type[BaseModel]:
    """The parameters of its function, with their bounds."""
    _, *parameters = inspect.signature(indicator.function, eval_str=True).parameters.values()
    fields: dict[str, Any] = {each.name: (each.annotation, ...) for each in parameters}
    model: type[BaseModel] = create_model(indicator.name, **fields)
    return model
