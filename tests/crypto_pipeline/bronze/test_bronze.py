"""What Kafka's messages become: one parametrised test for all tables, then what each has of its own."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from types import ModuleType

import msgspec
import pytest
from pyspark.sql import DataFrame

from crypto_pipeline.assets.bronze_assets import MODULES
from crypto_pipeline.bronze import depth, klines, quarantine, tickers, trades
from shared.events import AnyEvent, DepthSnapshot, Ticker
from tests.crypto_pipeline.conftest import START, kline, trade

Messages = Callable[[Iterable[AnyEvent]], DataFrame]

COMMON = {"exchange": "binance", "symbol": "BTCUSDT", "base_asset": "BTC", "quote_asset": "USDT", "source": "websocket"}
DEPTH = DepthSnapshot(
    **COMMON,  # type: ignore[arg-type]
    event_time=None,
    received_at=START,
    connection_id="test",
    update_id=7,
    levels=5,
    bids=((Decimal("1.5"), Decimal(2)),),
    asks=((Decimal("1.6"), Decimal("0.000000000000000001")), (Decimal("1.7"), Decimal(1))),
)
_DECIMALS = [f.name for f in msgspec.structs.fields(Ticker) if f.type is Decimal]
TICKER = Ticker(
    **COMMON,  # type: ignore[arg-type]
    **dict.fromkeys(_DECIMALS, Decimal("12345678901234567890.123456789012345678")),  # type: ignore[arg-type]
    event_time=START,
    connection_id="test",
    open_time=START - 86_400_000_000,
    close_time=START,
    first_trade_id=1,
    last_trade_id=9,
    trade_count=9,
)
EXAMPLES = {trades: trade(1, START, "1", "2"), klines: kline(START, 1, 3, 3), depth: DEPTH, tickers: TICKER}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.TABLE.full_name)
def test_build_yields_what_the_contract_promises(module: ModuleType, as_messages: Messages) -> None:
    rows = module.build(as_messages(EXAMPLES.values()))
    promised = [(column.name, column.type.replace(" ", "")) for column in module.TABLE.columns]
    assert [(name, kind.replace(" ", "")) for name, kind in rows.dtypes] == promised
    assert rows.count() == 1, "each table takes its own stream alone"


def test_decimals_arrive_digit_for_digit(as_messages: Messages) -> None:
    row = tickers.build(as_messages([TICKER])).first()
    assert row.last_price == Decimal("12345678901234567890.123456789012345678")
    row = depth.build(as_messages([DEPTH])).first()
    assert [(level.price, level.quantity) for level in row.asks] == list(DEPTH.asks)


def test_a_zero_that_is_written_with_an_exponent_is_a_zero(as_messages: Messages) -> None:
    row = klines.build(as_messages([kline(START, -1, -1, 0, volume=Decimal("0E-8"))])).first()
    assert row.volume == 0


def test_times_are_kept_to_the_microsecond_in_utc(as_messages: Messages) -> None:
    row = trades.build(as_messages([trade(1, START + 123_457, "1", "2")])).selectExpr(
        "unix_micros(event_time) as t", "date", "hour"
    )
    assert tuple(row.first()) == (START + 123_457, "2026-08-06", "07")


def test_a_book_without_a_time_is_placed_by_its_receipt(as_messages: Messages) -> None:
    row = depth.build(as_messages([DEPTH])).first()
    assert (row.event_time, row.date, row.hour) == (None, "2026-08-06", "07")


def test_the_better_source_stays_then_the_earlier_receipt(as_messages: Messages) -> None:
    later = trade(1, START, "1", "2", received_at=START + 5_000_000)
    earlier = trade(1, START, "1", "2", received_at=START + 1)
    rest = trade(1, START, "1", "2", source="rest", received_at=None)
    archive = trade(1, START, "1", "2", source="archive", received_at=None)
    rows = trades.build(as_messages([later, rest, earlier, archive])).collect()
    worst_first = sorted(rows, key=lambda row: row.ordering)
    assert [row.source for row in worst_first] == ["archive", "rest", "websocket", "websocket"]
    assert worst_first[-1].received_at < worst_first[-2].received_at


def test_a_closed_kline_stays_over_an_open_one_that_came_later(as_messages: Messages) -> None:
    closed = kline(START, 1, 3, 3)
    late_open = kline(START, 1, 2, 2, is_closed=False, published_at=closed.published_at + 60_000_000)  # type: ignore[operator]
    rows = {row.is_closed: row.ordering for row in klines.build(as_messages([late_open, closed])).collect()}
    assert rows[True] > rows[False]


def test_a_number_that_does_not_fit_fails_the_job_instead_of_becoming_null(as_messages: Messages) -> None:
    too_big = trade(1, START, "1", "2", price=Decimal(10) ** 21)
    with pytest.raises(Exception, match="price does not fit"):
        trades.build(as_messages([too_big])).collect()


def test_a_row_that_breaks_a_rule_goes_to_quarantine_with_its_name_and_its_neighbours_go_on(
    as_messages: Messages,
) -> None:
    good, bad = trade(1, START, "1", "2"), trade(2, START, "1", "2", quantity=Decimal(-2), quote_quantity=Decimal(-2))
    rows = trades.build(as_messages([good, bad]))
    assert [row.trade_id for row in quarantine.kept(rows, trades.TABLE).collect()] == [1]
    refused = quarantine.build(rows, trades.TABLE).collect()
    assert [(row.table_name, row.rule) for row in refused] == [("bronze.trades", "quantity_is_positive")]
    assert '"trade_id":2' in refused[0].row


def test_a_rule_that_cannot_be_decided_is_broken(as_messages: Messages) -> None:
    table = replace(trades.TABLE, rules={"never_known": "cast(null as boolean)"})
    rows = trades.build(as_messages([trade(1, START, "1", "2")]))
    assert quarantine.kept(rows, table).count() == 0
    assert quarantine.build(rows, table).count() == 1
