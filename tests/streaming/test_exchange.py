"""What every venue must do; one is tested by being there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import STREAMS
from shared.symbol_manager import Selector, Symbol, SymbolsFileError
from streaming.exchange import Exchange, UnparsableMessage, check_exchanges, exchanges

VENUES = sorted(exchanges())
SYMBOLS = [
    Symbol(symbol="BTCUSDT", name="Bitcoin"),
    Symbol(symbol="ETHBTC", name="Ether"),
    Symbol(symbol="1INCHUSDC", name="1inch"),
]


@pytest.fixture(params=VENUES)
def market(request: pytest.FixtureRequest) -> Exchange:
    exchange = exchanges()[request.param]()
    exchange.learn(SYMBOLS)
    return exchange


def test_binance_is_found() -> None:
    assert "binance" in VENUES


def test_a_venue_says_its_name_addresses_and_limits(market: Exchange) -> None:
    assert market.name == market.name.lower()
    assert market.name.isidentifier()
    assert market.ws_url.startswith("wss://")
    assert market.rest_url.startswith("https://")
    assert market.channels_per_connection > 0
    assert market.connections_per_5_minutes > 0
    assert market.seconds_between_messages >= 0
    assert market.max_age_seconds > 3600
    assert market.silence_seconds > 0


def test_another_address_takes_the_place_of_the_venue_s_own(market: Exchange) -> None:
    other = type(market)("ws://127.0.0.1:1", "http://127.0.0.1:2")
    assert (other.base_ws_url, other.base_rest_url) == ("ws://127.0.0.1:1", "http://127.0.0.1:2")
    assert (market.base_ws_url, market.base_rest_url) == (market.ws_url, market.rest_url)


def test_the_venue_s_spelling_of_a_symbol_leads_back_to_it(market: Exchange) -> None:
    for symbol in SYMBOLS:
        assert market.canonical(market.native(symbol.base, symbol.quote)) == symbol


assets = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789币安", min_size=1, max_size=10)


@pytest.mark.parametrize("name", VENUES)
@given(base=assets, quote=assets)
def test_any_symbol_survives_the_round_trip(name: str, base: str, quote: str) -> None:
    exchange = exchanges()[name]()
    symbol = Symbol(symbol=base + quote, name="any", base=base, quote=quote)
    exchange.learn([symbol])
    assert exchange.canonical(exchange.native(base, quote)) == symbol


def test_a_symbol_that_nobody_asked_for_is_refused(market: Exchange) -> None:
    with pytest.raises(UnparsableMessage):
        market.canonical("NOSUCHPAIR")


def test_every_stream_of_every_symbol_has_a_channel_of_its_own(market: Exchange) -> None:
    channels = {market.channel(symbol, stream) for symbol in SYMBOLS for stream in STREAMS}
    assert len(channels) == len(SYMBOLS) * len(STREAMS)


def test_what_is_sent_is_json_and_says_which_channels_it_is_about(market: Exchange) -> None:
    channels = [market.channel(symbol, stream) for symbol in SYMBOLS for stream in STREAMS]
    for asks in (market.subscribe(channels), market.unsubscribe(channels)):
        assert [channel for ask in asks for channel in ask.channels] == channels
        for ask in asks:
            json.loads(ask.text)
    assert {channel for ask in market.greeting(channels) for channel in ask.channels} <= set(channels)
    assert market.subscribe([]) == market.unsubscribe([]) == []


@pytest.mark.parametrize(
    "garbage", [b"", b"null", b"[]", b"{}", b"hello", b"\xff\x00", b'{"stream":1}', b"[" * 100_000]
)
def test_garbage_is_refused_by_name(market: Exchange, garbage: bytes) -> None:
    with pytest.raises(UnparsableMessage):
        market.parse(garbage, 1, "c")


def test_an_exchange_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(SymbolsFileError, match=r"BTCUSDT: there is no exchange 'mtgox'; there is binance"):
        check_exchanges([Symbol(symbol="BTCUSDT", name="Bitcoin", exchanges=("mtgox",))])


def test_a_selector_s_exchange_must_be_there_too() -> None:
    with pytest.raises(SymbolsFileError, match=r"quote=USDT top=5: there is no exchange 'mtgox'"):
        check_exchanges([Selector(quote="USDT", top=5, exchanges=("mtgox",))])
