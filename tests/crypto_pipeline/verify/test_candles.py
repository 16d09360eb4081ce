"""The candles that are expected in SQL beside those that Spark makes, of whatever has come and has not."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from crypto_pipeline.verify.verdict import verify
from crypto_pipeline.verify.workbench import vwap
from shared.events import AnyEvent
from tests.crypto_pipeline.conftest import agg_trade, kline, trade
from tests.crypto_pipeline.verify.conftest import at, matching, stored

Messages = Callable[[Iterable[AnyEvent]], DataFrame]
OF_CANDLES = {2, 3, 4, 5, 10}
"""The promises that are of candles; that ids were left out is another."""

Minute = tuple[list[str], set[str], int, bool]
"""The fate of each trade, whose klines there are, how many of the first trades came merged as well, and whether the
klines can be true."""

fates = st.lists(st.sampled_from(["websocket", "websocket", "rest", "archive", "lost"]), max_size=4)
views = st.sets(st.sampled_from(["websocket", "rest", "archive"]), max_size=3)
minutes = st.lists(st.tuples(fates, views, st.integers(0, 4), st.booleans()), min_size=1, max_size=9)


def told(symbol: str, made: list[Minute]) -> list[Any]:
    """What came of the minutes of a symbol."""
    events: list[Any] = []
    number = 0
    for minute, (fate, view, merged, is_sane) in enumerate(made):
        tape = []
        for place in range(len(fate)):
            number += 1
            price, size = str(1 + number * 7 % 5), str(1 + number % 3)
            tape.append(trade(number, at(minute, 5 * place), price, size, symbol=symbol))
        for one, source in zip(tape, fate, strict=True):
            if source == "websocket":
                events.append(one)
            elif source != "lost":
                events.append(msgspec.structs.replace(one, source=source, received_at=None, published_at=None))
        if tape and merged:
            first, last = tape[0], tape[:merged][-1]
            events.append(agg_trade(minute, first.event_time, first.trade_id, last.trade_id, symbol=symbol))
        wrong = {} if is_sane else {"high": Decimal("0.5")}
        for source in sorted(view):
            if tape:
                events.append(matching(tape, minute, source=source, symbol=symbol, **wrong))
            else:
                ids = -1 if source == "websocket" else None
                events.append(kline(at(minute), ids, ids, 0, source=source, symbol=symbol))
    return events


@settings(
    max_examples=3,  # each is a lake of many symbols
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(minutes, min_size=1, max_size=12))
def test_what_spark_makes_of_anything_is_what_sql_expects(
    spark: SparkSession, as_messages: Messages, made: list[list[Minute]]
) -> None:
    events = [event for n, one in enumerate(made) for event in told(f"S{n}USDT", one)]
    if not events:
        return
    verdict = verify(stored(spark, as_messages, events), None)
    found = [(one.sentence, one.examples) for one in verdict.found if one.promise in OF_CANDLES and one.offenders]
    assert not found


def test_the_average_price_is_rounded_half_up_at_the_eighteenth_place() -> None:
    third = Decimal("0.333333333333333333")
    assert vwap(Decimal(1), Decimal(3)) == third
    assert vwap(Decimal("0.000000000000000001"), Decimal(2)) == Decimal("0.000000000000000001")
    assert vwap(Decimal(0), Decimal(0)) is None
    assert vwap(Decimal(10) ** 19, Decimal("0.000000000000000003")) is not None
