"""A range of the past into bronze: what is there is skipped, so that a run that was interrupted goes on."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import klines, trades
from crypto_pipeline.history.archives import ArchiveError, Part
from crypto_pipeline.history.fetch import FetchError, Piece, Source, days_of, hours_of
from crypto_pipeline.history.importing import Done, import_parts
from crypto_pipeline.history.layouts import Kind
from crypto_pipeline.history.staging import Staging
from crypto_pipeline.lakehouse import Lakehouse
from streaming.exchange import UnparsableMessage
from streaming.rest import RestError

MINUTES_A_DAY = 1440


class Day(NamedTuple):
    """What bronze has of one symbol's day."""

    minutes: int = 0
    """With a closed kline."""
    traded: int = 0
    """Trades, as those klines count them."""
    trades: int = 0
    first_id: int = 0
    last_id: int = 0


def missing(lake: Lakehouse, piece: Piece, exchange: str) -> list[Piece]:
    """The runs of days of a piece that bronze does not have whole, the newest first."""
    days = days_of(piece.start, piece.end)
    there = whole(_days(lake, piece, exchange), piece.kind, days)
    wanted = [(run[0], run[-1] + timedelta(days=1)) for run in runs(day for day in days if day not in there)]
    return [Piece(piece.kind, piece.symbol, start, end) for start, end in reversed(wanted)]


def whole(found: Mapping[date, Day], kind: Kind, days: Iterable[date]) -> set[date]:
    """The days of which nothing is missing.

    Klines: one for each minute; where trading was halted there are fewer, and the day is asked for again. Trades: no id
    is missing within the day, and either its klines count as many or the ids of the days around it join.
    """
    if kind == "klines":
        return {day for day in days if found.get(day, Day()).minutes == MINUTES_A_DAY}
    return {day for day in days if day in found and _has_all_trades(day, found)}


def _has_all_trades(day: date, found: Mapping[date, Day]) -> bool:
    one = found[day]
    if not one.trades or one.last_id - one.first_id + 1 != one.trades:
        return False
    if one.minutes == MINUTES_A_DAY and one.traded == one.trades:
        return True
    before, after = (found.get(day + timedelta(days=shift), Day()) for shift in (-1, 1))
    return before.last_id + 1 == one.first_id and after.first_id - 1 == one.last_id


def runs(days: Iterable[date]) -> Iterator[list[date]]:
    """Days in order, in runs without a hole."""
    run: list[date] = []
    for day in days:
        if run and day != run[-1] + timedelta(days=1):
            yield run
            run = []
        run.append(day)
    if run:
        yield run


def backfill(
    lake: Lakehouse,
    staging: Staging,
    source: Source,
    pieces: Iterable[Piece],
    progress: Callable[[str], None],
    failed: Callable[[Piece, Exception], None],
) -> Done:
    """Fetch pieces of one kind into bronze. One that cannot be had does not stop the others: `failed` is told."""
    todo = list(pieces)
    if not todo:
        return Done()

    def parts() -> Iterator[Part]:
        for piece in todo:
            progress(f"{piece.symbol}: {piece.start} to {piece.end - timedelta(days=1)}")
            try:
                yield from source.parts(piece)
            except (ArchiveError, FetchError, RestError, UnparsableMessage) as error:
                failed(piece, error)

    return import_parts(lake, staging, todo[0].kind, parts(), progress)


def _days(lake: Lakehouse, piece: Piece, exchange: str) -> dict[date, Day]:
    """What bronze has, by day; of trades also of the days around."""
    around = timedelta(days=1 if piece.kind == "trades" else 0)
    hours = hours_of(piece.start - around, piece.end + around)
    symbol = (F.col("exchange") == exchange) & (F.col("symbol") == piece.symbol.symbol)
    minutes = lake.read(klines.TABLE, hours).filter(symbol & F.col("is_closed") & (F.col("interval") == "1m"))
    counts = minutes.groupBy("open_time").agg(F.max("trade_count").alias("traded"))
    found = {
        row.day: Day(minutes=int(row.minutes), traded=int(row.traded))
        for row in _by_day(counts, "open_time", F.count("*").alias("minutes"), F.sum("traded").alias("traded"))
    }
    if piece.kind == "klines":
        return found
    ids = F.count("*").alias("trades"), F.min("trade_id").alias("first_id"), F.max("trade_id").alias("last_id")
    for row in _by_day(lake.read(trades.TABLE, hours).filter(symbol), "event_time", *ids):
        found[row.day] = found.get(row.day, Day())._replace(
            trades=int(row.trades), first_id=int(row.first_id), last_id=int(row.last_id)
        )
    return found


def _by_day(rows: Any, time: str, *counted: Any) -> list[Any]:
    collected: list[Any] = rows.groupBy(F.to_date(time).alias("day")).agg(*counted).collect()
    return collected
