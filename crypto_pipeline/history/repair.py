"""Holes in the tape that REST could not fill, filled from the archive of their day."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import gaps
from crypto_pipeline.conflicts import conflicts_retried
from crypto_pipeline.history.archives import ArchiveError, Part
from crypto_pipeline.history.fetch import FetchError, Source
from crypto_pipeline.history.importing import Done, import_parts
from crypto_pipeline.history.staging import Staging
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.reader import arrow_schema
from shared.symbol_manager import Symbol

Gap = Mapping[str, Any]
"""A row of bronze.gaps."""


class Tape(NamedTuple):
    """What a day's archive says of some holes."""

    first_id: int
    """Of the whole day."""
    last_id: int
    rows: pa.Table
    """The trades whose ids lie in the holes."""
    refused: frozenset[int] = frozenset()
    """Ids that the archive has, with a price or quantity that cannot be: bronze refuses them."""


def open_gaps(lake: Lakehouse, exchange: str) -> list[Gap]:
    """The holes of trades of one exchange that are open, and end."""
    rows = lake.read(gaps.TABLE).filter(
        (F.col("exchange") == exchange)
        & (F.col("gap_stream") == "trade")
        & (F.col("status") == "open")
        & F.col("last_missing").isNotNull()
        & (F.col("cause") != "offsets_expired")
    )
    return [row.asDict() for row in rows.collect()]


def repair(
    lake: Lakehouse,
    staging: Staging,
    source: Source,
    found: Sequence[Gap],
    failed: Callable[[Symbol, Exception], None],
    progress: Callable[[str], None] = lambda _line: None,
) -> tuple[Done, list[Gap]]:
    """Bring the trades of holes from the archive into bronze, and write what became of the holes that it settles.

    A symbol whose archive cannot be had does not stop the others: `failed` is told.
    """
    done, settled = Done(), []
    now = datetime.now(UTC)
    for pair in sorted({(gap["symbol"], gap["base_asset"], gap["quote_asset"]) for gap in found}):
        known = {"symbol": pair[0], "name": pair[0], "base": pair[1], "quote": pair[2]}
        symbol = Symbol.model_validate(known)
        mine = [gap for gap in found if gap["symbol"] == symbol.symbol]
        tapes = _Tapes(source, symbol, mine)
        try:
            answers = [answer for gap in mine for answer in judged(gap, tapes.of(gap, now.date()), now)]
        except (ArchiveError, FetchError) as error:
            failed(symbol, error)
            continue
        rows = [Part(tape.rows, tape.rows.slice(0, 0).select([]), 0) for tape in tapes.read.values() if tape]
        if not answers:
            continue
        progress(f"{symbol}: {len(answers)} holes are settled by the archive")
        done.add(import_parts(lake, staging, "trades", rows, progress))
        _write(lake, staging, answers)
        settled += answers
    return done, settled


def judged(gap: Gap, tapes: Sequence[Tape], now: datetime) -> Iterator[Gap]:
    """The hole's rows after its days were read, oldest first; none while the archive does not reach beyond it.

    A run of ids that the archive does not have, between ids that it has, was never issued: it is a row of its own.
    A hole stays open where the archive has an id with something that cannot be true.
    """
    first, last = gap["first_missing"], gap["last_missing"]
    if not tapes or tapes[-1].last_id <= last:
        return
    ids = np.unique(np.concatenate([tape.rows["trade_id"].to_numpy() for tape in tapes]))
    ids = ids[(ids >= first) & (ids <= last)]
    if any(first <= number <= last for tape in tapes for number in tape.refused):
        return
    if len(ids) < last - first + 1 and tapes[0].first_id >= first:
        return
    edges = np.flatnonzero(np.diff(ids) > 1)
    starts, ends = ids[np.r_[0, edges + 1]] if len(ids) else ids, ids[np.r_[edges, -1]] if len(ids) else ids
    there = list(zip(starts.tolist(), ends.tolist(), strict=True))
    next_id = first
    for start, end in [*there, (last + 1, last + 1)]:
        if next_id < start:
            detail = f"The archive has the ids around {next_id} to {start - 1}, and none of these: never issued."
            yield _answer(gap, next_id, start - 1, now, "venue_gap", "", detail)
        if start <= last:
            detail = f"All ids from {start} to {end} came from the archive of the day."
            yield _answer(gap, start, end, now, "repaired", "archive", detail)
        next_id = end + 1


def _answer(gap: Gap, first: int, last: int, now: datetime, status: str, source: str, detail: str) -> Gap:
    return {
        **gap,
        "first_missing": first,
        "last_missing": last,
        "missing": 0,
        "status": status,
        "repaired_from": source,
        "detail": detail,
        "updated_at": now,
        "ingested_at": now,
    }


class _Tapes:
    """The archive's days of a symbol, each read once, as far as some holes need them."""

    def __init__(self, source: Source, symbol: Symbol, holes: Sequence[Gap]) -> None:
        self._source = source
        self._symbol = symbol
        self._holes = holes
        self.read: dict[date, Tape | None] = {}

    def of(self, gap: Gap, today: date) -> list[Tape]:
        """The days from the hole's beginning to the first trade behind it, as far as the archive has them."""
        tapes: list[Tape] = []
        day = gap["event_time"].date()
        while day <= today:
            if day not in self.read:
                self.read[day] = self._tape(day)
            tape = self.read[day]
            if tape is None:
                break
            tapes.append(tape)
            if tape.last_id > gap["last_missing"]:
                break
            day += timedelta(days=1)
        return tapes

    def _tape(self, day: date) -> Tape | None:
        with TemporaryDirectory(dir=self._source.folder) as folder:
            archive = self._source.archive("trades", self._symbol, day.isoformat(), Path(folder))
            if archive is None:
                return None
            firsts, lasts, kept = [], [], []
            refused: set[int] = set()
            for part in archive.parts():
                ids = part.rows["trade_id"]
                least = pc.min_element_wise(part.rows["price"], part.rows["quantity"])
                refused.update(ids.filter(pc.less_equal(least, 0)).to_pylist())
                bounds = pc.min_max(ids).as_py()
                firsts.append(bounds["min"])
                lasts.append(bounds["max"])
                within = pa.array(np.zeros(part.rows.num_rows, dtype=bool))
                for hole in self._holes:
                    inside = pc.and_(
                        pc.greater_equal(ids, hole["first_missing"]), pc.less_equal(ids, hole["last_missing"])
                    )
                    within = pc.or_(within, inside)
                kept.append(part.rows.filter(within))
        return Tape(min(firsts), max(lasts), pa.concat_tables(kept), frozenset(refused)) if kept else None


def _write(lake: Lakehouse, staging: Staging, answers: Sequence[Gap]) -> None:
    schema = arrow_schema(gaps.TABLE, [name for name in gaps.TABLE.column_names if name != "broken_rules"])
    utc = [
        {name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value for name, value in answer.items()}
        for answer in answers
    ]
    with staging.of(pa.Table.from_pylist(utc, schema=schema)) as path:
        rows = lake.spark.read.parquet(path).withColumn("broken_rules", F.array().cast("array<string>"))
        write = conflicts_retried(lambda _state: None)
        write(lambda: lake.write(gaps.TABLE, rows.select(gaps.TABLE.column_names), {}))
