"""The lake in Python: candles, trades, books, indicators and gold as DataFrames, without Spark.

    from crypto_pipeline import lake

    candles = lake.ohlcv("BTCUSDT", "5m", "2026-11-01", "2026-11-08").to_pandas()

Each function gives `Rows`, which are read when they are asked for in one form or another: `to_pandas()`, `to_polars()`,
`to_arrow()`, or `lazy()`, a Polars LazyFrame that reads the columns it needs. Only files that can hold them are read.

**Times** are in UTC: a datetime with a zone, a date (its midnight), or ISO 8601 text, in UTC where it names no zone. A
range is `[start, end)`. **Prices and quantities** are the nearest float64, or with `exact=True` the exact decimals.
`docs/tables.md` says what each column holds.

Where the lake is, and by which key it is read, say the environment and `.env` (docs/recipes/research-in-python.md).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from crypto_pipeline import contracts, lake_part, utc
from crypto_pipeline.lake_part import SUBJECTS, Known, NotStoredError, Part, Span, found, likely, shown
from crypto_pipeline.reader import LakeError, arrow_schema, as_floats, open_table
from crypto_pipeline.silver.candles import INTERVALS, STATUSES
from shared.settings import Settings, settings
from shared.tables import Table

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

__all__ = ["LakeError", "NotStoredError", "Rows", "depth", "gold", "indicators", "ohlcv", "sql", "tickers", "trades"]

Time = datetime | date | str
Interval = Literal["1m", "5m", "15m", "1h", "4h", "1d"]
Status = Literal["complete", "repaired", "pending", "partial"]


@dataclass(frozen=True)
class Rows:
    """Rows of the lake. Each of the methods reads them as they are then, and raises `LakeError` where it cannot, or
    `NotStoredError` where there is nothing of them."""

    what: str
    _read: Callable[[Sequence[str] | None], pa.Table]
    _schema: Callable[[], pa.Schema]

    def __repr__(self) -> str:
        return f"<{self.what}: to_pandas(), to_polars(), to_arrow() or lazy() reads them>"

    def to_arrow(self) -> pa.Table:
        """A `pyarrow.Table`; times are `timestamp[us, UTC]`."""
        return self._read(None)

    def to_pandas(self) -> "pd.DataFrame":
        """A pandas DataFrame with a plain index; times are `datetime64[us, UTC]`, exact decimals objects."""
        with ThreadPoolExecutor(1) as beside:  # while files are waited for; where it cannot be had, `to_pandas` says so
            beside.submit(import_module, "pandas")
            rows = self.to_arrow()
        frame: pd.DataFrame = rows.to_pandas()
        return frame

    def to_polars(self) -> "pl.DataFrame":
        """A Polars DataFrame."""
        import polars

        return polars.DataFrame(self.to_arrow())

    def lazy(self) -> "pl.LazyFrame":
        """A Polars LazyFrame, which reads when it is collected, and of the columns those that the query uses."""
        import polars
        from polars.io.plugins import register_io_source

        def read(
            columns: list[str] | None, condition: "pl.Expr | None", rows: int | None, _batch: int | None
        ) -> Iterator["pl.DataFrame"]:
            frame = polars.DataFrame(self._read(columns))
            frame = frame if condition is None else frame.filter(condition)
            yield frame if rows is None else frame.head(rows)

        return register_io_source(read, schema=polars.DataFrame(self._schema().empty_table()).schema)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The rows for whatever reads Arrow's C stream: `polars.DataFrame(rows)`, `pyarrow.table(rows)`."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)


def ohlcv(
    symbol: str,
    interval: Interval,
    start: Time,
    end: Time,
    *,
    exchange: str = "binance",
    as_of: Time | None = None,
    assume_live: bool = False,
    min_status: Status = "repaired",
    columns: Sequence[str] | None = None,
    exact: bool = False,
) -> Rows:
    """Candles in time, one for each interval in which something traded: the columns of `silver.fact_ohlcv`.

    `interval_start` (inclusive) and `interval_end` (exclusive); `open`, `high`, `low`, `close` and `vwap` in the quote
    asset; `volume` and `taker_buy_volume` in the base asset; `quote_volume` and `taker_buy_quote_volume` in the quote
    asset; `trade_count`; `status` and `proof` say how sure the candle is, and more.

    `min_status` is the worst that any of its minutes may be: `complete`; `repaired`, which is proven just as well, and
    the default; `pending`, not proven yet, as the running interval is; `partial`, so all. Worse candles are left out.

    With `as_of` it is what was known then: closed candles, each in the version of then. Imported history is known from
    its import, or with `assume_live` the first version of every candle from the end of its interval.

    Raises `ValueError` for an argument that cannot be right.
    """
    _one_of("interval", interval, INTERVALS)
    _one_of("min_status", min_status, STATUSES)
    statuses = STATUSES[: STATUSES.index(min_status) + 1]
    known = _known(as_of, assume_live)
    return _rows(lake_part.candles(symbol, interval, _span(start, end), exchange, statuses, known), columns, exact)


def trades(
    symbol: str,
    start: Time,
    end: Time,
    *,
    exchange: str = "binance",
    columns: Sequence[str] | None = None,
    exact: bool = False,
) -> Rows:
    """Every trade once, in order: the columns of `bronze.trades`.

    `event_time` by the exchange's clock; `trade_id`; `price` in the quote asset, `quantity` in the base asset,
    `quote_quantity` their product; `is_buyer_maker`: the taker sold. Raises `ValueError` for an argument that cannot be
    right.
    """
    return _rows(lake_part.trades(symbol, _span(start, end), exchange), columns, exact)


def depth(
    symbol: str,
    start: Time,
    end: Time,
    *,
    exchange: str = "binance",
    columns: Sequence[str] | None = None,
    exact: bool = False,
) -> Rows:
    """Snapshots of the order book's best levels, in order: the columns of `bronze.depth`.

    `update_id`; `bids` and `asks`, lists of `price` (in the quote asset) and `quantity` (in the base asset), best
    first; `received_at`, by which they lie in the range where the exchange gives no `event_time`. Raises `ValueError`
    for an argument that cannot be right.
    """
    return _rows(lake_part.depth(symbol, _span(start, end), exchange), columns, exact)


def tickers(
    symbol: str,
    start: Time,
    end: Time,
    *,
    exchange: str = "binance",
    columns: Sequence[str] | None = None,
    exact: bool = False,
) -> Rows:
    """The exchange's tickers over the last 24 hours, in order: the columns of `bronze.tickers`.

    `event_time` by the exchange's clock; prices in the quote asset, quantities in the base asset. Raises `ValueError`
    for an argument that cannot be right.
    """
    part = Part(
        _table("bronze.tickers"),
        symbol,
        {"exchange": exchange},
        _span(start, end),
        ("event_time",),
        order=("event_time",),
    )
    return _rows(part, columns, exact)


def indicators(
    symbol: str,
    interval: Interval,
    start: Time,
    end: Time,
    *,
    exchange: str = "binance",
    columns: Sequence[str] | None = None,
) -> Rows:
    """The indicators of `config/indicators.yaml` in time, a row for each candle: the columns of `silver.indicators`.

    All are floats, in the units that `docs/tables.md` gives; null where one does not stand on that candle. `bridged`
    says that an absence that nothing explains lies within the candles that they rest on. Raises `ValueError` for an
    argument that cannot be right.
    """
    _one_of("interval", interval, INTERVALS)
    part = Part(
        _table("silver.indicators"),
        symbol,
        {"exchange": exchange, "interval": interval},
        _span(start, end),
        ("interval_start",),
        order=("interval_start",),
    )
    return _rows(part, columns, False)


def gold(
    name: str,
    *,
    symbol: str | None = None,
    start: Time | None = None,
    end: Time | None = None,
    exchange: str | None = None,
    columns: Sequence[str] | None = None,
    exact: bool = False,
) -> Rows:
    """The rows of a table of gold, by time and key: `lake.gold("risk_metrics", symbol="BTCUSDT")`.

    `symbol` also stands for either of a pair (`correlations`), and for what a risk is of, which may be a portfolio. The
    range is of the table's time, such as `as_of`, `day` or `interval_start`, and open where no start or end is given.
    Raises `ValueError` for an argument that cannot be right.
    """
    table = _table(f"gold.{name.removeprefix('gold.')}")
    for wanted, there, what in (
        (symbol, set(SUBJECTS) & set(table.column_names), "symbol"),
        (exchange, "exchange" in table.column_names, "exchange"),
        (start or end, table.time, "time"),
    ):
        if wanted and not there:
            raise ValueError(f"The rows of {table.full_name} are of no {what}: leave it out.")
    times = (table.time,) if table.time else ()
    return _rows(
        Part(
            table,
            symbol,
            {"exchange": exchange} if exchange else {},
            _span(start, end),
            times,
            order=(*times, *(each for each in table.key if each not in times)),
            is_steady=False,
        ),
        columns,
        exact,
    )


def sql(text: str, *, as_of: Time | None = None, assume_live: bool = False, exact: bool = False) -> Rows:
    """The answer to SQL over all tables by their names, in DuckDB's words, as `crypto query` gives it.

    A condition on the time of trades or candles (`event_time`, `interval_start`), on a partition column (`date`,
    `hour`, `month`, `interval`) or on `symbol` spares reading other files. `as_of` and `assume_live` are as
    in `ohlcv`. The rows raise `SqlError` where the SQL is wrong.
    """
    known = _known(as_of, assume_live)

    def read(columns: Sequence[str] | None) -> pa.Table:
        asked = text if columns is None else f"SELECT {_quoted(columns)} FROM ({text.rstrip().rstrip(';')}\n)"  # noqa: S608 (the user's own)
        return query(asked, settings(), exact=exact, known=known)

    def schema() -> pa.Schema:
        return query(f"FROM ({text.rstrip().rstrip(';')}\n) LIMIT 0", settings(), exact=exact, known=known).schema

    return Rows("the answer to SQL", read, schema)


def query(text: str, settings: Settings, *, exact: bool = False, known: Known | None = None) -> pa.Table:
    """The answer of DuckDB in this process. Raises `SqlError` or `LakeError`."""
    from crypto_pipeline import as_of
    from crypto_pipeline.lake_sql import Lake

    opened = partial(open_table, settings=settings)
    if known:
        views = as_of.views(known.micros, assume_live=known.assume_live)
        tables = Lake(as_of.STORED, views, opened, lacks=as_of.LACKS, exact=exact)
    else:
        functions = dict([as_of.function()])
        tables = Lake(contracts.tables(), contracts.views(), opened, functions=functions, exact=exact)
    with tables as lake:
        answer = lake.query(text)
    return answer if exact else as_floats(answer)


def _rows(part: Part, columns: Sequence[str] | None, exact: bool) -> Rows:
    table, offered = part.table, part.offered
    for name in columns or ():
        if name not in offered:
            raise ValueError(f"{table.full_name} has no column {name!r}. It has: {likely(name, offered)}.")
    chosen = list(columns or offered)

    def read(names: Sequence[str] | None) -> pa.Table:
        rows = found(part, chosen if names is None else names)
        return rows if exact else as_floats(rows)

    def schema() -> pa.Schema:
        plain = arrow_schema(table, chosen).empty_table()
        return (plain if exact else as_floats(plain)).schema

    return Rows(f"rows of {table.full_name}", read, schema)


def _known(as_of: Time | None, assume_live: bool) -> Known | None:
    if as_of is not None:
        return Known(utc.micros(_moment("as_of", as_of)), assume_live)
    if assume_live:
        raise ValueError("assume_live says what as_of shows: give both.")
    return None


def _span(start: Time | None, end: Time | None) -> Span:
    first, last = (None if at is None else _moment(name, at) for name, at in (("start", start), ("end", end)))
    if first and last and first >= last:
        raise ValueError(f"start {shown(first)} is not before end {shown(last)}: a range is [start, end).")
    return Span(first, last)


def _moment(name: str, value: Time) -> datetime:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name} {value} is in no zone: give it one, such as datetime.UTC, or write it as text.")
        return utc.moment_of(utc.micros(value))  # pandas' too becomes a plain one
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    try:
        return utc.moment(value)
    except (ValueError, AttributeError):
        raise ValueError(f"{name} {value!r} is no time: write '2026-11-21T10:00', in UTC.") from None


def _one_of(name: str, value: str, values: Iterable[str]) -> None:
    if value not in values:
        raise ValueError(f"There is no {name} {value!r}. There are: {', '.join(values)}.")


def _table(name: str) -> Table:
    tables = contracts.tables()
    if name not in tables:
        from crypto_pipeline.lake_sql import no_such_table

        raise ValueError(no_such_table(name, [each for each in tables if each.startswith("gold.")]))
    return tables[name]


def _quoted(names: Iterable[str]) -> str:
    return ", ".join('"' + name.replace('"', '""') + '"' for name in names)
