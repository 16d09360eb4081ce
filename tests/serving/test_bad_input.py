"""Whatever stands in Kafka, what brings trades to ClickHouse goes on."""

import pytest

from serving.clickhouse.trades import rows, trades_of
from shared.events import encode
from tests.bad_input import DEEP, damaged, for_a_while, no_more_memory
from tests.events import START, trade_event

pytestmark = pytest.mark.bad_input

NOW = START + 60_000_000
WHOLE = encode(trade_event(1))


@pytest.mark.parametrize(
    "value",
    [
        None,
        WHOLE[:-9],
        WHOLE.replace(b"BTCUSDT", b"\xff\xfe"),
        WHOLE[:-1] + b',"x":' + DEEP.encode() + b"}",
        WHOLE.replace(b'"trade_id":1', b'"trade_id":' + b"9" * 40),
    ],
)
def test_a_message_that_is_no_trade_is_passed_over(value: bytes | None) -> None:
    assert trades_of([value, WHOLE], NOW) == [trade_event(1)]


def test_whatever_message_comes_the_trades_beside_it_are_written(fuzz_seconds: float) -> None:
    last = trade_event(2)

    def tried(value: bytes | None) -> None:
        written = rows(trades_of([value, encode(last)], NOW), NOW)
        assert written["trade_id"][-1].as_py() == last.trade_id

    with no_more_memory():
        for_a_while(fuzz_seconds, damaged(WHOLE), tried)
