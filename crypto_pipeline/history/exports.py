"""Parquet files of `crypto export`, read back: trades and books as they were stored, candles of 1m as an archive's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crypto_pipeline import contracts
from crypto_pipeline.history.archives import ArchiveError, Part
from crypto_pipeline.history.layouts import Kind
from crypto_pipeline.reader import arrow_schema
from shared.symbol_manager import Symbol

_TRADE = (
    *("exchange", "symbol", "base_asset", "quote_asset", "event_time", "published_at", "received_at", "source"),
    *("connection_id", "trade_id", "price", "quantity", "quote_quantity", "is_buyer_maker"),
)
_BOOK = (
    *("exchange", "symbol", "base_asset", "quote_asset", "event_time", "published_at", "received_at", "source"),
    *("connection_id", "update_id", "levels", "bids", "asks"),
)
_KLINE = (
    *("exchange", "symbol", "base_asset", "quote_asset", "interval", "open", "high", "low", "close", "volume"),
    *("quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trade_count", "first_trade_id", "last_trade_id"),
    "is_closed",
)
_CANDLE = (*_KLINE, "interval_start", "interval_end", "status")
_HOLDS: Mapping[Kind, tuple[str, tuple[str, ...]]] = {
    "trades": ("bronze.trades", _TRADE),
    "klines": ("silver.ohlcv_1m", _CANDLE),
    "depth": ("bronze.depth", _BOOK),
}
"""Of which table the rows are, and what is read of them."""


@dataclass(frozen=True)
class Exported:
    """A file that was checked."""

    path: Path
    kind: Kind
    warnings: tuple[str, ...] = ()

    def parts(self) -> Iterator[Part]:
        """What it holds, in parts. Raises `ArchiveError`."""
        _, columns = _HOLDS[self.kind]
        for group in range(_file(self.path).num_row_groups):
            try:
                rows = _file(self.path).read_row_group(group, list(columns))
            except (pa.ArrowInvalid, OSError) as error:
                raise _damaged(self.path, error) from None
            rows = self._klines(rows) if self.kind == "klines" else rows
            yield Part(rows, rows.slice(0, 0).append_column("rule", pa.array([], pa.string())), 0)

    def _klines(self, candles: pa.Table) -> pa.Table:
        """As rows of an archive, which whatever the exchange itself sends goes before."""
        last = pc.subtract(candles["interval_end"].cast(pa.int64()), 1).cast(pa.timestamp("us", "UTC"))
        rows = candles.select(_KLINE).append_column("open_time", candles["interval_start"])
        rows = rows.append_column("close_time", last).append_column("event_time", last)
        for name, text in {"source": "archive", "connection_id": f"archive:{self.path.name}"}.items():
            rows = rows.append_column(name, pa.repeat(text, rows.num_rows))
        return rows


def checked_export(path: Path, kind: Kind, exchange: str, symbol: Symbol) -> Exported:
    """The export in a file, if it is one of this kind, exchange and symbol. Raises `ArchiveError`."""
    if kind not in _HOLDS:
        raise ArchiveError(f"{path.name}: {kind} are not exported as Parquet, so none can be imported.")
    name, columns = _HOLDS[kind]
    there = {field.name: field.type for field in _file(path).schema_arrow}
    wanted = {field.name: field.type for field in arrow_schema(contracts.tables()[name], columns)}
    if lacking := [column for column, type_ in wanted.items() if there.get(column) != type_]:
        raise ArchiveError(f"{path.name} has no {lacking[0]} as {name} has it: it is no export of {kind}.")
    must_be = {"exchange": {exchange}, "symbol": {symbol.symbol}}
    if kind == "klines":
        must_be |= {"interval": {"1m"}, "status": {"complete", "repaired"}}
    try:
        rows = pq.read_table(path, columns=list(must_be))
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(path, error) from None
    for column, allowed in must_be.items():
        if others := set(rows[column].unique().to_pylist()) - allowed:
            raise ArchiveError(
                f"{path.name} holds rows of the {column} {', '.join(sorted(others))}, and not only "
                f"{' or '.join(sorted(allowed))}: they cannot be imported as that."
            )
    return Exported(path, kind)


def _file(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ArchiveError:
    return ArchiveError(f"{path.name} cannot be read ({str(error).splitlines()[0]}): export it again.")
