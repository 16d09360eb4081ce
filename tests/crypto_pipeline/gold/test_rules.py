"""`config/signals.yaml`: what a rule says, where its condition holds, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.gold._rules import Candles, Condition, Known, Rules, SignalsFileError, becomes_true, load
from crypto_pipeline.indicators._file import load as load_plan
from crypto_pipeline.indicators._file import plan
from shared.settings import PROJECT

HEAD = "costs: {fee_bps: 10, spread_bps: 2}\nrules:\n"
RIGHT = "  - {name: right, side: buy, when: {crosses_above: [ema_12, ema_26]}}\n"
KNOWN = Known(("close", "ema_12", "ema_26", "rsi_14", "macd_hist_12_26_9"), {"close", "ema_12", "ema_26"})
NAN = float("nan")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "signals.yaml"


def loaded(file: Path, text: str) -> Rules:
    file.write_text(text)
    return load(file, plan())


def condition(**value: object) -> Condition:
    return Condition.model_validate(value, context=KNOWN)


def places(of: Condition, apart: int | None = None, **values: list[float]) -> list[int]:
    """On which candles it becomes true; `apart`: the candle that may not be compared with the one before."""
    count = len(next(iter(values.values())))
    has_before = np.arange(count) > 0
    if apart is not None:
        has_before[apart] = False
    arrays = {"close": np.full(count, 1.0)} | {name: np.array(each, dtype=float) for name, each in values.items()}
    happens, _ = becomes_true(of, Candles(arrays, has_before, KNOWN.prices))
    return np.flatnonzero(happens).tolist()


CROSS = condition(crosses_above=["ema_12", "ema_26"])


@pytest.mark.parametrize(
    ("fast", "slow", "expected"),
    [
        ([1, 3], [2, 2], [1]),
        ([1, 2, 3], [2, 2, 2], [2]),  # equal is not above
        ([3, 2, 3], [2, 2, 2], [2]),  # to touch and to part again is a crossing
        ([3, 3, 3], [2, 2, 2], []),
        ([3, 1], [2, 2], []),
        ([3], [2], []),  # nobody knows what was before the first
        ([NAN, 3], [2, 2], []),  # nor before the warm-up was over
        ([1, NAN, 3], [2, 2, 2], []),
        ([1, 3, 3, 1, 3], [2, 2, 2, 2, 2], [1, 4]),
        ([2, 2 + 1e-10], [2, 2], []),  # no indicator is known so exactly
        ([], [], []),
    ],
)
def test_a_crossing_is_above_now_and_known_not_to_be_on_the_candle_before(
    fast: list[float], slow: list[float], expected: list[int]
) -> None:
    assert places(CROSS, ema_12=fast, ema_26=slow) == expected
    assert places(condition(crosses_below=["ema_26", "ema_12"]), ema_12=fast, ema_26=slow) == expected


def test_a_candle_is_not_compared_with_one_that_lies_too_far_before_it() -> None:
    assert places(CROSS, apart=1, ema_12=[1, 3], ema_26=[2, 2]) == []


def test_a_level_is_a_signal_on_the_candle_on_which_it_begins() -> None:
    below = condition(below=["rsi_14", 30])
    assert places(below, rsi_14=[NAN, 25, 25, 35, 30, 29, 28, 31]) == [5]


def test_what_is_near_nothing_is_measured_by_the_price() -> None:
    noise = [-1e-14, 1e-14, -1e-14, 1e-14]
    turns = condition(crosses_above=["ema_12", 0])
    assert places(turns, close=[60_000.0] * 4, ema_12=noise) == []
    assert places(turns, close=[1e-8] * 4, ema_12=[-1e-10, 1e-10, -1e-10, 1e-10]) == [1, 3]


def test_all_is_true_where_each_is_and_any_where_one_is() -> None:
    crossing, low = {"crosses_above": ["ema_12", "ema_26"]}, {"below": ["rsi_14", 30]}
    values = {"ema_12": [1.0, 3, 1, 3, 3], "ema_26": [2.0] * 5, "rsi_14": [50.0, 20, 20, 50, NAN]}
    assert places(condition(all=[crossing, low]), **values) == [1]
    assert places(condition(any=[crossing, low]), **values) == [1]
    assert places(condition(any=[crossing, low]), **(values | {"rsi_14": [50.0, 50, 50, 50, 20]})) == [1, 3]


def test_what_has_crossed_before_is_known_not_to_cross() -> None:
    either = condition(any=[{"crosses_above": ["ema_12", "ema_26"]}, {"below": ["rsi_14", 30]}])
    assert places(either, ema_12=[3.0, 3, 3], ema_26=[2.0] * 3, rsi_14=[50.0, 50, 20]) == [2]


def test_what_rests_on_a_value_that_is_not_known_is_neither_true_nor_false() -> None:
    low, high = {"below": ["rsi_14", 30]}, {"above": ["ema_12", 2]}
    both = {"rsi_14": [NAN, 20.0, 20], "ema_12": [1.0, 1, 3]}
    assert places(condition(any=[low, high]), **both) == [], "it may have been true on the first"
    assert places(condition(all=[low, high]), **both) == [2], "one that is false is enough"
    assert places(condition(all=[low, high]), rsi_14=[NAN, 20.0], ema_12=[1.0, 3]) == [1]


def test_the_strength_is_the_distance_as_a_part_of_the_values_or_the_price() -> None:
    count = np.array([False, True])

    def strength(of: Condition) -> float:
        values = {"close": [100.0, 100], "ema_12": [1.0, 6], "ema_26": [5.0, 5], "rsi_14": [50.0, 24]}
        arrays = {name: np.array(each, dtype=float) for name, each in values.items()}
        return float(becomes_true(of, Candles(arrays, count, KNOWN.prices))[1][1])

    crossing, low = {"crosses_above": ["ema_12", "ema_26"]}, {"below": ["rsi_14", 30]}
    assert strength(condition(**crossing)) == pytest.approx(0.01)
    assert strength(condition(**low)) == pytest.approx(0.2)
    assert strength(condition(all=[crossing, low])) == pytest.approx(0.01)
    assert strength(condition(any=[crossing, low])) == pytest.approx(0.2)
    assert strength(condition(any=[crossing, {"below": ["rsi_14", 10]}])) == pytest.approx(0.01), "of those that hold"


numbers = st.sampled_from([NAN, 1.0, 2.0, 3.0])


@given(st.lists(st.tuples(numbers, numbers), max_size=20))
def test_a_crossing_is_what_a_plain_loop_finds(pairs: list[tuple[float, float]]) -> None:
    expected = [
        n
        for n in range(1, len(pairs))
        if pairs[n][0] > pairs[n][1] and pairs[n - 1][0] <= pairs[n - 1][1]  # false where one is NaN
    ]
    assert places(CROSS, ema_12=[a for a, _ in pairs], ema_26=[b for _, b in pairs]) == expected


def test_the_project_s_own_rules_are_right() -> None:
    ours = load(PROJECT / "config" / "signals.yaml", load_plan(PROJECT / "config" / "indicators.yaml"))
    assert ours.refused == ()
    kinds = " ".join(rule.definition for rule in ours.rules)
    assert all(each in kinds for each in ("ema_", "sma_", "rsi_", "macd_", "bb_upper_", "all("))


def test_a_rule_says_what_it_is(file: Path) -> None:
    text = "  - {name: dip, side: buy, intervals: [1h], symbols: [BTCUSDT], when: {all: [{below: [rsi_14, 30.5]}, "
    [rule] = loaded(file, HEAD + text + "{any: [{above: [close, sma_200]}, {crosses_below: [0, adx_14]}]}]}}").rules
    assert rule.definition == "buy when all(below(rsi_14, 30.5), any(above(close, sma_200), crosses_below(0, adx_14)))"
    assert rule.when.columns == ("rsi_14", "close", "sma_200", "adx_14")
    assert rule.looks_at("BTCUSDT", "1h")
    assert not rule.looks_at("BTCUSDT", "1m")
    assert not rule.looks_at("ETHUSDT", "1h")


def rule(when: str, name: str = "wrong", side: str = "buy") -> str:
    return f"  - name: {name}\n    side: {side}\n    when:\n      {when}\n"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (rule("crosses_above: [ema_13, ema_26]"), 7, "config/indicators.yaml has no ema_13: add its indicator there"),
        (rule("all: [{above: [close, 1]}, {below: [\n        rsi_99, 30]}]"), 8, "has no rsi_99"),
        (rule("crosses: [ema_12, ema_26]"), 6, "a condition is one of above, below, crosses_above, crosses_below, all"),
        (rule("{above: [close, 1], below: [close, 2]}"), 6, "a condition is one of"),
        (rule("{}"), 6, "a condition is one of"),
        (rule("above:"), 6, "above is of nothing: give it a list"),
        (rule("above: [close]"), 7, "Field required"),
        (rule("above: [close, 1, 2]"), 7, "at most 2"),
        (rule("above: [1, 2]"), 6, "two numbers never change"),
        (rule("above: [close, close]"), 6, "close is compared with itself"),
        (rule("above: [close, .nan]"), 7, "give a number that is finite"),
        (rule("above: [close, true]"), 7, "give the name of an indicator's column"),
        (rule("all: [{above: [close, 1]}]"), 7, "at least 2 items"),
        (rule("above: [close, 1]", name="Wrong"), 4, "should match pattern"),
        (rule("above: [close, 1]", name="right"), 4, "right stands twice"),
        (rule("above: [close, 1]", name="always_long"), 4, "is what rules are compared with"),
        (rule("above: [close, 1]", side="long"), 5, "should be 'buy' or 'sell'"),
        (rule("above: [close, 1]") + "    intervals: [2h]\n", 8, "should be '1m', '5m'"),
        (rule("above: [close, 1]") + "    intervals: [1h, 1h]\n", 8, "one stands twice"),
        (rule("above: [close, 1]") + "    interval: [1h]\n", 8, "Extra inputs are not permitted"),
        ("  - wrong\n", 4, "valid dictionary"),
    ],
)
def test_a_wrong_rule_is_refused_with_file_line_and_reason_and_the_others_go_on(
    file: Path, text: str, line: int, reason: str
) -> None:
    rules = loaded(file, HEAD + RIGHT + text)
    assert [each.name for each in rules.rules] == ["right"]
    [refused] = rules.refused
    assert refused.startswith(f"{file}:{line}: rules.1"), refused
    assert reason in refused
    assert refused.endswith(".")


def test_a_rule_whose_indicator_stands_on_none_of_its_candles_is_refused(file: Path, tmp_path: Path) -> None:
    indicators = tmp_path / "indicators.yaml"
    indicators.write_text("sets: [{indicators: [sma_20]}, {intervals: [1h], indicators: [ema_9]}]")
    text = HEAD + "  - {name: some, side: buy, when: {above: [close, ema_9]}}\n"
    file.write_text(text + "  - {name: none, side: buy, intervals: [1m], when: {above: [close, ema_9]}}\n")
    rules = load(file, load_plan(indicators))
    assert [each.name for each in rules.rules] == ["some"]
    assert rules.refused[0].startswith(f"{file}:4: rules.1.when: ema_9 stands on none of these candles")


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "is empty; it needs `costs` and `rules`"),
        ("rules:\n  - [", 2, "not YAML"),
        (f"rules:\n{RIGHT}", 1, "costs: Field required"),
        (f"costs: {{fee_bps: -1, spread_bps: 2}}\nrules:\n{RIGHT}", 1, "greater than or equal to 0"),
        ("costs: {fee_bps: 1, spread_bps: 2}\nrules: []", 2, "at least 1 item"),
        (f"{HEAD}{RIGHT}rule: 1", 4, "Extra inputs are not permitted"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_whole(file: Path, text: str, line: int, reason: str) -> None:
    with pytest.raises(SignalsFileError) as refusal:
        loaded(file, text)
    assert str(refusal.value).startswith(f"{file}:{line}: ")
    assert reason in str(refusal.value)
