"""The page of a report: content in, one self-contained HTML out. It needs no network and no JavaScript."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from crypto_pipeline.report import charts, numbers
from crypto_pipeline.report.content import (
    Absent,
    Anomaly,
    Condition,
    Correlations,
    DataCondition,
    Figure,
    Forecast,
    Mover,
    Performance,
    Report,
    Risk,
    Signal,
    TableHealth,
)

MOST_ROWS = 30
"""So many rows of a table are shown; of the others it says how many there are."""
_NAMED = 5
"""So many markets at most are named in a sentence."""
_TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    text: str
    style: str = ""
    hint: str = ""
    mark: str = ""
    """The number of the note beneath the table that belongs to it."""


@dataclass(frozen=True)
class Head:
    """The head of a column."""

    text: str
    is_number: bool = False


@dataclass(frozen=True)
class Grid:
    """A table."""

    heads: Sequence[Head]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Tile:
    """A figure that is to be seen first."""

    name: str
    text: str
    beneath: str = ""
    style: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart; its title where it is one of several."""

    svg: str
    title: str = ""


@dataclass(frozen=True)
class Part:
    """A part of the page; `why_absent` stands where there is nothing to show."""

    anchor: str
    title: str
    about: str = ""
    why_absent: str = ""
    tiles: Sequence[Tile] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Grid] = ()
    notes: Sequence[str] = ()
    is_beside: bool = False
    """The first table stands beside the chart, not beneath it."""


