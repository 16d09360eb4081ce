"""Trades as rows, and which of several stays."""

from decimal import Decimal
from itertools import permutations

import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from serving.clickhouse import trades
from serving.clickhouse.server import reading
from serving.clickhouse.trades import Place, note, places, rows, trades_of
from shared.events import Trade, encode
from shared.settings import Settings
from tests.events import START, depth_event, gap_event, kline_event, ticker_event, trade_event

NOW = START + 60_000_000


def test_of_all_messages_the_trades_are_found() -> None:
    others = [kline_event(START), ticker_event(START), depth_event(START), gap_event(1, 2)]
    wanted = [trade_event(1), trade_event(2, "rest")]
    messages = [encode(event) for event in (*others, *wanted)]
    assert trades_of([*messages, b"", b"{}", b'{"stream":"trade","symbol":7}'], NOW) == wanted


@pytest.mark.parametrize(
    "changes",
    [
        {"price": Decimal(0)},
        {"quantity": Decimal(-1)},
        {"event_time": NOW + 300_000_001},
        {"event_time": -1},
    ],
)
def test_what_bronze_keeps_in_quarantine_is_left_out(changes: dict[str, object]) -> None:
    assert set(trades.contracts.tables()[trades.NAME].rules) == {
        "price_is_positive", "quantity_is_positive", "time_is_not_in_the_future",
    }  # fmt: skip
    wrong = msgspec.structs.replace(trade_event(1), **changes)
    assert trades_of([encode(wrong)], NOW) == []
    assert len(trades_of([encode(trade_event(1))], NOW)) == 1


def test_every_column_but_bronzes_own_is_filled_exactly(client: Client, settings: Settings) -> None:
    trades.prepare(client)
    trade = msgspec.structs.replace(
        trade_event(7), price=Decimal("12345678901234567890.000000000000000001"), quantity=Decimal("1E-18"),
        quote_quantity=Decimal("0.1"), published_at=START + 1, is_buyer_maker=True,
    )  # fmt: skip
    client.insert_arrow(trades.NAME, rows([trade], NOW))
    with reading(settings) as reader:
        [row] = reader.query_arrow(f"SELECT * FROM {trades.NAME}", use_strings=True).to_pylist()
    assert list(row) == [column.name for column in trades.shape().columns]
    assert row.pop("ingested_at").timestamp() == NOW / 1_000_000
    times = {
        name: round(row.pop(name).timestamp() * 1_000_000) for name in ("event_time", "published_at", "received_at")
    }
    assert times == {"event_time": START + 7, "published_at": START + 1, "received_at": START + 7}
    assert row == {name: getattr(trade, name) for name in row}


def test_a_trade_that_no_column_can_hold_does_not_keep_the_others_back() -> None:
    huge = msgspec.structs.replace(trade_event(1), trade_id=2**63)
    assert rows([trade_event(0), huge, trade_event(2)], NOW)["trade_id"].to_pylist() == [0, 2]


def received(number: int, at: int, source: str = "websocket") -> Trade:
    return msgspec.structs.replace(trade_event(1, source), received_at=at, connection_id=f"c{number}")


@pytest.mark.parametrize("order", list(permutations(range(4)))[::4])
def test_of_one_trade_that_comes_several_times_the_better_source_and_then_the_earlier_receipt_stays(
    client: Client, settings: Settings, order: tuple[int, ...]
) -> None:
    trades.prepare(client)
    came = [received(0, START + 5), received(1, START + 9), trade_event(1, "rest"), trade_event(1, "archive")]
    for number in order:
        client.insert_arrow(trades.NAME, rows([came[number]], NOW))
    with reading(settings) as reader:
        assert reader.query(f"SELECT connection_id FROM {trades.NAME}").result_rows == [("c0",)]


def test_a_trade_lies_in_the_month_of_its_event(client: Client) -> None:
    trades.prepare(client)
    client.insert_arrow(trades.NAME, rows([trade_event(1)], NOW))
    asked = "SELECT partition FROM system.parts WHERE database = 'bronze' AND table = 'trades' AND active"
    assert client.query(asked).result_rows == [("202611",)]


def test_the_place_that_was_noted_last_is_found_again(client: Client) -> None:
    assert places(client) == {}
    note(client, {("a", 0): Place("one", 5), ("b", 0): Place("two", 2**40)})
    note(client, {("a", 0): Place("one", 9)})
    assert places(client) == {("a", 0): Place("one", 9), ("b", 0): Place("two", 2**40)}
