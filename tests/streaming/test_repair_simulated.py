"""A minute of interruption of five symbols of the simulated exchange is whole again, trade by trade."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from shared.events import Gap, Trade
from shared.symbol_manager import Symbol
from streaming.exchanges.binance import Binance
from streaming.gaps import Gaps
from streaming.instruments import changes
from streaming.repair import Repairer
from streaming.rest import RestClient
from streaming.simulator.server import Options, running

SYMBOLS = [
    Symbol(symbol=name, name=name, streams=("trade", "kline_1m"))
    for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT")
]
MINUTE = 60_000_000


@pytest.fixture
def simulator() -> Iterator[str]:
    """Its address, while it runs in a thread."""
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    address: list[str] = []
    started = threading.Event()

    async def serve() -> None:
        async with running(Options(port=0, rate=4.0, history_hours=1)) as at:
            address.append(at)
            started.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(60)
    yield f"http://{address[0]}"
    loop.call_soon_threadsafe(ended.set)
    thread.join(20)
    loop.close()


def test_a_minute_s_interruption_of_five_symbols_is_whole_within_half_a_minute(
    simulator: str, until: Callable[..., None]
) -> None:
    exchange = Binance("", simulator)
    stopping = threading.Event()
    client = RestClient(exchange, stopping)
    gaps = Gaps({"binance"}, {}, [])
    repairer = Repairer(exchange, client, gaps.is_covered, stopping)
    rows: dict[tuple[str, str, int], Gap] = {}
    fetched: list[Trade] = []
    now = time.time_ns() // 1000
    series = [(symbol, stream) for symbol in SYMBOLS for stream in symbol.streams]

    def tell(told: object) -> None:
        for row in told:  # type: ignore[attr-defined]
            rows[row.symbol, row.gap_stream, row.first_missing] = row
            repairer.offer(row)

    def is_whole() -> bool:
        while repaired := repairer.take():
            for event in repaired.events:
                fetched.extend([event] if isinstance(event, Trade) else [])
                tell(gaps.saw(event))
            tell(gaps.settle(repaired.gap, repaired.detail))
        tell(gaps.tick(time.time_ns() // 1000))
        return bool(rows) and all(row.status == "repaired" for row in rows.values())

    tell(gaps.follow(SYMBOLS, now - 5 * MINUTE))
    before = {}
    for symbol in SYMBOLS:  # the last live trade is two minutes old, the next one minute
        trades = exchange.trades(client.get(exchange.recent_trades_request(symbol)), symbol)
        live = [trade for trade in trades if not now - 2 * MINUTE < trade.event_time < now - MINUTE]
        before[symbol.symbol] = [trade for trade in trades if trade not in live]
        assert before[symbol.symbol]
        cut_at = before[symbol.symbol][0].trade_id
        as_live = [_live(trade) for trade in live]
        tell(row for trade in as_live if trade.trade_id < cut_at for row in gaps.saw(trade))
        tell(gaps.outage("binance", [(symbol, "trade")], now - 2 * MINUTE, "cut", "disconnect"))
        tell(gaps.restored("binance", [(symbol, "trade")], now - MINUTE))
        tell(row for trade in as_live if trade.trade_id > cut_at for row in gaps.saw(trade))
    tell(gaps.outage("binance", series[1::2], now - 5 * MINUTE, "cut", "disconnect"))
    tell(gaps.tick(now))
    repairer.start()
    started = time.monotonic()
    until(is_whole, 30)
    print(f"\nwhole after {time.monotonic() - started:.1f} s, {len(fetched)} trades")
    stopping.set()
    repairer.join(10)
    client.close()
    for name, trades in before.items():
        assert [trade for trade in fetched if trade.symbol == name] == trades
    assert {row.gap_stream for row in rows.values()} == {"trade", "kline_1m"}
    assert {row.repaired_from for row in rows.values()} == {"rest"}


def _live(trade: Trade) -> Trade:
    return replace(trade, source="websocket", received_at=trade.event_time)


def test_the_simulator_lists_what_it_trades(simulator: str) -> None:
    exchange = Binance("", simulator)
    with RestClient(exchange) as client:
        told = exchange.instruments(client.get(exchange.instruments_request()))
        volumes = exchange.volumes(client.get(exchange.volumes_request()))
    assert {"BTCUSDT", "ETHUSDT"} <= {event.symbol for event in changes({}, told)}
    assert volumes["BTCUSDT"] > 0
