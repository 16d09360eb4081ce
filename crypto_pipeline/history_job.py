"""History in Dagster: fetched by itself at the first start, by the month when asked for, and to fill holes."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from crypto_pipeline.bronze import selections
from crypto_pipeline.giving_way import BESIDE
from crypto_pipeline.history import backfill, repair
from crypto_pipeline.history.fetch import Piece, Source
from crypto_pipeline.history.layouts import period_of
from crypto_pipeline.history.staging import Staging
from crypto_pipeline.reader import LakeError, read
from crypto_pipeline.spark import SparkConnect
from shared.disk import imports_wait
from shared.settings import Settings, settings
from shared.symbol_manager import Symbol, Watchlist, load_watchlist
from streaming.exchange import exchanges
from streaming.feed import addresses
from streaming.rest import RestClient

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2017-08-01", timezone="UTC", end_offset=1)
"""From the month in which Binance opened to this one."""
_PIECE = "crypto/history"
"""The tag that names what the sensor asked for."""
_BEHIND_THE_PIPELINE = {"dagster/priority": "-10", "dagster/max_runtime": str(6 * 3600), **BESIDE}
_PATIENCE = timedelta(minutes=5)
"""How long after a run that failed it is asked for again, one series at a time."""
_LONG_PATIENCE = timedelta(hours=1)
"""The same for a series that failed alone."""


class HistoryConfig(dg.Config):
    """What to fetch. Days that are there whole are skipped."""

    kind: Literal["klines", "trades"] = "klines"
    exchange: str = "binance"
    symbols: str = ""
    """Comma-separated; empty: those of `symbols.yaml` that this exchange gives. Others need not stand there."""
    days: int = 0
    """The last so many days and today, by REST alone; 0: the month of the run's partition."""


@dg.op(pool="history", description="Fetches klines or trades of past days into bronze, the newest first.")
def fetch_history(context: dg.OpExecutionContext, config: HistoryConfig, spark: SparkConnect) -> None:
    where, today = settings(), datetime.now(UTC).date()
    if config.days:
        start, end = today - timedelta(days=config.days), today + timedelta(days=1)
    elif context.has_partition_key:
        start, end = period_of(context.partition_key[: len("2026-11")])
        end = min(end, today + timedelta(days=1))
    else:
        raise dg.Failure("Nothing says which days: choose a partition, or set `days`.")
    faults: list[str] = []

    def failed(piece: Piece, error: Exception) -> None:
        faults.append(f"{piece.symbol} from {piece.start} on: {error}")
        context.log.warning(faults[-1])

    with (
        spark.lakehouse("history", context.run_id) as lake,
        _source(where, config.exchange, context, files=not config.days) as source,
    ):
        staging = Staging(where)
        staging.sweep()
        pieces = [
            piece
            for symbol in _symbols(where, config)
            for piece in backfill.missing(lake, Piece(config.kind, symbol, start, end), config.exchange)
        ]
        done = backfill.backfill(lake, staging, source, pieces, context.log.info, failed)
    context.add_output_metadata(
        {
            "rows_new": done.new,
            "rows_already_there": done.there,
            "rows_that_differ": done.differing,
            "rows_in_quarantine": sum(done.quarantined.values()),
        }
    )
    if faults:
        raise dg.Failure(f"{len(faults)} of {len(pieces)} pieces could not be had, first {faults[0]}")


@dg.op(pool="history", description="Fills open holes of trades from the archive of their day, once that is there.")
def fill_from_archives(context: dg.OpExecutionContext, spark: SparkConnect) -> None:
    where = settings()
    filled, settled = 0, 0
    faults: list[str] = []

    def failed(symbol: Symbol, error: Exception) -> None:
        faults.append(f"{symbol}: {error}")
        context.log.warning(faults[-1])

    with spark.lakehouse("history", context.run_id) as lake:
        staging = Staging(where)
        for name in exchanges():
            found = repair.open_gaps(lake, name)
            if not found:
                continue
            with _source(where, name, context) as source:
                done, answers = repair.repair(lake, staging, source, found, failed, context.log.info)
            filled, settled = filled + done.new, settled + len(answers)
    context.add_output_metadata({"trades_new": filled, "holes_settled": settled})
    if faults:
        raise dg.Failure(f"The archives of {len(faults)} symbols could not be had, first {faults[0]}")


@dg.job(
    tags=_BEHIND_THE_PIPELINE,
    executor_def=dg.in_process_executor,
    description="The last days of klines of new symbols, so that indicators mean something soon.",
)
def newest_history() -> None:
    fetch_history()


