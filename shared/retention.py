"""How long what is kept: `config/retention.yaml`, read whole, or refused with file, line and cure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared import yaml_file
from shared.settings import Settings
from shared.symbol_manager import symbols_by_tier
from shared.yaml_file import YamlFileError

FOREVER = "forever"
_SPAN = re.compile(r"([1-9]\d{0,4})([hd])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}
_SETTLED = timedelta(days=3)
"""Silver hopes for a day that more comes; what is younger cannot be verified."""


class RetentionFileError(YamlFileError):
    """A `retention.yaml` that is refused; the message gives file, line, reason and cure."""


def _span(value: Any) -> timedelta | None:
    if value == FOREVER:
        return None
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"{value!r} is no time to keep something: write 30d, 48h or {FOREVER}")
    return int(found[1]) * _UNITS[found[2]]


def _at_least(least: timedelta, value: timedelta | None) -> timedelta | None:
    if value is not None and (value < least or value % timedelta(days=1)):
        raise ValueError(f"it goes by whole days, {least.days} at least: write 30d or {FOREVER}")
    return value


def _without_end(value: timedelta | None) -> timedelta | None:
    if value is not None:
        raise ValueError(f"candles are proven by it, so it never goes: write {FOREVER}")
    return value


def _with_end(value: timedelta | None) -> timedelta:
    if value is None:
        raise ValueError("it is to have an end: write 48h or 14d")
    return value


Span = Annotated[timedelta | None, BeforeValidator(_span)]
Days = Annotated[Span, AfterValidator(partial(_at_least, _SETTLED))]
Ever = Annotated[Span, AfterValidator(_without_end)]
Ending = Annotated[Span, AfterValidator(_with_end)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Kafka(_Part):
    keep: Ending
    megabytes: Annotated[int, Field(ge=128, le=1_000_000, strict=True)]


class _Raw(_Part):
    keep: Days
    tiers: dict[str, Days]


class _Bronze(_Part):
    trade: Ever
    kline_1m: Ever
    ticker: Days
    depth5: Days


class _Dagster(_Part):
    runs: Annotated[Days, AfterValidator(_with_end)]


class _File(_Part):
    kafka: _Kafka
    raw: _Raw
    bronze: _Bronze
    dagster: _Dagster


@dataclass(frozen=True)
class Rules:
    """How long what is kept; none is for ever."""

    kafka: timedelta
    kafka_bytes: int
    """Of each partition."""
    raw: timedelta | None
    raw_by_symbol: Mapping[str, timedelta | None]
    """Of the symbols whose tier has a time of its own."""
    tables: Mapping[str, timedelta | None]
    """By full name. A table that is not named is kept for ever."""
    runs: timedelta

    def keep(self, what: str, symbol: str = "") -> timedelta | None:
        """How long `raw` of a symbol, or a table, is kept; none is for ever."""
        return self.raw_by_symbol.get(symbol, self.raw) if what == "raw" else self.tables.get(what)


def load_rules(settings: Settings) -> Rules:
    """What the file says. Raises `RetentionFileError`, and `SymbolsFileError` where the tiers cannot be read."""
    needs = "`kafka`, `raw`, `bronze` and `dagster`"
    file, parsed = yaml_file.load(settings.retention_file, _File, RetentionFileError, needs)
    by_symbol: dict[str, timedelta | None] = {}
    tiers = symbols_by_tier(settings.symbols_file) if file.raw.tiers else {}
    for tier, keep in file.raw.tiers.items():
        if tier not in tiers:
            where = parsed.at(("raw", "tiers", tier))
            raise RetentionFileError(
                f"{where}: raw.tiers.{tier}: {settings.symbols_file.name} has no such tier. It has: {', '.join(tiers)}."
            )
        by_symbol |= dict.fromkeys(tiers[tier], keep)
    return Rules(
        kafka=file.kafka.keep or timedelta(),
        kafka_bytes=file.kafka.megabytes << 20,
        raw=file.raw.keep,
        raw_by_symbol=by_symbol,
        tables={"bronze.tickers": file.bronze.ticker, "bronze.depth": file.bronze.depth5},
        runs=file.dagster.runs or timedelta(),
    )


def load_kafka(path: Path) -> tuple[timedelta, int]:
    """How long Kafka keeps messages, and how many bytes of a partition. Raises `RetentionFileError`."""
    file, _ = yaml_file.load(path, _File, RetentionFileError, "`kafka`, `raw`, `bronze` and `dagster`")
    return file.kafka.keep or timedelta(), file.kafka.megabytes << 20
