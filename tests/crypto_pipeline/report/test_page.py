"""The page as a browser gets it, of reports that are known."""

import re
from datetime import date
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from crypto_pipeline.report import content, page
from crypto_pipeline.report.content import Absent, DataCondition, Report
from tests.crypto_pipeline.report import example

PARTS = ("performance", "risk", "correlations", "movers", "signals", "anomalies", "forecasts", "condition")
VOID = {"meta", "link", "br", "hr", "img", "input"}
HOSTILE = "$x^$<script>alert(1)</script>&\"'{{ 7 * 7 }}"


class Seen(HTMLParser):
    """What a browser makes of a page: its elements, attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u202f", " ").split())


def seen(report: Report) -> Seen:
    return Seen(page.rendered(report))


def only(**parts: object) -> str:
    """The text of a page of nothing but these parts."""
    return seen(example.report(**{**dict.fromkeys(PARTS, Absent("Nothing.")), **parts})).text


@pytest.fixture(scope="module")
def whole() -> str:
    return page.rendered(example.report())


def test_it_says_whose_it_is_of_which_day_and_that_demo_data_is_made(whole: str) -> None:
    text = Seen(whole).text
    assert "main, Wednesday 25 November 2026" in text
    assert "demo: made data" in text
    assert "Made 2026-11-26 00:12 UTC" in text
    assert "made data" not in only(mode="live")


def test_it_needs_no_network_and_no_script(whole: str) -> None:
    found = Seen(whole)
    assert "script" not in found.tags
    for name, value in found.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href"):
            assert str(value).startswith("#"), "only what is in the page itself"
    assert not re.search(r"url\((?!#)|@import", whole)


def test_it_is_small(whole: str) -> None:
    assert len(whole.encode()) < 200_000


def test_a_report_of_two_hundred_markets_and_years_is_under_a_megabyte() -> None:
    names = [f"COIN{n}USDT" for n in range(200)]
    matrix = [[0.5] * 40] * 40
    large = example.report(
        performance=example.performance(days=1500),
        correlations=(content.Correlations("1h returns over 30 days", names[:40], matrix, (700, 719)),) * 2,
        movers=[example.mover(name, n / 1000 - 0.1, 1.5) for n, name in enumerate(names)],
        condition=DataCondition([example.condition(name) for name in names], (), 0),
    )
    text = page.rendered(large)
    assert len(text.encode()) < 1_000_000
    assert "And 170 more, which are in the lake." in Seen(text).text


def test_the_same_report_is_the_same_page(whole: str) -> None:
    assert page.rendered(example.report()) == whole


def test_no_two_elements_have_one_id(whole: str) -> None:
    ids = [value for name, value in Seen(whole).attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_a_chart_takes_its_colours_from_the_page(whole: str) -> None:
    charts = re.findall(r"<svg.*?</svg>", whole, re.DOTALL)
    assert len(charts) == 4
    for chart in charts:
        assert "var(--" in chart
        assert not re.search(r"(fill|stroke): ?#", chart), "a fixed colour is not readable on every page"
    assert "prefers-color-scheme: dark" in whole
    assert "@media print" in whole


def test_names_and_sentences_are_text_never_markup() -> None:
    hostile = example.report(
        portfolio=HOSTILE,
        performance=example.performance(benchmark=HOSTILE, asset=HOSTILE, note=HOSTILE),
        correlations=(content.Correlations(HOSTILE, (HOSTILE, "B"), ((None, 0.5), (0.5, None)), (5, 5)),),
        movers=[example.mover(HOSTILE, 0.01, 1.0), example.mover("B", 0.02, 1.0)],
        signals=[content.Signal(example.at(1), HOSTILE, HOSTILE, HOSTILE, HOSTILE, 0.1, HOSTILE)],
        anomalies=[content.Anomaly(example.at(1), HOSTILE, HOSTILE, 7.0, HOSTILE)],
        forecasts=[content.Forecast(HOSTILE, HOSTILE, HOSTILE, example.at(1), 0.1, 0.2, HOSTILE)],
        condition=DataCondition([example.condition(HOSTILE)], Absent(HOSTILE), 0),
        risk=Absent(HOSTILE),
    )
    found = seen(hostile)
    assert "script" not in found.tags
    assert "49" not in found.text.replace("249", ""), "nothing of it is evaluated"
    assert found.text.count(HOSTILE) > 10


@pytest.mark.parametrize("part", PARTS)
def test_a_part_without_data_says_why(part: str) -> None:
    text = only(**{part: Absent("It will be there on 2026-12-01.")})
    assert text.count("It will be there on 2026-12-01.") == 1
    assert text.count("Nothing.") == len(PARTS) - 1


def test_a_report_without_any_data_is_a_page() -> None:
    found = seen(example.report(**dict.fromkeys(PARTS, Absent("Nothing yet."))))
    assert found.text.count("Nothing yet.") == len(PARTS)
    assert "Nothing is known of this day yet; each part says why." in found.text
    assert "svg" not in found.tags


def test_a_day_without_signals_and_anomalies_says_so() -> None:
    text = only(signals=(), anomalies=())
    assert "No signals and no anomalies on the day." in text
    assert "No rule of config/signals.yaml fired on the day." in text


def test_the_lead_tells_the_day() -> None:
    told = [sentence.replace("\u202f", " ") for sentence in page.lead(example.report())]
    assert told == [
        "Up 1.24 % on the day, to 104,231.20 USDT, 0.31 points ahead of BTC (+0.93 %).",
        "SOL gave most (+0.62 points), XRP least (−0.01 points).",
        "Of 5 markets SOLUSDT did best (+2.71 %) and ETHUSDT worst (−2.41 %).",
        "1 signal and 3 anomalies on the day.",
        "The data of the day is complete for 1 of 3 markets: ETHUSDT is degraded, SOLUSDT is pending.",
    ]


@pytest.mark.parametrize(
    ("day", "benchmark", "told"),
    [
        (-0.02, -0.01, "Down 2.00 % on the day, to 104,231.20 USDT, 1.00 points behind BTC (−1.00 %)."),
        (0.0, None, "Unchanged on the day, to 104,231.20 USDT."),
        (-0.01, -0.03, "Down 1.00 % on the day, to 104,231.20 USDT, 2.00 points ahead of BTC (−3.00 %)."),
        (None, None, "The return of the day is not known: no price is known yet."),
    ],
)
def test_the_lead_says_up_and_down_ahead_and_behind(day: float | None, benchmark: float | None, told: str) -> None:
    performance = example.performance(day=day, benchmark_day=benchmark, reason="no price is known yet")
    assert next(iter(page.lead(example.report(performance=performance)))).replace("\u202f", " ") == told


def test_whatever_is_complete_is_said_to_be() -> None:
    one = DataCondition((example.condition("BTCUSDT"),), (), 0)
    *_, told = page.lead(example.report(condition=one))
    assert told == "The data of the day is complete, and proven so, for 1 market."


def test_of_one_day_there_is_no_curve_and_it_says_when() -> None:
    text = only(performance=example.performance(days=1))
    assert "The curve needs two days" in text
    assert "Return since the start" not in text


def test_a_missing_figure_of_risk_has_a_note_with_the_reason_once() -> None:
    text = only(risk=example.risk())
    assert text.count("1. too little history: fills on 2026-12-26") == 1


def test_a_table_is_cut_and_says_how_much_is_left() -> None:
    many = [content.Signal(example.at(1), f"S{n}", "1m", "rule", "buy", 0.1, "why") for n in range(page.MOST_ROWS + 5)]
    text = only(signals=many)
    assert "And 5 more, which are in the lake." in text
    assert f"S{page.MOST_ROWS - 1} " in text
    assert f"S{page.MOST_ROWS} " not in text


def test_a_market_whose_day_is_not_over_is_marked() -> None:
    text = only(movers=[example.mover("BTCUSDT", 0.01, 1.0, is_whole=False)])
    assert "BTCUSDT *" in text
    assert "* The day's candle is not over, or not proven complete." in text


def test_movers_stand_from_the_best_to_the_worst() -> None:
    text = only(movers=example.report().movers)
    table = text[text.index("Market Close Change") :]
    places = [table.index(name) for name in ("SOLUSDT", "BTCUSDT", "BNBUSDT", "XRPUSDT", "ETHUSDT")]
    assert all(left < right for left, right in pairwise(places))


@pytest.mark.parametrize(("percent", "told"), [(100.0, "100.00 %"), (99.9999, "99.99 %"), (98.504, "98.50 %")])
def test_what_lacks_anything_is_never_a_hundred_percent(percent: float, told: str) -> None:
    health = content.TableHealth("bronze.trades", 1, 0, 0, 0, 5.0, percent, "degraded")
    assert told in only(condition=DataCondition([example.condition("BTCUSDT")], [health], 0))


@pytest.mark.parametrize(("number", "told"), [(0, "no anomalies"), (1, "1 anomaly"), (2, "2 anomalies")])
def test_counts_are_words(number: int, told: str) -> None:
    assert page.counted(number, "anomaly") == told


def test_the_day_is_written_out() -> None:
    assert "main, Thursday 1 January 2026" in only(day=date(2026, 1, 1))