@dg.job(
    partitions_def=MONTHS,
    tags=_BEHIND_THE_PIPELINE,
    executor_def=dg.in_process_executor,
    description="A month of klines or trades of past days; backfill any range of months. Silver follows by itself.",
)
def history() -> None:
    fetch_history()


@dg.job(
    tags=_BEHIND_THE_PIPELINE,
    executor_def=dg.in_process_executor,
    description="Fills holes that REST could not, from the exchange's archive.",
)
def repair_from_archives() -> None:
    fill_from_archives()


@dg.schedule(
    name="repair_every_hour",
    job=repair_from_archives,
    cron_schedule="41 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def repairs(_context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A run an hour, while the disk has room for imports: one that waits would hold a place for runs."""
    why = imports_wait(settings())
    return dg.SkipReason(why) if why else dg.RunRequest()


@dataclass(frozen=True)
class Wish:
    """What the sensor asks for: series (`binance:BTCUSDT`), and the days, or a month."""

    series: tuple[str, ...]
    until: str
    """The oldest day that is there when it is done."""
    days: int = 0
    month: str = ""


@dataclass(frozen=True)
class Progress:
    """What the sensor remembers."""

    reached: Mapping[str, str] = field(default_factory=dict)
    """The oldest day that was fetched, by series."""
    wish: Wish | None = None
    """What is under way."""
    number: int = 0
    """Names the wish; it never comes twice, even when the sensor's cursor is reset."""
    not_before: Mapping[str, str] = field(default_factory=dict)
    """When the next attempt is due of a series whose run failed. It is made alone: it may be the one that fails."""

    @classmethod
    def of(cls, cursor: str | None) -> "Progress":
        """As it was kept."""
        kept = json.loads(cursor or "{}")
        wish = kept.get("wish")
        if wish:
            kept["wish"] = Wish(**{**wish, "series": tuple(wish["series"])})
        if not isinstance(kept.get("not_before"), dict):  # it was one time for all
            kept.pop("not_before", None)
        return cls(**kept)

    def kept(self) -> str:
        """As the sensor's cursor."""
        return json.dumps(asdict(self))

    def after(self, now: datetime, *, is_done: bool) -> "Progress":
        """After the run of its wish: all of it is there, or what failed is to be asked for again."""
        if self.wish is None:
            return self
        series = self.wish.series
        if is_done:
            reached = {**self.reached, **dict.fromkeys(series, self.wish.until)}
            left = {one: due for one, due in self.not_before.items() if one not in series}
            return Progress(reached, None, self.number, left)
        due = now + (_PATIENCE if len(series) > 1 else _LONG_PATIENCE)
        return replace(self, wish=None, not_before={**self.not_before, **dict.fromkeys(series, due.isoformat())})

    def next(self, wanted: Sequence[str], now: datetime, days: int, later: int) -> Wish | None:
        """What to fetch next, of one exchange: the newest that is missing, of what failed one series at a time."""
        sound = [series for series in wanted if series not in self.not_before]
        alone = [series for series in wanted if self.not_before.get(series, "~") <= now.isoformat()]
        candidates = (next_wish(self.reached, one, now.date(), days, later) for one in (sound, *([s] for s in alone)))
        wishes = [wish for wish in candidates if wish]
        if not wishes:
            return None
        wish = max(wishes, key=lambda one: (one.days > 0, one.until))
        exchange = wish.series[0].partition(":")[0]
        return replace(wish, series=tuple(s for s in wish.series if s.startswith(f"{exchange}:")))


def next_wish(reached: Mapping[str, str], wanted: Sequence[str], today: date, days: int, later: int) -> Wish | None:
    """What to fetch next: the last days of all series that have none yet, then month after month, the newest first."""
    new = [series for series in wanted if series not in reached]
    if new and days:
        return Wish(tuple(new), (today - timedelta(days=days)).isoformat(), days=days)
    target = (today - timedelta(days=max(days, later))).isoformat()
    behind = {series: reached.get(series, today.isoformat()) for series in wanted}
    behind = {series: day for series, day in behind.items() if day > target}
    if not behind:
        return None
    newest = date.fromisoformat(max(behind.values())) - timedelta(days=1)
    month = newest.strftime("%Y-%m")
    mine = [series for series, day in behind.items() if day == max(behind.values())]
    return Wish(tuple(mine), f"{month}-01", month=month)


@dg.sensor(
    name="history_of_new_symbols",
    jobs=[newest_history, history],
    minimum_interval_seconds=20,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fetches HISTORY_DAYS of klines for a symbol that is new, then HISTORY_DAYS_LATER, a month a run.",
)
def history_of_new_symbols(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One run at a time. What failed is asked for again; what is there is skipped by the run."""
    where, now = settings(), datetime.now(UTC)
    progress = Progress.of(context.cursor)
    if progress.wish:
        tags = {_PIECE: str(progress.number), "dagster/sensor_name": "history_of_new_symbols"}
        records = context.instance.get_run_records(dg.RunsFilter(tags=tags), limit=1)
        status = records[0].dagster_run.status if records else dg.DagsterRunStatus.FAILURE
        if status not in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
            return dg.SkipReason(f"Run {records[0].dagster_run.run_id[:8]} is under way.")
        progress = progress.after(now, is_done=status == dg.DagsterRunStatus.SUCCESS)
    wanted = streamed_series(where)
    wish = progress.next(wanted, now, where.history_days, where.history_days_later)
    if wish is None:
        failed = ", ".join(sorted(progress.not_before.keys() & set(wanted)))
        reason = f"All history is there but of {failed}: what failed is tried again." if failed else "All is there."
        return dg.SensorResult(skip_reason=reason, cursor=progress.kept())
    if why := imports_wait(where):
        return dg.SensorResult(skip_reason=why, cursor=progress.kept())
    progress = replace(progress, wish=wish, number=max(progress.number + 1, int(now.timestamp() * 1_000_000)))
    exchange = wish.series[0].partition(":")[0]
    config = {"exchange": exchange, "symbols": ",".join(s.partition(":")[2] for s in wish.series), "days": wish.days}
    request = dg.RunRequest(
        run_key=str(progress.number),
        job_name=newest_history.name if wish.days else history.name,
        partition_key=f"{wish.month}-01" if wish.month else None,
        run_config={"ops": {"fetch_history": {"config": config}}},
        tags={_PIECE: str(progress.number)},
    )
    return dg.SensorResult(run_requests=[request], cursor=progress.kept())


def streamed_series(where: Settings) -> list[str]:
    """Every exchange and symbol that is streamed: those of the file, and those that its selectors chose last."""
    watchlist = load_watchlist(where.symbols_file, where.active_symbols)
    series = [f"{exchange}:{symbol.symbol}" for symbol in watchlist.symbols for exchange in symbol.exchanges]
    selectors = {str(selector) for selector in watchlist.selectors}
    chosen = last_selected([row for row in _selected(where, watchlist) if row["selector"] in selectors])
    return series + [one for one in chosen if one not in series]


def _selected(where: Settings, watchlist: Watchlist) -> list[dict[str, Any]]:
    """All that selectors ever chose, as rows of bronze.selections; nothing where there are no selectors."""
    if not watchlist.selectors:
        return []
    columns = ["exchange", "symbol", "base_asset", "quote_asset", "selector", "event_time"]
    try:
        rows: list[dict[str, Any]] = read(selections.TABLE, where, columns).to_pylist()
    except LakeError:  # nothing was chosen yet
        return []
    return rows


def last_selected(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The series of the latest choice of each selector, among rows of bronze.selections."""
    latest: dict[str, datetime] = {}
    for row in rows:
        latest[row["selector"]] = max(row["event_time"], latest.get(row["selector"], row["event_time"]))
    chosen = (f"{row['exchange']}:{row['symbol']}" for row in rows if row["event_time"] == latest[row["selector"]])
    return sorted(set(chosen))


def _symbols(where: Settings, config: HistoryConfig) -> list[Symbol]:
    watchlist = load_watchlist(where.symbols_file, where.active_symbols)
    known = {symbol.symbol: symbol for symbol in watchlist.symbols}
    for row in _selected(where, watchlist):
        pair = {"base": row["base_asset"], "quote": row["quote_asset"]}
        named = {"symbol": row["symbol"], "name": row["symbol"], **pair}
        known.setdefault(row["symbol"], Symbol.model_validate(named))
    names = [name.strip().upper() for name in config.symbols.split(",") if name.strip()]
    if not names:
        return [symbol for symbol in watchlist.symbols if config.exchange in symbol.exchanges]
    return [known.get(name) or Symbol.model_validate({"symbol": name, "name": name}) for name in names]


@contextmanager
def _source(where: Settings, exchange: str, context: dg.OpExecutionContext, *, files: bool = True) -> Iterator[Source]:
    venue = exchanges()[exchange](*addresses(where, exchange))
    with tempfile.TemporaryDirectory() as folder, RestClient(venue, shared=where.bans) as rest:
        yield Source(venue, rest, Path(folder), files, warn=context.log.warning)
