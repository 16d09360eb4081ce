"""What a report says, read from the lake by DuckDB: no Spark is needed, so that it takes a second or two."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, TypeVar

from crypto_pipeline import catalog
from crypto_pipeline.lake_sql import Lake, Rows
from crypto_pipeline.reader import NotThereYetError, open_table
from crypto_pipeline.report.content import (
    Absent,
    Anomaly,
    Condition,
    Correlations,
    CurvePoint,
    DataCondition,
    Figure,
    Forecast,
    Measure,
    Mover,
    Performance,
    Position,
    Report,
    Risk,
    Signal,
    Span,
    TableHealth,
)
from crypto_pipeline.report.numbers import MINUS
from crypto_pipeline.silver.candles import INTERVALS
from crypto_pipeline.silver.rollup import CONDITIONS
from shared.settings import Settings
from shared.tables import Table, View

MOST_SUBJECTS = 7
"""So many markets stand in the table of risk, those with the greatest turnover."""
MOST_LEADS = 5
"""So many pairs at most of a window in which one leads the other are named."""
MOST_CORRELATED = 30
"""So many markets at most stand in a map of correlations."""

Row = Mapping[str, Any]
Part = TypeVar("Part")


class _Lacking(Exception):  # noqa: N818 (it is a part's answer, not a fault)
    """Why a part has no data."""


class Asked:
    """Asks the lake in SQL. Of a table only what a question needs is read."""

    def __init__(
        self,
        opened: Callable[[Table], Rows],
        tables: Mapping[str, Table] | None = None,
        views: Mapping[str, View] | None = None,
    ) -> None:
        self._opened = opened
        self._tables = catalog.tables() if tables is None else tables
        self._views = catalog.views() if views is None else views

    def __contains__(self, name: str) -> bool:
        return name in self._tables or name in self._views

    def rows(self, sql: str, names: Sequence[str], **values: object) -> list[dict[str, Any]]:
        """The answer to SQL that reads the tables and views `names`, and has `values` in the place of their `$name`.

        Raises `LakeError`, and of a table that the project does not have `_Lacking`.
        """
        for name in names:
            if name not in self:
                raise _Lacking(f"{name} is not there yet: this version of the project does not make it.")
        views = {name: self._views[name] for name in names if name in self._views}
        needed = {*names, *(table for view in views.values() for table in view.tables)} - set(views)
        with Lake({name: self._tables[name] for name in needed}, views, self._opened) as lake:
            answer: list[dict[str, Any]] = lake.query(sql, values).to_pylist()
            return answer


def report(portfolio: str, day: date, settings: Settings, now: datetime) -> Report:
    """The report of a UTC day, read from the lake. Raises `LakeError` where the lake does not answer."""
    return collected(Asked(partial(open_table, settings=settings)), portfolio, day, settings.mode, now)


def portfolios(settings: Settings) -> list[str]:
    """The names of the portfolios that were valued, in order; empty where none was. Raises `LakeError`."""
    return names_of_portfolios(Asked(partial(open_table, settings=settings)))


def names_of_portfolios(asked: Asked) -> list[str]:
    """The same, of these tables."""
    sql = """
        select distinct portfolio from gold.portfolio_performance where reason is distinct from 'retracted'
        order by portfolio
    """
    try:
        return [row["portfolio"] for row in asked.rows(sql, ["gold.portfolio_performance"])]
    except (_Lacking, NotThereYetError):
        return []


def collected(asked: Asked, portfolio: str, day: date, mode: str, now: datetime) -> Report:
    """The report of a day. A part whose table is not there yet, or has nothing of the day, says why."""
    # One after the other: threads would save a second at most, and DuckDB asks Python for the rows.
    return Report(
        portfolio=portfolio or "Markets",
        day=day,
        mode=mode,
        made_at=now,
        performance=_or_why(partial(_performance, portfolio=portfolio), asked, day),
        risk=_or_why(partial(_risk, portfolio=portfolio), asked, day),
        correlations=_or_why(_correlations, asked, day),
        movers=_or_why(_movers, asked, day),
        signals=_or_why(_signals, asked, day),
        anomalies=_or_why(_anomalies, asked, day),
        forecasts=_or_why(_forecasts, asked, day),
        condition=_or_why(_condition, asked, day),
    )


def _or_why(read: Callable[[Asked, date], Part], asked: Asked, day: date) -> Part | Absent:
    try:
        return read(asked, day)
    except (_Lacking, NotThereYetError) as lacking:
        return Absent(str(lacking))


def _performance(asked: Asked, day: date, *, portfolio: str) -> Performance:
    table = "gold.portfolio_performance"
    if table in asked and not portfolio:
        raise _Lacking(
            "No portfolio is valued yet: those of config/portfolio.yaml are once their prices are there, "
            "in the next run of the job analytics."
        )
    mine = {"portfolio": portfolio, "month": _month(day), "day": _midnight(day)}
    totals = asked.rows(_TOTALS, [table], **mine)
    if not totals or totals[-1]["day"].date() != day:
        instead = f"the latest before is of {totals[-1]['day']:%Y-%m-%d}" if totals else "nor on a day before"
        raise _Lacking(
            f"{portfolio} was not valued on {day}, {instead}. The job analytics values it, each five minutes."
        )
    held = asked.rows(_HELD, [table], **mine)
    last = totals[-1]
    why = _reason(last)
    first_of_week, first_of_month = day - timedelta(days=day.weekday()), day.replace(day=1)
    return Performance(
        currency="USDT",
        benchmark=str(last["benchmark"] or "the benchmark").replace("_", " "),
        value=last["value"],
        profit=last["profit_day"],
        spans=(
            Span("Day", last["return_day"], last["benchmark_return_day"], why),
            Span("Since Monday", last["return_week"], _benchmark_since(totals, first_of_week), why),
            Span(f"Since 1 {day:%B}", last["return_month"], _benchmark_since(totals, first_of_month), why),
            Span(
                f"Since {last['started_on']:%Y-%m-%d}",
                last["return_since_start"],
                last["benchmark_return_since_start"],
                why,
            ),
        ),
        curve=[
            CurvePoint(
                row["day"].date(),
                row["value"],
                row["return_since_start"],
                row["benchmark_return_since_start"],
                row["drawdown"],
            )
            for row in totals
        ],
        positions=[
            Position(
                row["asset"],
                row["units"],
                row["value"],
                row["weight"],
                row["profit_day"],
                row["contribution_day"],
                "stale price" if row["is_stale"] else _reason(row),
            )
            for row in held
        ],
        notes=[
            *([] if last["is_closed"] else [f"The day is not over: valued at {last['as_of']:%H:%M} UTC."]),
            *(
                f"{row['asset']} was last traded at {row['priced_at']:%Y-%m-%d %H:%M} UTC, and counts at that price."
                for row in held
                if row["is_stale"] and row["priced_at"]
            ),
        ],
    )


_TOTALS = """
    select day, as_of, is_closed, started_on, value, profit_day, return_day, return_week, return_month,
        return_since_start, drawdown, benchmark, benchmark_return_day, benchmark_growth, benchmark_return_since_start,
        reason
    from gold.portfolio_performance
    where portfolio = $portfolio and asset = 'TOTAL' and month <= $month and day <= $day
        and reason is distinct from 'retracted'
    order by day
