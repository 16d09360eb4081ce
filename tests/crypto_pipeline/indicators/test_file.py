"""`config/indicators.yaml`: what it says, and what is refused."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from crypto_pipeline import indicators
from crypto_pipeline.indicators._file import IndicatorsFileError, Interval, Plan, load
from crypto_pipeline.silver.candles import INTERVALS
from shared.settings import PROJECT

RIGHT = """\
sets:
  - indicators: [sma_20, macd_12_26_9]
  - symbols: [BTCUSDT]
    intervals: [1h, 1d]
    indicators: [ema_1000, bb_20_2p5, sma_20]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "indicators.yaml"


@pytest.fixture
def right(file: Path) -> Plan:
    file.write_text(RIGHT)
    return load(file)


def names(plan: Plan, symbol: str, interval: str) -> list[str]:
    return [str(each) for each in plan.of(symbol, interval)]


def test_a_set_stands_on_its_symbols_and_intervals_alone(right: Plan) -> None:
    assert names(right, "BTCUSDT", "1h") == ["sma_20", "macd_12_26_9", "ema_1000", "bb_20_2p5"]
    assert names(right, "BTCUSDT", "1m") == names(right, "ETHUSDT", "1h") == ["sma_20", "macd_12_26_9"]


def test_the_columns_are_those_of_all_sets_once(right: Plan) -> None:
    columns = right.comments()
    assert list(columns) == [
        *("sma_20", "macd_12_26_9", "macd_signal_12_26_9", "macd_hist_12_26_9", "ema_1000"),
        *("bb_upper_20_2p5", "bb_middle_20_2p5", "bb_lower_20_2p5"),
    ]
    assert columns["ema_1000"].endswith("Here period = 1000. Only on BTCUSDT 1h, 1d.")
    assert columns["bb_upper_20_2p5"].endswith("Here period = 20, width = 2.5. Only on BTCUSDT 1h, 1d.")
    assert columns["sma_20"].endswith("Here period = 20.")


def test_the_look_back_is_that_of_what_stands_on_the_candle(right: Plan) -> None:
    assert right.lookback("BTCUSDT", "1d", 86400) > 10_000
    assert right.lookback("BTCUSDT", "1m", 60) == right.lookback("ETHUSDT", "1d", 86400) < 500


def test_the_project_s_own_file_has_every_indicator_on_every_candle() -> None:
    plan = load(PROJECT / "config" / "indicators.yaml")
    assert names(plan, "ANY", "1m") == [
        *("sma_20", "sma_50", "sma_200", "ema_12", "ema_26", "ema_50", "ema_200", "rsi_14", "macd_12_26_9", "bb_20_2"),
        *("atr_14", "stoch_14_3_3", "adx_14", "vwap_session", "obv_session"),
    ]
    assert {each.indicator for each in plan.studies} == set(indicators.found())


def test_the_file_s_intervals_are_those_of_the_candles() -> None:
    assert get_args(Interval) == tuple(INTERVALS)


HEAD = "sets:\n  - indicators:\n      - sma_20\n"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (f"{HEAD}      - smaa_20", 4, "there is no indicator of the name smaa_20; there are adx, atr, bb, ema, macd"),
        (f"{HEAD}      - ema", 4, "ema names 0 parameters; write it as ema_PERIOD"),
        (f"{HEAD}      - macd_12_26", 4, "macd_12_26 names 2 parameters; write it as macd_FAST_SLOW_SIGNAL"),
        (f"{HEAD}      - macd_26_12_9", 4, "macd_26_12_9: fast must be less than slow"),
        (f"{HEAD}      - vwap_session_9", 4, "names 1 parameters; write it as vwap_session"),
        (f"{HEAD}      - ema_1", 4, "period of ema_1: Input should be greater than or equal to 2"),
        (f"{HEAD}      - ema_1001", 4, "period of ema_1001: Input should be less than or equal to 1000"),
        (f"{HEAD}      - ema_2p5", 4, "period of ema_2p5: Input should be a valid integer"),
        (f"{HEAD}      - ema_x", 4, "period of ema_x: Input should be a valid integer"),
        (f"{HEAD}      - ema_020", 4, "ema_020 is written ema_20"),
        (f"{HEAD}      - bb_20_2p0", 4, "bb_20_2p0 is written bb_20_2"),
        (f"{HEAD}      - bb_20_nan", 4, "width of bb_20_nan"),
        (f"{HEAD}      - 20", 4, "give the name of an indicator with its parameters, such as sma_20"),
        (f"{HEAD}      - {{ema: 20}}", 4, "give the name of an indicator"),
        (f"{HEAD}      - sma_20", 4, "sma_20 stands twice"),
        (f"{HEAD}    symbols: [btcusdt]", 4, "sets.0.symbols.0: String should match pattern"),
        (f"{HEAD}    symbols: []", 4, "at least 1 item"),
        (f"{HEAD}    symbols:", 4, "valid tuple"),
        (f"{HEAD}    symbols: [BTCUSDT, BTCUSDT]", 4, "BTCUSDT stands twice"),
        (f"{HEAD}    intervals: [1m, 2h]", 4, "sets.0.intervals.1: Input should be '1m', '5m', '15m', '1h', '4h' or"),
        (f"{HEAD}    interval: [1m]", 4, "Extra inputs are not permitted"),
        (f"{HEAD}    indicators: [ema_20]", 4, "'indicators' stands twice"),
        (f"{HEAD}  - symbols: [BTCUSDT]", 4, "sets.1.indicators: Field required"),
        (f"{HEAD}  - [", 4, "not YAML"),
        ("sets: []", 1, "at least 1 item"),
        ("sma_20", 1, "valid dictionary"),
        ("", 1, "is empty; it needs `sets`"),
    ],
)
def test_a_wrong_file_is_refused_with_file_line_and_reason(file: Path, text: str, line: int, reason: str) -> None:
    file.write_text(text)
    with pytest.raises(IndicatorsFileError) as refusal:
        load(file)
    message = str(refusal.value)
    assert message.startswith(f"{file}:{line}: ")
    assert reason in message
    assert message.endswith(".")


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(IndicatorsFileError, match="cannot be read"):
        load(file)


def test_the_contract_follows_the_file_also_where_it_leaves_out_what_a_rule_spoke_of(file: Path) -> None:
    file.write_text("sets: [{indicators: [rsi_21, ema_9]}]")
    program = "from crypto_pipeline.silver.indicators import TABLE; print(TABLE.column_names, dict(TABLE.rules))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"INDICATORS_FILE": str(file), "PYTHONPATH": str(PROJECT), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'rsi_21', 'ema_9', 'ingestion_ts'" in done.stdout
    assert "rsi_21 is null or rsi_21 between 0 and 100" in done.stdout
    assert "rsi_14" not in done.stdout
