"""The socket of a page."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.dashboard.conftest import Served
from tests.dashboard.made_market import trade


def messages(socket: ClientConnection, kind: str, seconds: float = 10) -> Iterator[Any]:
    """Those of a kind, as they come."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for message in json.loads(socket.recv(timeout=seconds)):
            if message["type"] == kind:
                yield message
    pytest.fail(f"no {kind} came")


@contextmanager
def opened(served: Served, **wish: str) -> Iterator[ClientConnection]:
    with connect(served.url.replace("http", "ws") + "/api/v1/live") as socket:
        socket.send(json.dumps(wish))
        yield socket


def test_a_trade_moves_the_price_and_the_candle(served: Served) -> None:
    with opened(served, symbol="BNBUSDT", interval="1m") as socket:
        for number, message in enumerate(messages(socket, "price")):
            if any(bar["high"] == "1234.5" for bar in message["bars"]):
                return
            # Anew, should the minute have ended and its kline, which knows nothing of it, have replaced it.
            served.stream.send(trade("BNBUSDT", int(time.time() * 1e6), 5_000_000 + number, "1234.5"))


def test_another_symbol_is_shown_when_the_page_says_so_and_a_wrong_one_is_named(served: Served) -> None:
    with opened(served, symbol="BTCUSDT") as socket:
        assert next(messages(socket, "price"))["symbol"] == "BTCUSDT"
        socket.send(json.dumps({"symbol": "SOLUSDT", "interval": "5m"}))
        seen = next(one for one in messages(socket, "price") if one["symbol"] == "SOLUSDT")
        assert seen["interval"] == "5m"
        socket.send(json.dumps({"symbol": "NOPE"}))
        assert "There is no symbol 'NOPE'" in next(messages(socket, "error"))["sentence"]
        socket.send("{")
        assert next(messages(socket, "error"))["sentence"]


def test_a_page_that_looks_at_no_symbol_hears_how_things_stand(served: Served) -> None:
    with opened(served) as socket:
        state = next(messages(socket, "state"))
        assert state["lake_until"] > time.time() - 7200
        assert next(messages(socket, "watch"))["prices"]["binance:BTCUSDT"][0]


def test_price_messages_of_a_page_come_four_times_a_second_at_most(served: Served) -> None:
    with opened(served, symbol="BTCUSDT") as socket:
        coming = messages(socket, "price")
        next(coming)
        began, count = time.monotonic(), 0
        while time.monotonic() - began < 3:
            next(coming)
            count += 1
    assert count <= 4 * 4


def test_another_sites_page_gets_no_socket(served: Served) -> None:
    address = served.url.replace("http", "ws") + "/api/v1/live"
    with pytest.raises(InvalidHandshake), connect(address, origin=Origin("https://elsewhere.example")):
        pass
