"""What a late trade has written, by the statistics of the commits themselves."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.system import PROJECT, System

Written = dict[str, dict[str, int]]
"""Rows by table, of each pass."""


@pytest.fixture(scope="module")
def written(system: System) -> Written:
    """What late_data_script.py saw."""
    script = Path(__file__).with_name("late_data_script.py")
    command = [str(PROJECT / ".venv" / "bin" / "python"), str(script)]
    given = {**system.environment, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: Written = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_pass_without_anything_new_writes_no_row(written: Written) -> None:
    assert set(written["nothing new"].values()) == {0}


def test_a_trade_that_comes_days_late_writes_its_candle_and_the_five_above_it(written: Written) -> None:
    assert written["first"]["silver.ohlcv_1m"] == 300
    late = written["late"]
    assert (late["silver.ohlcv_1m"], late["silver.ohlcv"], late["silver.quiet_intervals"]) == (1, 5, 0)