def rendered(report: Report) -> str:
    """The page. Whatever stands in names and sentences is text in it, never markup."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        report=report,
        long_day=f"{report.day:%A} {report.day.day} {report.day:%B %Y}",
        made_at=f"{report.made_at.astimezone(UTC):%Y-%m-%d %H:%M}",
        lead=list(lead(report)),
        parts=list(_parts(report)),
        unknown=numbers.UNKNOWN,
    )


def lead(report: Report) -> Iterator[str]:
    """The day in a few sentences."""
    performance = report.performance
    if isinstance(performance, Performance) and performance.spans:
        yield from _lead_of_portfolio(performance)
    if isinstance(report.movers, Sequence) and len(report.movers) > 1:
        best, worst = (choose(report.movers, key=lambda one: one.change) for choose in (max, min))
        yield (
            f"Of {len(report.movers)} markets {best.symbol} did best ({numbers.percent(best.change)}) "
            f"and {worst.symbol} worst ({numbers.percent(worst.change)})."
        )
    happened = []
    if isinstance(report.signals, Sequence):
        happened.append(counted(sum(not one.is_retracted for one in report.signals), "signal"))
    if isinstance(report.anomalies, Sequence):
        happened.append(counted(sum(one.count for one in report.anomalies), "anomaly"))
    if happened:
        yield f"{' and '.join(happened).capitalize()} on the day."
    if isinstance(report.condition, DataCondition) and report.condition.markets:
        yield _lead_of_condition(report.condition.markets)


def _lead_of_portfolio(performance: Performance) -> Iterator[str]:
    day = performance.spans[0]
    if day.portfolio is None:
        yield f"The return of the day is not known: {day.reason or 'no reason is on record'}."
        return
    change = numbers.percent(abs(day.portfolio), signed=False)
    moved = f"Up {change}" if day.portfolio > 0 else f"Down {change}" if day.portfolio < 0 else "Unchanged"
    sentence = f"{moved} on the day, to {numbers.amount(performance.value)} {performance.currency}"
    if day.benchmark is not None:
        ahead = day.portfolio - day.benchmark
        points = numbers.amount(abs(100 * ahead))
        where = "ahead of" if ahead >= 0 else "behind"
        sentence += f", {points} points {where} {performance.benchmark} ({numbers.percent(day.benchmark)})"
    yield f"{sentence}."
    parts = [one for one in performance.positions if one.contribution]
    if len(parts) > 1:
        most, least = (choose(parts, key=lambda one: one.contribution or 0) for choose in (max, min))
        yield (
            f"{most.asset} gave most ({numbers.amount(100 * (most.contribution or 0), signed=True)} points), "
            f"{least.asset} least ({numbers.amount(100 * (least.contribution or 0), signed=True)} points)."
        )


def _lead_of_condition(markets: Sequence[Condition]) -> str:
    whole = sum(one.condition == "available" for one in markets)
    if whole == len(markets):
        all_of_them = f"{'all ' if whole > 1 else ''}{counted(whole, 'market')}"
        return f"The data of the day is complete, and proven so, for {all_of_them}."
    others = [f"{one.symbol} is {one.condition}" for one in markets if one.condition != "available"]
    named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
    return f"The data of the day is complete for {whole} of {counted(len(markets), 'market')}: {named}."


def counted(number: int, name: str) -> str:
    """`no signals`, `1 signal`, `2 anomalies`."""
    plural = f"{name.removesuffix('y')}ies" if name.endswith("y") else f"{name}s"
    return f"{number or 'no'} {name if number == 1 else plural}"


def _parts(report: Report) -> Iterator[Part]:
    yield _portfolio(report.performance)
    yield _risk(report.risk)
    yield _correlations(report.correlations)
    yield _movers(report.movers)
    yield _signals(report.signals)
    yield _anomalies(report.anomalies)
    yield _forecasts(report.forecasts)
    yield _condition(report.condition)


def _portfolio(found: Performance | Absent) -> Part:
    title = "Portfolio"
    if isinstance(found, Absent):
        return Part("portfolio", title, why_absent=found.why)
    tiles = [Tile("Value", f"{numbers.amount(found.value)}", found.currency)]
    for span in found.spans:
        beneath = span.reason or f"{found.benchmark} {numbers.percent(span.benchmark)}"
        tiles.append(Tile(span.name, numbers.percent(span.portfolio), beneath, numbers.tone(span.portfolio)))
    if found.profit is not None:
        profit = numbers.amount(found.profit, signed=True)
        tiles.insert(1, Tile("Profit of the day", profit, found.currency, numbers.tone(found.profit)))
    drawdowns = [point.drawdown for point in found.curve if point.drawdown is not None]
    if drawdowns:
        deepest = f"deepest {numbers.percent(min(drawdowns))}"
        tiles.append(Tile("Below the peak", numbers.percent(drawdowns[-1]), deepest))
    curve = [point for point in found.curve if point.total_return is not None]
    notes = list(found.notes)
    if len(curve) < 2:
        notes.insert(0, "The curve needs two days with a return: it will stand here from the next day on.")
    return Part(
        "portfolio",
        title,
        tiles=tiles,
        charts=[Chart(charts.equity(curve, found.benchmark))] if len(curve) > 1 else [],
        tables=[_positions(found)] if found.positions else [],
        notes=notes,
    )


def _positions(found: Performance) -> Grid:
    heads = [
        Head("Asset"),
        Head("Quantity", is_number=True),
        Head(f"Value, {found.currency}", is_number=True),
        Head("Weight", is_number=True),
        Head(f"Profit of the day, {found.currency}", is_number=True),
        Head("Contribution", is_number=True),
        Head(""),
    ]
    rows = [
        [
            Cell(one.asset),
            _number(numbers.quantity(one.quantity)),
            _number(numbers.amount(one.value)),
            _number(numbers.percent(one.weight, 1, signed=False)),
            _number(numbers.amount(one.profit, signed=True), one.profit),
            _number(numbers.percent(one.contribution), one.contribution),
            Cell(one.note, "warn" if one.note else ""),
        ]
        for one in found.positions
    ]
    return _grid(heads, rows)


def _risk(found: Risk | Absent) -> Part:
    title = "Risk"
    if isinstance(found, Absent):
        return Part("risk", title, why_absent=found.why)
    notes: dict[str, int] = {}
    rows = []
    for measure in found.measures:
        cells = [_figure(figure, notes) for figure in measure.figures]
        rows.append([Cell(measure.name, hint=measure.explained), *cells])
    heads = [Head(""), *(Head(subject, is_number=True) for subject in found.subjects)]
    why = [f"{place}. {reason}" for reason, place in notes.items()]
    about = "At the end of the day. A loss is positive. Where a figure is missing, the note says why, and until when."
    return Part("risk", title, about=about, tables=[Grid(heads, rows, why)])


def _figure(figure: Figure, notes: dict[str, int]) -> Cell:
    """A number; where it is not known, the number of the note that says why, which is added to `notes`."""
    if figure.value is None:
        mark = str(notes.setdefault(figure.reason, len(notes) + 1)) if figure.reason else ""
        return Cell(numbers.UNKNOWN, "n faint", figure.reason, mark)
    match figure.kind:
        case "percent":
            text = numbers.percent(figure.value, signed=False)
        case "count":
            text = numbers.amount(figure.value, 0)
        case "scientific":
            text = numbers.scientific(figure.value)
        case _:
            text = numbers.ratio(figure.value)
    return Cell(text, "n", figure.reason)


def _correlations(found: Sequence[Correlations] | Absent) -> Part:
    title = "What moves together"
    if isinstance(found, Absent):
        return Part("correlations", title, why_absent=found.why)
    drawn = []
    for place, one in enumerate(found):
        fewest, most = one.observations
        pairs = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
        drawn.append(Chart(charts.heat_map(one, f"correlations{place}"), f"{one.window} · {pairs} returns a pair"))
    return Part(
        "correlations",
        title,
        about="Pearson's correlation of the returns of each pair; what is missing of either is left out, never filled.",
        charts=drawn,
        notes=[note for one in found for note in one.notes],
    )


def _movers(found: Sequence[Mover] | Absent) -> Part:
    title = "Movers"
    if isinstance(found, Absent):
        return Part("movers", title, why_absent=found.why)
    heads = [
        Head("Market"),
        *(Head(text, is_number=True) for text in ("Close", "Change", "Low", "High", "Turnover", "Trades")),
    ]
    rows = [
        [
            Cell(one.symbol, "w", one.exchange, "" if one.is_whole else "*"),
            _number(numbers.price(one.close)),
            _number(numbers.percent(one.change), one.change),
            _number(numbers.price(one.low)),
            _number(numbers.price(one.high)),
            Cell(f"{numbers.compact(one.quote_volume)} {one.quote_asset}", "n"),
            _number(f"{one.trades:,}"),
        ]
        for one in sorted(found, key=lambda one: -one.change)
    ]
    is_whole = all(one.is_whole for one in found)
    notes = [] if is_whole else ["* The day's candle is not over, or not proven complete."]
    return Part(
        "movers",
        title,
        about="From the first to the last trade of the UTC day.",
        charts=[Chart(charts.movers(found))],
        tables=[_grid(heads, rows, notes)],
        is_beside=True,
    )


def _signals(found: Sequence[Signal] | Absent) -> Part:
    title = "Signals"
    if isinstance(found, Absent):
        return Part("signals", title, why_absent=found.why)
    if not found:
        return Part("signals", title, why_absent="No rule of config/signals.yaml fired on the day.")
    heads = [
        Head("Candle closed"), Head("Market"), Head("Interval"), Head("Rule"), Head("Side"),
        Head("Strength", is_number=True), Head("Because"),
    ]  # fmt: skip
    rows = [
        [
            _time(one.at),
            Cell(one.symbol, "w"),
            Cell(one.interval),
            Cell(one.rule),
            Cell("retracted" if one.is_retracted else one.side, _side(one)),
            _number(numbers.percent(one.strength, 3, signed=False)),
            Cell(one.why),
        ]
        for one in found
    ]
    return Part("signals", title, tables=[_grid(heads, rows)])


def _side(signal: Signal) -> str:
    if signal.is_retracted:
        return "faint"
    return {"buy": "up", "long": "up", "sell": "down", "short": "down"}.get(signal.side, "")


def _anomalies(found: Sequence[Anomaly] | Absent) -> Part:
    title = "What was unusual"
    if isinstance(found, Absent):
        return Part("anomalies", title, why_absent=found.why)
    if not found:
        return Part("anomalies", title, why_absent="Nothing was unusual for its symbol and hour of the week.")
    heads = [Head("Time"), Head("Market"), Head("What"), Head("Score", is_number=True), Head("Why")]
    rows = [
        [
            _time(one.at),
            Cell(one.symbol, "w"),
            Cell(one.kind.replace("_", " ") + (f", {one.count} times" if one.count > 1 else "")),
            _number(numbers.amount(one.score, 1)),
            Cell(one.why),
        ]
        for one in found
    ]
    about = "The strongest of each kind and market. Others of the day are in gold.anomalies."
    return Part("anomalies", title, about=about, tables=[_grid(heads, rows)])


def _forecasts(found: Sequence[Forecast] | Absent) -> Part:
    title = "Forecasts"
    if isinstance(found, Absent):
        return Part("forecasts", title, why_absent=found.why)
    if not found:
        return Part("forecasts", title, why_absent="No forecast was made by the end of the day.")
    heads = [
        Head("Market"), Head("Of"), Head("Model"), Head("Hour from"), Head("Forecast", is_number=True),
        Head("Baseline", is_number=True), Head("So far"),
    ]  # fmt: skip
    rows = [
        [
            Cell(one.symbol, "w"),
            Cell(one.target),
            Cell(one.model),
            _time(one.at),
            _number(numbers.percent(one.value, signed=False)),
            _number(numbers.percent(one.baseline, signed=False)),
            Cell(one.verdict),
        ]
        for one in found
    ]
    return Part(
        "forecasts",
        title,
        about="Of the hour that follows the day, each beside its baseline.",
        tables=[_grid(heads, rows)],
    )


def _condition(found: DataCondition | Absent) -> Part:
    title = "Condition of the data"
    if isinstance(found, Absent):
        return Part("condition", title, why_absent=found.why)
    heads = [
        Head("Market"),
        Head("Condition"),
        *(Head(text, is_number=True) for text in ("Proven", "Repaired", "Quiet", "Pending", "Partial", "Missing")),
    ]
    rows = [
        [
            Cell(one.symbol, "w", one.exchange),
            Cell(one.condition, _CONDITION_STYLES.get(one.condition, "")),
            _number(f"{one.proven:,} of {one.expected:,}"),
            *(_number(f"{n:,}") for n in (one.repaired, one.quiet, one.pending, one.partial, one.missing)),
        ]
        for one in found.markets
    ]
    notes = []
    if found.open_gaps is not None:
        gaps = counted(found.open_gaps, "hole")
        notes.append(f"{gaps.capitalize()} in the streams of the day {'is' if found.open_gaps == 1 else 'are'} open.")
    tables = []
    if isinstance(found.tables, Absent):
        notes.append(found.tables.why)
    elif found.tables:
        tables.append(_health(found.tables))
    return Part(
        "condition",
        title,
        about="Minutes of the UTC day. Proven: all trades are there by their ids, or the exchange's candle tells. "
        "Quiet: of these, those in which nothing traded. Repaired: fetched again after a hole.",
        charts=[Chart(charts.conditions(found.markets))] if found.markets else [],
        tables=[_grid(heads, rows), *tables],
        notes=notes,
        is_beside=bool(found.markets),
    )


_CONDITION_STYLES = {"available": "up", "pending": "faint", "degraded": "warn", "missing": "down"}


def _health(found: Iterable[TableHealth]) -> Grid:
    heads = [
        Head("Table"),
        *(
            Head(text, is_number=True)
            for text in ("Rows", "Complete", "Late", "Quarantined", "Duplicates", "Latency, p95")
        ),
        Head("Condition"),
    ]
    rows = [
        [
            Cell(one.table),
            _number(numbers.amount(one.rows, 0)),
            _number(_complete(one.percent)),
            *(_number(numbers.amount(n, 0)) for n in (one.late, one.quarantined, one.duplicates)),
            _number(_milliseconds(one.latency_ms)),
            Cell(one.condition, _CONDITION_STYLES.get(one.condition, "")),
        ]
        for one in found
    ]
    note = "Complete, latency and condition are those of the market that is worst off."
    return _grid(heads, rows, [note])


def _complete(percent: float | None) -> str:
    """What lacks anything is never 100 %."""
    if percent is None:
        return numbers.UNKNOWN
    return numbers.percent(percent / 100 if percent >= 100 else min(percent / 100, 0.9999), signed=False)


def _milliseconds(value: float | None) -> str:
    if value is None:
        return numbers.UNKNOWN
    return f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.1f} s"


def _grid(heads: Sequence[Head], rows: Sequence[Sequence[Cell]], notes: Sequence[str] = ()) -> Grid:
    left = len(rows) - MOST_ROWS
    more = [f"And {left:,} more, which are in the lake."] if left > 0 else []
    return Grid(heads, rows[:MOST_ROWS], [*notes, *more])


def _number(text: str, coloured_by: float | None = None) -> Cell:
    return Cell(text, f"n {numbers.tone(coloured_by)}".strip())


def _time(at: datetime) -> Cell:
    """Hour and minute: the day is the report's."""
    return Cell(f"{at.astimezone(UTC):%H:%M}", "w", f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