"""
_HELD = """
    select asset, units, value, weight, profit_day, contribution_day, is_stale, priced_at, reason
    from gold.portfolio_performance
    where portfolio = $portfolio and asset <> 'TOTAL' and month = $month and day = $day
        and reason is distinct from 'retracted' and (units <> 0 or profit_day <> 0 or value is null)
    order by value desc nulls last, asset
"""


def _benchmark_since(totals: Sequence[Row], first: date) -> float | None:
    """What the benchmark brought from 00:00 of a day, or from the start where that is later."""
    before = [row["benchmark_growth"] for row in totals if row["day"].date() < first]
    begin, end = before[-1] if before else 1.0, totals[-1]["benchmark_growth"]
    return end / begin - 1 if begin and end is not None else None


_MEASURES: Sequence[tuple[str, str, str, str, int, str]] = (
    ("Volatility a year, of 24 hours", "realised_volatility", "1h", "24h", 0, "percent"),
    ("Volatility a year, of 7 days", "realised_volatility", "1h", "7d", 0, "percent"),
    ("Volatility a year, of 30 days", "realised_volatility", "1h", "30d", 0, "percent"),
    ("Volatility a year, latest hours weigh most", "ewma_volatility", "1h", "74h", 0, "percent"),
    ("VaR 95 %, next hour", "historical_var", "1h", "60d", 95, "percent"),
    ("VaR 99 %, next hour", "historical_var", "1h", "60d", 99, "percent"),
    ("CVaR 99 %, next hour", "historical_cvar", "1h", "60d", 99, "percent"),
    ("VaR 95 %, next day", "historical_var", "1d", "365d", 95, "percent"),
    ("VaR 99 %, next day", "historical_var", "1d", "365d", 99, "percent"),
    ("Deepest fall in 30 days", "max_drawdown", "1h", "30d", 0, "percent"),
    ("Deepest fall in 90 days", "max_drawdown", "1d", "90d", 0, "percent"),
    ("Sharpe ratio, 90 days", "sharpe", "1d", "90d", 0, "ratio"),
    ("Sortino ratio, 90 days", "sortino", "1d", "90d", 0, "ratio"),
    ("Calmar ratio, 90 days", "calmar", "1d", "90d", 0, "ratio"),
    ("Beta to BTC, 30 days", "beta_to_btc", "1h", "30d", 0, "ratio"),
    ("Correlation to BTC, 30 days", "correlation_to_btc", "1h", "30d", 0, "ratio"),
    ("Amihud's illiquidity, 30 days", "amihud_illiquidity", "1h", "30d", 0, "scientific"),
)
"""Name; what names it in gold.risk_metrics (metric, return_interval, window_length, confidence); how it is shown."""


def _risk(asked: Asked, day: date, *, portfolio: str) -> Risk:
    table = "gold.risk_metrics"
    rows = asked.rows(_METRICS, [table], portfolio=portfolio, **_within(day))
    if not rows:
        raise _Lacking(_nothing_of(asked, table, "as_of", day))
    turnover = {row["symbol"]: row["quote_volume"] for row in _candles(asked, day)}
    subjects = sorted(
        {(row["subject_kind"], row["subject"]) for row in rows},
        key=lambda one: (one[0] != "portfolio", -turnover.get(one[1], 0.0), one[1]),
    )[: MOST_SUBJECTS + 1]
    found = {(row["subject_kind"], row["subject"], *(row[name] for name in _NAMES_A_MEASURE)): row for row in rows}
    measures = []
    for name, metric, interval, window, confidence, kind in _MEASURES:
        figures = [_figure(found.get((*subject, metric, interval, window, confidence)), kind) for subject in subjects]
        if any(figure.value is not None or figure.reason for figure in figures):
            measures.append(Measure(name, figures))
    return Risk([subject for _, subject in subjects], measures)


_METRICS = """
    select subject_kind, subject, metric, return_interval, window_length, confidence, value, reason, fills_at
    from gold.risk_metrics
    where month between $month and $last_month and as_of > $start and as_of <= $until
        and (subject_kind <> 'portfolio' or subject = $portfolio)
    qualify row_number() over (
        partition by exchange, subject_kind, subject, metric, return_interval, horizon, window_length, confidence
        order by as_of desc
    ) = 1
