"""Which indicators stand on which candles: `config/indicators.yaml`, read whole or refused whole."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from crypto_pipeline.indicators import Study, study
from shared import yaml_file
from shared.settings import settings
from shared.symbol_manager import Asset
from shared.yaml_file import YamlFileError

Interval = Literal["1m", "5m", "15m", "1h", "4h", "1d"]


class IndicatorsFileError(YamlFileError):
    """An `indicators.yaml` that is refused; the message gives file, line and reason."""


def _named(value: object) -> Study:
    if not isinstance(value, str):
        raise ValueError("give the name of an indicator with its parameters, such as sma_20")  # noqa: TRY004 (pydantic's)
    return study(value)


class Chosen(BaseModel):
    """Some studies, and the candles that they stand on: of these symbols and intervals, or of all."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    symbols: tuple[Asset, ...] = Field(default=(), min_length=1)
    intervals: tuple[Interval, ...] = Field(default=(), min_length=1)
    indicators: tuple[Annotated[Study, BeforeValidator(_named)], ...] = Field(min_length=1)

    def is_for(self, symbol: str, interval: str) -> bool:
        return (not self.symbols or symbol in self.symbols) and (not self.intervals or interval in self.intervals)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sets: tuple[Chosen, ...] = Field(min_length=1)


class Plan(NamedTuple):
    """What an `indicators.yaml` says."""

    sets: tuple[Chosen, ...]

    @property
    def studies(self) -> tuple[Study, ...]:
        """Every study, once."""
        return tuple(dict.fromkeys(each for chosen in self.sets for each in chosen.indicators))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of all studies."""
        return tuple(name for each in self.studies for name in each.columns)

    def of(self, symbol: str, interval: str) -> tuple[Study, ...]:
        """The studies that stand on the candles of a symbol and interval."""
        sets = [chosen for chosen in self.sets if chosen.is_for(symbol, interval)]
        return tuple(dict.fromkeys(each for chosen in sets for each in chosen.indicators))

    def lookback(self, symbol: str, interval: str, seconds: int) -> int:
        """How many candles before the first wanted one the series must reach back."""
        return max((each.lookback(seconds) for each in self.of(symbol, interval)), default=1)

    def comments(self) -> Mapping[str, str]:
        """Every column with what it is, and on which candles it stands where that is not all."""
        return {name: each.comment + self._where(each) for each in self.studies for name in each.columns}

    def _where(self, study: Study) -> str:
        sets = [chosen for chosen in self.sets if study in chosen.indicators]
        if any(not chosen.symbols and not chosen.intervals for chosen in sets):
            return ""
        places = [
            " ".join([", ".join(chosen.symbols) or "all symbols", ", ".join(chosen.intervals) or "all intervals"])
            for chosen in sets
        ]
        return f" Only on {'; '.join(places)}."


def load(path: Path) -> Plan:
    """The file's plan. Raises `IndicatorsFileError` with file, line and reason; nothing of a wrong file is used."""
    needs = "`sets`, each a list of `indicators` such as sma_20"
    file, parsed = yaml_file.load(path, _File, IndicatorsFileError, needs)
    for place, chosen in enumerate(file.sets):
        for name in ("symbols", "intervals", "indicators"):
            values = getattr(chosen, name)
            for index, value in enumerate(values):
                if value in values[:index]:
                    raise IndicatorsFileError(f"{parsed.at(('sets', place, name, index))}: {value} stands twice.")
    return Plan(file.sets)


@lru_cache(maxsize=1)
def plan() -> Plan:
    """The plan of this process."""
    return load(settings().indicators_file)
