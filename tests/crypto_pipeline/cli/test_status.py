import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console

from crypto_pipeline.cli.status import as_json, duration, memory, rendered
from crypto_pipeline.monitoring import Asset, Run, Status, Topic
from deployment.health import ServiceHealth

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
STATUS = Status(
    mode="demo",
    at=NOW,
    healthy=False,
    reasons=["kafka is not healthy: no answer."],
    services=[ServiceHealth("kafka", False, "no answer", 7, 90.0, 250_000_000)],
    exchanges={"binance": 2},
    reading_paused=False,
    open_gaps=4,
    spooled=1500,
    dead_letters=None,
    topics=[Topic("crypto_raw_btcusdt", 12.0, 15_000, None)],
    assets=[
        Asset("silver.ohlcv", "pipeline", NOW, 0.0, "SUCCESS", 5),
        Asset("gold.new", "pipeline", None, None, None, None),
    ],
    last_run=Run("5197669f", "SUCCESS", NOW, 19.6),
    disk_percent=83.4,
)
NOTHING = Status("live", NOW, False, ["Nothing is deployed here."], [], {}, None, None, None, None, [], [], None, None)


def on_screen(status: Status, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as captured:
        console.print(rendered(status))
    return captured.get()


def test_the_title_names_the_mode_and_the_verdict_and_the_reasons_follow() -> None:
    lines = on_screen(STATUS).splitlines()
    assert lines[0].startswith("crypto lakehouse, demo mode: not healthy")
    assert lines[1].strip() == "✗ kafka is not healthy: no answer."
    assert "binance: 2 connections, 1,500 messages wait in the spool; gaps being repaired: 4;" in lines[2]
    assert "last run: SUCCESS, 0 s ago, took 20 s; disk: 83 % full" in lines[2]


@pytest.mark.parametrize("word", ["250 MB", "90 s", "15,000", "12.0", "09:00:00", "never"])
def test_the_tables_show_the_figures(word: str) -> None:
    assert word in on_screen(STATUS)


def test_what_is_not_known_leaves_its_place_empty() -> None:
    assert "None" not in on_screen(STATUS) + on_screen(NOTHING)


def test_the_json_has_every_field_and_times_in_utc() -> None:
    found = json.loads(as_json(STATUS))
    assert list(found) == [
        *("mode", "at", "healthy", "reasons", "services", "exchanges", "reading_paused", "open_gaps", "spooled"),
        *("dead_letters", "topics", "assets", "last_run", "disk_percent"),
    ]
    assert found["at"] == found["assets"][0]["materialized_at"] == "2026-11-21T09:00:00Z"
    assert set(found["services"][0]) == {"name", "healthy", "reason", "pid", "uptime_seconds", "memory_bytes"}
    assert found["topics"][0]["lag"] is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.4, "0 s"), (119, "119 s"), (180, "3 min"), (19_200, "5 h 20 min"), (356_400, "4 d 3 h")],
)
def test_a_duration_is_short(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_memory_that_is_not_known_is_empty() -> None:
    assert memory(None) == ""
