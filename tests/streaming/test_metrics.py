import urllib.request
from collections.abc import Iterator

import pytest

from shared.events import DepthSnapshot, Trade
from streaming.metrics import Metrics

TRADE = Trade(
    exchange="binance", symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT", event_time=1_000_000,
    published_at=1_500_000, received_at=1_520_000, source="websocket", connection_id="c", trade_id=1, price=1,
    quantity=1, quote_quantity=1, is_buyer_maker=True,
)  # fmt: skip
BOOK = DepthSnapshot(
    exchange="binance", symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT", event_time=None, received_at=5,
    source="websocket", connection_id="c", update_id=1, levels=5, bids=(), asks=(),
)  # fmt: skip
LABELS = {"exchange": "binance", "symbol": "BTCUSDT"}


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    return Metrics()


def test_events_are_counted_by_exchange_symbol_and_stream(metrics: Metrics) -> None:
    metrics.count(TRADE)
    metrics.count(TRADE)
    metrics.count(BOOK)
    value = metrics.registry.get_sample_value
    assert value("ingestor_messages_total", {**LABELS, "stream": "trade"}) == 2
    assert value("ingestor_messages_total", {**LABELS, "stream": "depth5"}) == 1


def test_latency_runs_from_the_exchange_s_sending_to_our_receiving(metrics: Metrics) -> None:
    metrics.count(TRADE)
    value = metrics.registry.get_sample_value
    assert value("latency_seconds_sum", {**LABELS, "stream": "trade"}) == pytest.approx(0.02)


def test_a_book_without_a_time_of_the_exchange_has_no_latency(metrics: Metrics) -> None:
    metrics.count(BOOK)
    assert metrics.registry.get_sample_value("latency_seconds_count", {**LABELS, "stream": "depth5"}) == 0


def test_a_connection_that_ends_is_counted_as_a_reconnect(metrics: Metrics) -> None:
    metrics.connection("binance", True)
    metrics.connection("binance", True)
    metrics.connection("binance", False)
    value = metrics.registry.get_sample_value
    assert value("ws_connected", {"exchange": "binance"}) == 1
    assert value("ws_reconnects_total", {"exchange": "binance"}) == 1


def test_the_figures_are_served_for_prometheus(metrics: Metrics) -> None:
    metrics.count(TRADE)
    port = metrics.serve("127.0.0.1", 0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    finally:
        metrics.close()
    assert 'ingestor_messages_total{exchange="binance",stream="trade",symbol="BTCUSDT"} 1.0' in text


def test_a_port_that_is_taken_is_an_error(metrics: Metrics) -> None:
    port = metrics.serve("127.0.0.1", 0)
    try:
        with pytest.raises(OSError, match="in use"):
            Metrics().serve("127.0.0.1", port)
    finally:
        metrics.close()