"""
_NAMES_A_MEASURE = ("metric", "return_interval", "window_length", "confidence")


def _figure(row: Row | None, kind: Any) -> Figure:
    if row is None:
        return Figure(None, kind)
    if row["value"] is not None:
        return Figure(row["value"], kind)
    return Figure(None, kind, _reason(row))


def _correlations(asked: Asked, day: date) -> Sequence[Correlations]:
    """A map for each window of returns, of the quote asset with the most pairs."""
    table = "gold.correlations"
    rows = asked.rows(_PAIRS, [table], **_within(day))
    if not rows:
        raise _Lacking(_nothing_of(asked, table, "as_of", day))
    turnover = {row["symbol"]: row["quote_volume"] for row in _candles(asked, day)}
    maps, lacking = [], []
    for interval, window in dict.fromkeys((row["return_interval"], row["window_length"]) for row in rows):
        pairs = [row for row in rows if (row["return_interval"], row["window_length"]) == (interval, window)]
        markets = Counter((row["exchange"], row["quote_asset"]) for row in pairs if row["pearson"] is not None)
        told = f"{interval} returns over {window.replace('d', ' days').replace('h', ' hours')}"
        if not markets:
            soonest = min(pairs, key=lambda row: row["fills_at"] or datetime.max.replace(tzinfo=UTC))
            lacking.append(f"{told}: {_reason(soonest)}.")
            continue
        [(market, _)] = markets.most_common(1)
        maps.append(_map(told, [row for row in pairs if (row["exchange"], row["quote_asset"]) == market], turnover))
    if not maps:
        raise _Lacking(" ".join(lacking))
    return [*maps[:-1], replace(maps[-1], notes=[*maps[-1].notes, *lacking])]


def _map(told: str, pairs: Sequence[Row], turnover: Mapping[str, float]) -> Correlations:
    names = {row[side] for row in pairs for side in ("symbol_a", "symbol_b")}
    ordered = sorted(names, key=lambda name: (-turnover.get(name, 0.0), name))
    symbols = ordered[:MOST_CORRELATED]
    known = {(row["symbol_a"], row["symbol_b"]): row["pearson"] for row in pairs}
    counts = [row["observations"] for row in pairs if row["pearson"] is not None]
    notes = [
        f"In {told} {leader} leads {follower} by {abs(row['lead_lag_seconds'])} s: correlation "
        f"{row['lead_lag_correlation']:.2f}, adjusted p {row['lead_lag_p']:.2g}.".replace("-", MINUS)
        for row in sorted(pairs, key=lambda one: one["lead_lag_p"] or 0.0)
        if row["lead_lag_seconds"]
        for leader, follower in [
            (row["symbol_a"], row["symbol_b"])[:: 1 if row["lead_lag_seconds"] > 0 else -1],
        ]
    ][:MOST_LEADS]
    if len(ordered) > len(symbols):
        notes.append(f"In {told}: the {len(symbols)} of {len(ordered)} markets with the greatest turnover.")
    matrix = [[known.get((a, b), known.get((b, a))) for b in symbols] for a in symbols]
    return Correlations(told, symbols, matrix, (min(counts), max(counts)), notes)


_PAIRS = """
    select exchange, quote_asset, symbol_a, symbol_b, return_interval, window_length, pearson, observations, reason,
        fills_at, lead_lag_seconds, lead_lag_correlation, lead_lag_p
    from gold.correlations
    where month between $month and $last_month and as_of > $start and as_of <= $until
    qualify row_number() over (
        partition by exchange, symbol_a, symbol_b, return_interval, window_length order by as_of desc, confidence desc
    ) = 1
    order by case return_interval when '1m' then 1 when '1h' then 2 else 3 end, window_length, symbol_a, symbol_b
