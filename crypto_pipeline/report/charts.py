"""Charts of a report, each an SVG that takes its colours and its typeface from the page around it.

Matplotlib draws in stand-in colours, which become the page's variables (`--ink`, `--up` …): so a chart is readable on a
light and on a dark page, and on paper, without being drawn twice.
"""

import io
import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from crypto_pipeline.report import numbers
from crypto_pipeline.report.content import Condition, Correlations, CurvePoint, Mover

INK, FAINT, LINE, UP, DOWN, ACCENT, OTHER, WARN = (f"#0{n}0{n}0{n}" for n in range(1, 9))
_VARIABLES = {
    INK: "--ink", FAINT: "--faint", LINE: "--line", UP: "--up", DOWN: "--down", ACCENT: "--accent", OTHER: "--other",
    WARN: "--warn",
}  # fmt: skip
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be found, and takes the page's typeface
    "svg.hashsalt": "report",  # the same report is the same file
    "text.parse_math": False,  # a name may have dollars
    "font.size": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": LINE,
    "axes.labelcolor": FAINT,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "ytick.major.size": 0,
    "legend.frameon": False,
}
_WIDE = 9.6
"""Inches, of a chart that takes the page's whole width."""
_PIXELS = 1.38
"""Of the page, for a point of a chart, so that the text of all charts has one size."""
MOST_BARS = 24
"""So many markets have room in a chart."""


def equity(curve: Sequence[CurvePoint], benchmark: str) -> str:
    """Portfolio and benchmark since the start, in percent; below it, how far the portfolio was under its peak."""
    days = [point.day for point in curve]
    ours = _percents([point.total_return for point in curve])
    theirs = _percents([point.benchmark_return for point in curve])
    under = _percents([point.drawdown for point in curve])
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDE, 4.3), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.axhline(0, color=FAINT, linewidth=0.8)
        if np.isfinite(theirs).any():
            above.plot(_numbers(days), theirs, color=OTHER, linewidth=1.3, linestyle=(0, (5, 2)))
            _label_end(above, days, theirs, benchmark, OTHER)
        above.plot(_numbers(days), ours, color=ACCENT, linewidth=2)
        _label_end(above, days, ours, "portfolio", ACCENT)
        below.fill_between(_numbers(days), under, 0, color=DOWN, alpha=0.25, linewidth=0)
        below.plot(_numbers(days), under, color=DOWN, linewidth=1)
        below.set_ylim(top=0)
        for axes, count in ((above, 6), (below, 3)):
            axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick))
            axes.yaxis.set_major_locator(MaxNLocator(count))
        above.set_title("Return since the start", loc="left", fontsize=9, color=FAINT)
        below.set_title("Below the peak", loc="left", fontsize=9, color=FAINT)
        _dates(below, days)
        return _svg(figure, "equity", f"Return since the start, {days[0]} to {days[-1]}, with {benchmark} beside it")


