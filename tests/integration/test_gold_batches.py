"""One id from the offsets in Kafka to gold, on the deployed system: its tables note it and its runs log it."""

import json
from datetime import datetime
from typing import Any

import pytest

from crypto_pipeline.batches import trace
from crypto_pipeline.catalog import tables
from crypto_pipeline.reader import notes
from shared.symbol_manager import topic
from shared.tables import BATCH_ID
from tests.system import SYMBOLS, System, wait_for

IN_GOLD = "gold.market_overview"


@pytest.fixture(scope="module")
def batch_id(system: System) -> str:
    """The newest batch that gold holds."""
    noted = notes(tables()[IN_GOLD], BATCH_ID, system.settings())
    if not noted:  # test_gold.py has not made it
        wait_for("indicators", lambda: notes(tables()["silver.indicators"], BATCH_ID, system.settings()))
        with system.no_new_minute():
            system.run("analytics", {}, {})
        noted = notes(tables()[IN_GOLD], BATCH_ID, system.settings())
    assert noted
    return noted.values[BATCH_ID]


def test_a_batch_is_followed_from_its_offsets_to_gold(system: System, batch_id: str) -> None:
    done = system.crypto("batch", batch_id[:8], "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["batch_id"] == batch_id
    assert {span["topic"] for span in found["messages"]} >= {topic(symbol) for symbol in SYMBOLS}
    assert all(0 <= (span["first"] or 0) < span["until"] for span in found["messages"])
    since = {one["table"]: datetime.fromisoformat(one["since"]) for one in found["held_by"]}
    for chain in (
        ("bronze.klines", "silver.ohlcv_1m", "silver.ohlcv", "silver.indicators"),
        ("silver.ohlcv_1m", IN_GOLD),
    ):
        assert [since[table] for table in chain] == sorted(since[table] for table in chain)


def test_a_batch_begins_where_the_one_before_it_ends(system: System) -> None:
    first = trace(system.settings()).batch_id

    def follower() -> str | None:
        newest = trace(system.settings()).batch_id
        return newest if newest != first else None

    second = wait_for("another batch", follower, every=1)
    before, after = trace(system.settings(), first), trace(system.settings(), second)
    ends = {(span.topic, span.partition): span.until for span in before.messages}
    begins = {(span.topic, span.partition): span.first for span in after.messages}
    both = ends.keys() & begins.keys()
    assert both >= {(topic(symbol), 0) for symbol in SYMBOLS}
    assert {where: ends[where] for where in both} == {where: begins[where] for where in both}


def test_the_runs_that_worked_on_it_say_so_in_their_log(system: System, batch_id: str) -> None:
    log = system.home / "var" / "demo" / "log" / "dagster-code.log"
    said = [json.loads(line) for line in log.read_text().splitlines() if batch_id in line]
    mine = [line for line in said if line.get("batch_id") == batch_id]
    assert {line.get("job") for line in mine} >= {"pipeline", "analytics"}
    assert {line.get("step") for line in mine} >= {
        "bronze",
        "silver__ohlcv_1m",
        "silver__indicators",
        "gold__market_overview",
    }
    assert any("rows written to bronze.trades in" in line["event"] for line in mine)


def test_a_batch_that_is_not_known_is_answered_with_what_is(system: System) -> None:
    done = system.crypto("batch", "nosuch")
    assert done.returncode == 1
    assert "No batch 'nosuch' is known: the latest are " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_person_reads_which_messages_and_which_tables(system: System, batch_id: str) -> None:
    done = system.crypto("batch", batch_id)
    assert done.returncode == 0, done.stderr
    for said in (batch_id, topic("BTCUSDT"), "bronze.klines", IN_GOLD):
        assert said in done.stdout, said


WRITE_THEIR_OWN_LINES = ("postgres", "deploy", "supervisord")


def test_with_log_format_json_every_line_of_every_log_is_an_object(system: System) -> None:
    logs = [
        log for log in (system.home / "var" / "demo" / "log").glob("*.log") if log.stem not in WRITE_THEIR_OWN_LINES
    ]
    assert len(logs) > 10
    for log in logs:
        lines = log.read_text().splitlines()[:-1]  # the last may be half written
        assert [line for line in lines if not line.startswith("{") or not isinstance(json.loads(line), dict)] == [], log