"""


def _candles(asked: Asked, day: date) -> list[dict[str, Any]]:
    sql = """
        select exchange, symbol, quote_asset, open, high, low, close, quote_volume, trade_count,
            is_closed and status in ('complete', 'repaired') as is_whole
        from silver.ohlcv where interval = '1d' and month = $month and interval_start = $start
    """
    return asked.rows(sql, ["silver.ohlcv"], month=_month(day), start=_midnight(day))


def _movers(asked: Asked, day: date) -> Sequence[Mover]:
    rows = _candles(asked, day)
    if not rows:
        raise _Lacking(_nothing_of(asked, "silver.ohlcv", "interval_start", day, "interval = '1d'"))
    return [
        Mover(
            row["exchange"], row["symbol"], row["close"], row["close"] / row["open"] - 1, row["high"], row["low"],
            row["quote_volume"], row["quote_asset"], row["trade_count"], bool(row["is_whole"]),
        )
        for row in rows
    ]  # fmt: skip


def _signals(asked: Asked, day: date) -> Sequence[Signal]:
    sql = """
        select symbol, interval, interval_end, rule, side, strength, caused_by, is_retraction, reason
        from gold.signals
        where month between $before and $month and interval_end >= $start and interval_end < $until
        qualify row_number() over (
            partition by exchange, symbol, interval, interval_start, rule order by revision desc
        ) = 1
    """
    before = _month(day - timedelta(days=1))
    span = {"start": _midnight(day), "until": _midnight(day + timedelta(days=1))}
    rows = asked.rows(sql, ["gold.signals"], before=before, month=_month(day), **span)
    signals = [
        Signal(
            row["interval_end"], row["symbol"], row["interval"], row["rule"], row["side"], row["strength"],
            _reason(row) if row["is_retraction"] else caused(row["caused_by"]), bool(row["is_retraction"]),
        )
        for row in rows
    ]  # fmt: skip
    # A long candle's signal says more than that of a minute.
    return sorted(signals, key=lambda one: (-INTERVALS.get(one.interval, 0), one.at, one.symbol, one.rule))


def caused(text: str | None) -> str:
    """`{"rsi_14": [28.1, 31.4]}` is `rsi_14 28.1 → 31.4`."""
    try:
        values = json.loads(text or "{}").items()
        return ", ".join(f"{name} {' → '.join(f'{float(v):.6g}' for v in pair)}" for name, pair in values)
    except (AttributeError, TypeError, ValueError):
        return str(text)


def _anomalies(asked: Asked, day: date) -> Sequence[Anomaly]:
    sql = """
        select symbol, kind, interval_start, score, explanation,
            count(*) over (partition by exchange, symbol, kind) as times
        from gold.anomalies
        where month = $month and interval_start >= $start and interval_start < $until and not is_retracted
        qualify row_number() over (
            partition by exchange, symbol, kind order by abs(score) / threshold desc, interval_start
        ) = 1
        order by abs(score) / threshold desc, symbol, kind
    """
    span = {"start": _midnight(day), "until": _midnight(day + timedelta(days=1))}
    return [
        Anomaly(row["interval_start"], row["symbol"], row["kind"], row["score"], row["explanation"], row["times"])
        for row in asked.rows(sql, ["gold.anomalies"], month=_month(day), **span)
    ]


def _forecasts(asked: Asked, day: date) -> Sequence[Forecast]:
    sql = """
        select exchange, symbol, target, model, is_baseline, interval_start, forecast, reason, fills_at
        from gold.forecasts
        where month between $month and $last_month and interval_start > $start and interval_start <= $until
        qualify row_number() over (
            partition by exchange, symbol, target, horizon, model order by interval_start desc
        ) = 1
    """
    rows = asked.rows(sql, ["gold.forecasts"], **_within(day))
    verdicts = _verdicts(asked)
    baselines = {(r["exchange"], r["symbol"], r["target"]): r["forecast"] for r in rows if r["is_baseline"]}
    return [
        Forecast(
            row["symbol"], row["target"], row["model"], row["interval_start"], row["forecast"],
            baselines.get((row["exchange"], row["symbol"], row["target"])),
            _reason(row) or verdicts.get((row["exchange"], row["symbol"], row["target"], row["model"]), ""),
        )
        for row in sorted(rows, key=lambda one: (one["target"] != "volatility", one["symbol"], one["model"]))
        if not row["is_baseline"]
    ]  # fmt: skip


def _verdicts(asked: Asked) -> dict[tuple[str, ...], str]:
    """What the scores say of each model by the loss that decides, over the longest window that is filled."""
    sql = """
        select exchange, symbol, target, model, verdict from gold.forecast_scores
        where loss in ('qlike', 'log_loss') order by reason is not null desc, observations
    """
    try:
        rows = asked.rows(sql, ["gold.forecast_scores"])
    except (_Lacking, NotThereYetError):
        return {}
    return {(row["exchange"], row["symbol"], row["target"], row["model"]): row["verdict"] for row in rows}


def _condition(asked: Asked, day: date) -> DataCondition:
    sql = """
        select exchange, symbol, condition, minutes_expected, minutes_complete + minutes_repaired as proven,
            minutes_repaired, minutes_pending, minutes_partial, minutes_missing, minutes_no_trades, percent_received
        from silver.completeness_daily where month = $month and day = $day order by exchange, symbol
    """
    rows = asked.rows(sql, ["silver.completeness_daily"], month=_month(day), day=day)
    if not rows:
        raise _Lacking(_nothing_of(asked, "silver.completeness", "interval_start", day))
    markets = [
        Condition(
            row["exchange"], row["symbol"], row["condition"], row["minutes_expected"], row["proven"],
            row["minutes_pending"], row["minutes_partial"], row["minutes_missing"], row["minutes_no_trades"],
            row["minutes_repaired"], row["percent_received"],
        )
        for row in rows
    ]  # fmt: skip
    return DataCondition(markets, _or_why(_health, asked, day), _open_gaps(asked, day))


def _health(asked: Asked, day: date) -> Sequence[TableHealth]:
    """Each table of the day: sums over its markets, and of latency, completeness and condition the worst."""
    table = "gold.data_quality"
    rows = asked.rows(_QUALITY, [table], month=_month(day), day=_midnight(day))
    if not rows:
        raise _Lacking(_nothing_of(asked, table, "day", day))
    return [
        TableHealth(
            row["table_name"],
            row["rows"],
            row["late"],
            row["quarantined"],
            row["duplicates"],
            row["latency_ms"],
            row["percent"],
            max((one for one in row["conditions"] or () if one in CONDITIONS), key=CONDITIONS.index, default=""),
        )
        for row in rows
    ]


_QUALITY = """
    select table_name, cast(sum(rows) as bigint) as rows, cast(sum(late) as bigint) as late,
        cast(sum(quarantined) as bigint) as quarantined, cast(sum(duplicates) as bigint) as duplicates,
        min(completeness_percent) as percent, list(condition) as conditions,
        max(if(table_name like 'bronze.%', latency_bronze_p95_ms, latency_silver_p95_ms)) as latency_ms
    from gold.data_quality where month = $month and day = $day group by table_name order by table_name
