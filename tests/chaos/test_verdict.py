"""The judge itself: what follows from what was sent and done, on a tape of a few trades."""

from typing import Any

import pyarrow as pa
import pytest

from tests.chaos import verdict
from tests.chaos.facts import JUDGED, MINUTE, SENT, Disturbance, Facts, table_of

SYMBOL = "BTCUSDT"
START = 1_000 * MINUTE
MINUTES = 6
A_MINUTE = 4
"""Trades; their ids count from 1."""
NO_TRADES = {"symbol": pa.array([], pa.string()), "trade_id": pa.array([], pa.int64())}
NO_FILLS = {
    "symbol": pa.array([], pa.string()),
    "first_trade_id": pa.array([], pa.int64()),
    "last_trade_id": pa.array([], pa.int64()),
}


def made(sent: list[tuple[int, int]], candles_sent: list[int], *done: Disturbance) -> Facts:
    """A tape of which these ranges of ids, and the closed candles of these minutes, were sent."""
    ids = range(1, MINUTES * A_MINUTE + 1)
    times = [START + (number - 1) * MINUTE // A_MINUTE for number in ids]
    minutes = [START + number * MINUTE for number in range(MINUTES)]
    rows = [(SYMBOL, "trade", *both) for both in sent]
    rows += [(SYMBOL, "kline_1m", minutes[number], minutes[number]) for number in candles_sent]
    facts = Facts(
        {
            "made_trades": pa.table({"symbol": [SYMBOL] * len(ids), "trade_id": list(ids), "time": times}),
            "made_klines": pa.table({"symbol": [SYMBOL] * MINUTES, "open_time": minutes}),
            "trades": pa.table(NO_TRADES),
            "agg_trades": pa.table(NO_FILLS),
            "sent": table_of(SENT, rows),
            "judged": table_of(JUDGED, [(SYMBOL, 1, START, START + MINUTES * MINUTE)]),
        },
        done,
    )
    verdict.prepare(facts)
    return facts


def expected(facts: Facts) -> dict[int, tuple[Any, Any]]:
    """Statuses and sources that each minute may have, by its number."""
    rows = facts.rows("select minute, statuses, sources from expected")
    return {(row["minute"] - START) // MINUTE: (row["statuses"], row["sources"]) for row in rows}


def test_where_all_was_sent_every_minute_is_complete_by_the_websocket() -> None:
    found = expected(made([(1, 24)], [0, 1, 2, 3, 4, 5]))
    assert found == dict.fromkeys(range(MINUTES), (["complete"], ["websocket"]))


def test_a_trade_that_was_not_sent_makes_its_minute_repaired_and_no_other() -> None:
    facts = made([(1, 5), (7, 24)], [0, 1, 2, 3, 4, 5])
    assert [row["trade_id"] for row in facts.rows("from unsent")] == [6]
    found = expected(facts)
    assert found[1] == (["repaired"], ["websocket"])
    assert {number for number, (statuses, _) in found.items() if statuses != ["complete"]} == {1}


def test_a_candle_that_was_not_sent_is_made_of_trades() -> None:
    assert expected(made([(1, 24)], [0, 1, 3, 4, 5]))[2] == (["complete"], ["trades"])


@pytest.mark.parametrize("kind", ["kill of streaming", "cut"])
def test_around_a_loss_a_minute_may_say_either(kind: str) -> None:
    at = START + 2 * MINUTE + MINUTE // 2
    found = expected(made([(1, 24)], [0, 1, 2, 3, 4, 5], Disturbance(kind, at, at)))
    assert found[2][0] == ["complete", "repaired"]
    assert all(found[number][0] == ["complete"] for number in (0, 1, 3, 4, 5))


def test_what_is_killed_behind_the_streaming_service_excuses_nothing() -> None:
    at = START + 2 * MINUTE
    found = expected(made([(1, 24)], [0, 1, 2, 3, 4, 5], Disturbance("kill of kafka", at, at)))
    assert found == dict.fromkeys(range(MINUTES), (["complete"], ["websocket"]))


def test_what_kafka_could_not_take_is_lost_with_the_streaming_service() -> None:
    kafka, streaming = START + 2 * MINUTE + 30_000_000, START + 3 * MINUTE + 20_000_000
    done = (Disturbance("kill of kafka", kafka, kafka), Disturbance("kill of streaming", streaming, streaming))
    found = expected(made([(1, 24)], [0, 1, 2, 3, 4, 5], *done))
    assert found[2][0] == found[3][0] == ["complete", "repaired"]


def test_a_report_names_what_was_done_near_to_what_is_wrong() -> None:
    near = Disturbance("cut", START + MINUTE, START + MINUTE + 3_000_000, (SYMBOL,))
    elsewhere = Disturbance("skip", START + MINUTE, START + MINUTE, ("ETHUSDT",))
    report = made([(1, 24)], [], near, elsewhere).report([{"symbol": SYMBOL, "moment": START + MINUTE, "trade_id": 5}])
    assert report.splitlines()[1].split() == [SYMBOL, "16:41:00.000", '{"trade_id":', "5}"]
    assert "cut at 16:41:00.000 for 3.0 s" in report
    assert "skip" not in report