def movers(markets: Sequence[Mover]) -> str:
    """The change of each market on the day as a bar, the greatest rise on top."""
    shown = sorted(markets, key=lambda one: one.change)
    if len(shown) > MOST_BARS:
        shown = [*shown[: MOST_BARS // 2], *shown[-MOST_BARS // 2 :]]
    changes = [100 * one.change for one in shown]
    with mpl.rc_context({**_STYLE, "axes.grid.axis": "x", "axes.spines.bottom": False}):
        figure = Figure(figsize=(0.4 * _WIDE, 0.45 + 0.27 * len(shown)), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh(range(len(shown)), changes, color=[UP if c >= 0 else DOWN for c in changes], height=0.66)
        axes.bar_label(bars, [numbers.percent(one.change) for one in shown], padding=4, color=INK)
        axes.set_yticks(range(len(shown)), [_short(one.symbol) for one in shown])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.axvline(0, color=FAINT, linewidth=0.8)
        widest = max((abs(c) for c in changes), default=0) or 1
        room = 0.55 * widest  # for the figure at a bar's end
        axes.set_xlim(min(0, *changes) - room * (min(changes) < 0), max(0, *changes) + room)
        axes.xaxis.set_major_formatter(FuncFormatter(_percent_tick))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.tick_params(axis="x", length=0)
        return _svg(figure, "movers", "Change of each market on the day")


def heat_map(found: Correlations, name: str) -> str:
    """A square for each pair: green together, red against each other, and empty where it is not known."""
    names = [_short(symbol) for symbol in found.symbols]
    count = len(names)
    side = min(0.9 + 0.48 * count, _WIDE)
    with mpl.rc_context({**_STYLE, "axes.grid": False, "axes.spines.bottom": False}):
        figure = Figure(figsize=(side + 0.5, side), layout="constrained")
        axes = figure.subplots()
        for row, values in enumerate(found.matrix):
            for column, value in enumerate(values):
                _square(axes, row, column, value, is_labelled=count <= _LABELLED)
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylim(count - 0.5, -0.5)
        axes.set_aspect("equal")
        size = 9 if count <= _LABELLED else max(4, 9 * _LABELLED / count)
        axes.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
        axes.set_yticks(range(count), names, fontsize=size)
        axes.tick_params(length=0, labelcolor=INK)
        return _svg(figure, name, f"Correlation of each pair, {found.window}")


_LABELLED = 16
"""With more symbols the squares are too small for their numbers."""


def _square(axes: Axes, row: int, column: int, value: float | None, *, is_labelled: bool) -> None:
    square = mpl.patches.Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, linewidth=0)
    if row == column or value is None or not np.isfinite(value):
        square.set(facecolor="none", edgecolor=LINE, linewidth=0.6)
    else:
        square.set(facecolor=UP if value >= 0 else DOWN, alpha=0.08 + 0.72 * min(abs(value), 1))
    square.set_clip_on(False)
    square.set_in_layout(False)  # it lies within the axes: to measure a thousand of them takes seconds
    axes.add_patch(square)
    if is_labelled and row != column:
        axes.text(column, row, numbers.ratio(value), ha="center", va="center", fontsize=8.5, in_layout=False)


def conditions(markets: Sequence[Condition]) -> str:
    """The expected minutes of each market as a bar: proven, pending, partial, missing."""
    shown = sorted(markets, key=lambda one: (one.proven / one.expected if one.expected else 1, one.symbol))[:MOST_BARS]
    with mpl.rc_context({**_STYLE, "axes.grid": False, "axes.spines.bottom": False}):
        figure = Figure(figsize=(0.4 * _WIDE, 0.5 + 0.27 * len(shown)), layout="constrained")
        axes = figure.subplots()
        left = np.zeros(len(shown))
        for name, colour in (("proven", UP), ("pending", OTHER), ("partial", WARN), ("missing", DOWN)):
            widths = np.array([100 * getattr(one, name) / one.expected if one.expected else 0 for one in shown])
            axes.barh(range(len(shown)), widths, left=left, color=colour, height=0.6, label=name)
            left += widths
        axes.set_yticks(range(len(shown)), [_short(one.symbol) for one in shown])
        axes.invert_yaxis()
        axes.tick_params(axis="y", labelcolor=INK)
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(0, 100)
        axes.xaxis.set_major_formatter(FuncFormatter(_percent_tick))
        figure.legend(loc="outside upper left", ncols=4, fontsize=7.5, handlelength=0.8, columnspacing=0.8)
        return _svg(figure, "conditions", "Expected minutes of each market by their status")


def _label_end(
    axes: Axes, days: Sequence[date], values: "np.ndarray[tuple[int], np.dtype[np.float64]]", name: str, colour: str
) -> None:
    """The series' name and last value, where its line ends."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known):
        last = int(known[-1])
        text = f"{_short(name)} {numbers.percent(values[last] / 100, 1)}"
        axes.annotate(
            text, (_numbers(days)[last], values[last]), xytext=(6, 0), textcoords="offset points", color=colour,
            va="center", fontweight="bold", annotation_clip=False,
        )  # fmt: skip


def _short(name: str) -> str:
    """What has room beside an axis."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


_LONGEST_NAME = 16


def _dates(axes: Axes, days: Sequence[date]) -> None:
    """At most eight dates, evenly apart."""
    first, span = days[0], max((days[-1] - days[0]).days, 1)
    step = -(-span // _MOST_DATES)
    marked = [first + timedelta(days=place) for place in range(0, span + 1, step)]
    is_long = span > 330
    axes.set_xlim(*_numbers([first, first + timedelta(days=span)]))
    axes.set_xticks(_numbers(marked), [f"{day:%b %Y}" if is_long else f"{day.day} {day:%b}" for day in marked])


_MOST_DATES = 8


def _numbers(days: Sequence[date]) -> list[float]:
    """The days as matplotlib counts them."""
    return [float((day - _EPOCH).days) for day in days]


_EPOCH = date(1970, 1, 1)


def _percents(fractions: Sequence[float | None]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.array([np.nan if fraction is None else 100 * fraction for fraction in fractions], dtype=np.float64)


def _percent_tick(value: float, _place: int | None = None) -> str:
    return f"{value:g} %".replace("-", numbers.MINUS)


def _svg(figure: Figure, name: str, told: str) -> str:
    """The figure as an element of a page: names in it are its own, and `told` is what it shows in words."""
    file = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(file, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = file.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    named = set(re.findall(r'(?:url\(|href=")#([^)"]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in named else "", text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{name}-", text)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*\n\s*", "\n", text)
    text = re.sub(r" ?font-family: [^;\"]*;", "", text)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would be the whole page's
    width = round(_PIXELS * 72 * figure.get_figwidth())
    style = f"min-width: {round(0.6 * width)}px; max-width: {width}px"
    element = rf'<svg viewBox="\1" style="{style}" role="img" aria-label="{_attribute(told)}">'
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', element, text, count=1).replace("xlink:href", "href")


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace("\\", r"\\")