"""


def _open_gaps(asked: Asked, day: date) -> int | None:
    """Holes that began on the day and are not mended yet; none where that cannot be told."""
    sql = "select count(*) as holes from bronze.gaps where date = $date and status = 'open'"
    try:
        return int(asked.rows(sql, ["bronze.gaps"], date=day.isoformat())[0]["holes"])
    except NotThereYetError:
        return None


def _nothing_of(asked: Asked, table: str, column: str, day: date, condition: str = "true") -> str:
    """Why a table has no row of a day: what it has instead."""
    sql = f"select min({column}) as first, max({column}) as last from {table} where {condition}"  # noqa: S608 (our own)
    [span] = asked.rows(sql, [table])
    if span["first"] is None:
        return f"{table} has no rows yet."
    there = f"it has {span['first']:%Y-%m-%d %H:%M} to {span['last']:%Y-%m-%d %H:%M} UTC"
    return f"{table} has nothing of {day}: {there}."


_WORDS = {
    "too_little_history": "too little history",
    "missing_candles": "candles are missing",
    "no_reference": "there is no Bitcoin in this quote asset",
    "no_variation": "it did not vary",
    "no_losses": "there was no loss",
    "no_drawdown": "there was no fall",
    "nothing_invested": "nothing is invested",
    "no_price_yet": "no price is known yet",
    "too_few_observations": "too few observations",
    "constant": "one of the two did not move",
    "late_data": "late data overturned it",
    "rule_changed": "its rule has changed",
}


def _reason(row: Row) -> str:
    """Why a row's value is null, in words, and when it will not be."""
    if not row.get("reason"):
        return ""
    why = _WORDS.get(row["reason"], str(row["reason"]).replace("_", " "))
    if row.get("fills_at"):
        return f"{why}: fills on {row['fills_at']:%Y-%m-%d %H:%M} UTC"
    return why


def _within(day: date) -> dict[str, object]:
    """A UTC day, its end included, with the months that it lies in: values of `$start`, `$until` and so on."""
    end = day + timedelta(days=1)
    return {"start": _midnight(day), "until": _midnight(end), "month": _month(day), "last_month": _month(end)}


def _midnight(day: date) -> datetime:
    """At the beginning of the UTC day."""
    return datetime.combine(day, time(), UTC)


def _month(day: date) -> str:
    """The partition that the day lies in."""
    return f"{day:%Y-%m}"
