"""`docs/recipes/read-from-other-tools.md`: every snippet runs as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import yaml

from crypto_pipeline.assets.served import ServingConfig
from serving.reader import query
from serving.tables import served
from serving.writer import write
from shared.settings import PROJECT, Settings
from tests.serving.rows import arrow, candle

SNIPPETS = re.findall(
    r"^```(\w+)\n(.*?)^```$", (PROJECT / "docs/recipes/read-from-other-tools.md").read_text(), re.DOTALL | re.MULTILINE
)


@pytest.fixture
def environment(database: psycopg.Connection, migrated: Settings) -> dict[str, str]:
    """That of a deployment whose tables have some rows."""
    rows = {
        "silver.fact_ohlcv": [candle(minute) for minute in range(5)] + [candle(0, interval="1h")],
        "bronze.gaps": [{"exchange": "binance", "symbol": "BTCUSDT", "gap_stream": "trade", "first_missing": 1}],
        "gold.market_overview": [{"exchange": "binance", "symbol": "BTCUSDT"}],
    }
    for name, values in rows.items():
        write(database, served()[name], [arrow(served()[name], values)], {"source": "1"})
    return {
        **os.environ,
        "POSTGRES_PORT": str(migrated.postgres_port),
        "SERVING_READER_PASSWORD": migrated.serving_reader_password.get_secret_value(),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


@pytest.mark.parametrize(("kind", "snippet"), [each for each in SNIPPETS if each[0] in ("python", "sh")])
def test_a_snippet_runs_and_prints_something(environment: dict[str, str], kind: str, snippet: str) -> None:
    command = [sys.executable, "-c"] if kind == "python" else ["bash", "-euc"]
    done = subprocess.run(
        [*command, snippet], env=environment, cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


@pytest.mark.parametrize("snippet", [text for kind, text in SNIPPETS if kind == "sql"])
def test_a_question_is_answered(environment: dict[str, str], migrated: Settings, snippet: str) -> None:
    assert query(snippet, migrated).num_columns


def test_the_reload_is_one_that_the_job_takes() -> None:
    [snippet] = [text for kind, text in SNIPPETS if kind == "yaml"]
    assert set(ServingConfig(**yaml.safe_load(snippet)["ops"]["served_tables"]["config"]).reload) <= set(served())


def test_every_snippet_is_of_a_kind_that_is_run() -> None:
    assert {kind for kind, _ in SNIPPETS} == {"python", "sh", "sql", "yaml"}
