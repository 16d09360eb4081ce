"""A line for people, or an object a line."""

import json
import logging
from datetime import UTC, datetime

import pytest
from structlog.contextvars import bound_contextvars

from shared import logs
from shared.settings import LogFormat


def line(log_format: LogFormat, message: str, *values: object, error: bool = False) -> str:
    """What a record becomes."""
    raised = ValueError("no such thing")
    exc_info = (type(raised), raised, None) if error else None
    record = logging.LogRecord("streaming.feed", logging.WARNING, __file__, 1, message, values, exc_info)
    with bound_contextvars(batch_id="b1"):
        return logs.formatter(log_format).format(record)


def test_json_has_one_object_a_line_that_says_when_who_and_what() -> None:
    told = line("json", "%s: caf\u00e9 \n %d", "binance", 3)
    assert "\n" not in told
    said = json.loads(told)
    assert abs((datetime.fromisoformat(said.pop("timestamp")) - datetime.now(UTC)).total_seconds()) < 60
    assert said == {
        "level": "warning",
        "logger": "streaming.feed",
        "event": "binance: caf\u00e9 \n 3",
        "batch_id": "b1",
    }


def test_json_keeps_a_traceback_in_its_line() -> None:
    told = line("json", "it failed", error=True)
    assert "\n" not in told
    assert json.loads(told)["exception"].endswith("ValueError: no such thing")


@pytest.mark.parametrize("said", ["[warning", "binance: caf\u00e9 3", "[streaming.feed]", "batch_id=b1"])
def test_text_is_for_people(said: str) -> None:
    assert said in line("text", "%s: caf\u00e9 %d", "binance", 3)


def test_text_shows_a_traceback_below() -> None:
    first, *below = line("text", "it failed", error=True).splitlines()
    assert "it failed" in first
    assert below[-1] == "ValueError: no such thing"
