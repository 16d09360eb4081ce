"""What of the lake is served: each table's columns, key and sources, all of it from the lake's contracts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from crypto_pipeline.bronze import klines
from crypto_pipeline.catalog import tables, views
from crypto_pipeline.table_docs import columns_of
from shared.tables import Column, Layer, Table

CANDLES = "silver.fact_ohlcv"
_AS_THEY_ARE = (
    "bronze.gaps",
    "silver.indicators",
    "silver.instruments",
    "silver.order_book_1m",
)
"""Beside all of gold."""
_VIEW_KEYS = {
    CANDLES: ("exchange", "symbol", "interval", "interval_start"),
    "silver.completeness_daily": ("exchange", "symbol", "day"),
    "silver.completeness_hourly": ("exchange", "symbol", "hour_start"),
}
"""The views of the lake that are tables here, and the columns that name a row of each."""
_BETTER_KLINE = ("array_position(ARRAY['archive', 'rest', 'websocket'], {row}.source)", "{row}.ordering")


@dataclass(frozen=True)
class Served:
    """A table in PostgreSQL. `shows` is the lake's table or view, by full name, whose rows it has."""

    layer: Layer
    name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    shows: str
    sources: tuple[Table, ...]
    """The tables that are followed to know what is new in it."""
    month_of: str | None = None
    """The column by whose month it is partitioned."""
    prefers: tuple[str, ...] = ()
    """Of several rows of one key that stays in which these SQL expressions are greatest, on a tie the later one.

    `{row}` stands for the row. None: the later one."""

    @property
    def full_name(self) -> str:
        return f"{self.layer}.{self.name}"

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]


@lru_cache(maxsize=1)
def served() -> Mapping[str, Served]:
    """Every served table by its full name."""
    plain = [_as_it_is(table) for name, table in tables().items() if name in _AS_THEY_ARE or table.layer == "gold"]
    found = [_native_candles(), *plain, *_views()]
    return {table.full_name: table for table in sorted(found, key=lambda table: table.full_name)}


def _as_it_is(table: Table) -> Served:
    return Served(table.layer, table.name, table.grain, table.columns, table.key, table.full_name, (table,))


def _views() -> list[Served]:
    described = columns_of(views(), tables())
    return [
        Served(
            layer=view.layer,
            name=view.name,
            grain=view.grain,
            columns=tuple(described[name]),
            key=key,
            shows=name,
            sources=tuple(tables()[source] for source in view.tables),
            month_of="interval_start" if name == CANDLES else None,
        )
        for name, key in _VIEW_KEYS.items()
        for view in [views()[name]]
    ]


def _native_candles() -> Served:
    """Of the klines that several sources gave of a minute one stays, by the same precedence as in silver.ohlcv_1m."""
    return Served(
        layer="bronze",
        name="bronze_ohlcv_native",
        grain="One row per exchange, symbol, interval and open time: the exchange's own closed candle, latest state",
        columns=klines.TABLE.columns,
        key=tuple(column for column in klines.TABLE.key if column != "source"),
        shows=klines.TABLE.full_name,
        sources=(klines.TABLE,),
        prefers=_BETTER_KLINE,
    )
