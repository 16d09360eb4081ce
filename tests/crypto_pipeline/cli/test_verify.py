"""What `crypto verify` prints, and how it ends."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from crypto_pipeline.cli import app
from crypto_pipeline.reader import LakeError
from crypto_pipeline.verify import verdict as looking
from crypto_pipeline.verify.verdict import Found, Verdict, VerifyError

MOMENT = datetime(2026, 11, 21, 9, 14, tzinfo=UTC)
SAYS = {"exchange": "binance", "symbol": "BTCUSDT", "at": MOMENT, "says": "another high"}
RIGHT = Found(1, "a trade stands once", "trades", 1_203_112)
WRONG = Found(10, "silver.ohlcv_1m equals bronze in every field", "minutes", 2880, 3, [SAYS])
UNSEEN = Found(10, "silver.indicators equals what its sources give today", "rows", None, why_not="Spark was not asked")


def verdict(*found: Found) -> Verdict:
    return Verdict(date(2026, 11, 20), date(2026, 11, 21), ("BTCUSDT",), MOMENT, 12, list(found))


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command, which finds this, or fails so."""

    def run(outcome: Verdict | Exception, *arguments: str) -> Any:
        def look(_tables: object, _lake: object, *_range: object) -> Verdict:
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(looking, "verify", look)
        return CliRunner().invoke(app, ["verify", "--without-spark", *arguments], env={"COLUMNS": "200"})

    return run


def test_where_nothing_is_broken_it_says_so_and_ends_with_0(ends: Any) -> None:
    result = ends(verdict(RIGHT, UNSEEN))
    assert result.exit_code == 0
    assert "BTCUSDT, 2026-11-20 to 2026-11-21, as of 2026-11-21T09:14:00Z" in result.output
    assert "1  A trade is in bronze exactly once" in result.output
    assert "1,203,112" in result.output
    assert "Spark was not asked" in result.output
    assert "12 minutes were not judged" in result.output
    assert result.output.rstrip().endswith("No promise is broken.")


def test_where_a_promise_is_broken_it_ends_with_1_and_an_example(ends: Any) -> None:
    result = ends(verdict(RIGHT, WRONG))
    assert result.exit_code == 1
    assert "BTCUSDT 2026-11-21 09:14:00: another high" in result.output
    assert result.output.rstrip().endswith("Broken: promise 10.")


def test_json_says_all_of_it(ends: Any) -> None:
    result = ends(verdict(RIGHT, WRONG, UNSEEN), "--json")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert (said["from"], said["to"], said["symbols"]) == ("2026-11-20", "2026-11-21", ["BTCUSDT"])
    assert (said["as_of"], said["moving"], said["broken"]) == ("2026-11-21T09:14:00Z", 12, [10])
    right, wrong, unseen = said["checks"]
    assert (right["looked_at"], right["unit"], right["offenders"], right["why_not"]) == (1_203_112, "trades", 0, None)
    assert wrong["examples"] == [{**SAYS, "at": "2026-11-21T09:14:00Z"}]
    assert (unseen["looked_at"], unseen["why_not"]) == (None, "Spark was not asked")


@pytest.mark.parametrize(
    "error", [VerifyError("There is nothing from here to there."), LakeError("It is not running.")]
)
def test_what_cannot_be_looked_at_is_one_sentence(ends: Any, error: Exception) -> None:
    result = ends(error)
    assert result.exit_code == 1
    assert str(error) in result.output
    assert "Traceback" not in result.output


def test_a_range_that_ends_before_it_begins_is_refused(ends: Any) -> None:
    result = ends(verdict(), "--from", "2026-11-21", "--to", "2026-11-20")
    assert result.exit_code == 2
    assert "--to is before --from" in result.output
