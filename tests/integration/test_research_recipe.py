"""`docs/recipes/research-in-python.md`: every snippet runs as it stands there."""

import re
import subprocess

import pytest

from shared.settings import Settings
from tests.system import PROJECT, System, wait_for

RECIPE = (PROJECT / "docs" / "recipes" / "research-in-python.md").read_text()
SNIPPETS = re.findall(r"^```(\w+)\n(.*?)^```$", RECIPE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module", autouse=True)
def _candles(system: System) -> None:
    known = "select 1 from silver.ohlcv_1m where status = 'complete' and known_at < now() - interval 2 minutes"
    for symbol in ("BTCUSDT", "ETHUSDT"):
        wait_for(f"minutes of {symbol}", lambda symbol=symbol: system.query(f"{known} and symbol = '{symbol}'"))
    wait_for("indicators", lambda: system.query("select 1 from silver.indicators where symbol = 'ETHUSDT'"))


@pytest.mark.parametrize("snippet", [text for kind, text in SNIPPETS if kind == "python"])
def test_a_snippet_runs_and_prints_something(system: System, snippet: str) -> None:
    command = [str(PROJECT / ".venv" / "bin" / "python"), "-c", snippet]
    done = subprocess.run(command, env=system.environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_the_settings_of_another_machine_are_settings() -> None:
    [text] = [text for kind, text in SNIPPETS if kind == "ini"]
    names = {line.partition("=")[0].lower() for line in text.splitlines()}
    mentioned = {name.lower() for name in re.findall(r"`(S3_\w+)`", RECIPE)}
    assert names | mentioned <= set(Settings.model_fields)


def test_every_snippet_is_of_a_kind_that_is_tested() -> None:
    assert {kind for kind, _ in SNIPPETS} == {"python", "ini"}
