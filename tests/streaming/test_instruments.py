"""What an exchange lists is sent once, and again when it changes."""

import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from shared.events import Instrument
from shared.symbol_manager import Listed, Selected, Selector, Symbol
from streaming import instruments as module
from streaming.exchange import UnparsableMessage
from streaming.exchanges.binance import Binance
from streaming.instruments import DELISTED, Instruments, changes, selections
from streaming.rest import RestClient
from tests.events import START
from tests.rest_venue import Refusal, RestVenue


def pair(base: str, quote: str = "USDT", **changes: Any) -> dict[str, Any]:
    """As `exchangeInfo` names it."""
    filters = [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}, {"filterType": "LOT_SIZE", "stepSize": "0.1"}]
    names = {"symbol": base + quote, "baseAsset": base, "quoteAsset": quote}
    return {**names, "status": "TRADING", "filters": filters, **changes}


def event(base: str, **fields: Any) -> Instrument:
    return replace(
        Instrument(
            exchange="binance", symbol=f"{base}USDT", base_asset=base, quote_asset="USDT", event_time=START,
            source="rest", connection_id="rest", status="TRADING", tick_size=Decimal("0.01"),
            step_size=Decimal("0.1"), min_notional=None,
        ),
        **fields,
    )  # fmt: skip


@pytest.fixture
def venue() -> Iterator[RestVenue]:
    server = RestVenue(START)
    yield server
    server.stop()


@pytest.fixture
def started(venue: RestVenue) -> Iterator[Callable[..., Instruments]]:
    stopping = threading.Event()
    threads: list[Instruments] = []
    exchange = Binance("", venue.url)
    client = RestClient(exchange, stopping)

    def start(known: dict[str, Instrument] | None = None) -> Instruments:
        threads.append(Instruments(exchange, client, known or {}, stopping))
        threads[-1].start()
        return threads[-1]

    yield start
    stopping.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    client.close()


def taken(instruments: Instruments) -> list[Instrument]:
    return list(iter(instruments.take, None))


def test_each_pair_is_sent_once_and_listed_with_its_turnover(
    venue: RestVenue, started: Callable[..., Instruments], until: Callable[..., None]
) -> None:
    venue.pairs = [pair("BTC"), pair("ETH", status="BREAK")]
    venue.turnovers = {"BTCUSDT": "12.5"}
    instruments = started()
    assert instruments.listed() == ()
    until(instruments.listed)
    assert [(sent.symbol, sent.status) for sent in taken(instruments)] == [("BTCUSDT", "TRADING"), ("ETHUSDT", "BREAK")]
    assert instruments.listed() == (
        Listed("BTC", "USDT", Decimal("12.5"), "TRADING"), Listed("ETH", "USDT", Decimal(0), "BREAK"),
    )  # fmt: skip
    instruments.poke()
    until(lambda: venue.count("24hr") == 2)
    assert taken(instruments) == []


def test_a_halt_that_is_suspected_is_asked_for_once_the_last_answer_is_old_enough(
    venue: RestVenue,
    started: Callable[..., Instruments],
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SUSPICION_SECONDS", 3)
    venue.pairs = [pair("BTC")]
    instruments = started()
    until(instruments.listed)
    venue.pairs = [pair("BTC", status="HALT")]
    for _ in range(5):
        instruments.suspect("BTCUSDT")
    sent: list[Instrument] = []
    until(lambda: sent.extend(taken(instruments)) or [one for one in sent if one.status == "HALT"])
    first, second = [asked.at for asked in venue.asked if asked.path.endswith("exchangeInfo")]
    assert second - first >= 3
    instruments.suspect("BTCUSDT")
    assert instruments._patience == module.HALTED_SECONDS, "a halt that is known is not asked for each minute"


def test_it_is_asked_again_and_again(
    venue: RestVenue,
    started: Callable[..., Instruments],
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert module.EVERY_SECONDS == 3600
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.5)
    venue.pairs = [pair("BTC")]
    instruments = started()
    until(instruments.listed)
    venue.pairs = [pair("BTC"), pair("ETH")]
    sent: list[Instrument] = []
    until(lambda: sent.extend(taken(instruments)) or [one for one in sent if one.symbol == "ETHUSDT"])


def test_what_was_sent_before_a_restart_is_not_sent_again(
    venue: RestVenue, started: Callable[..., Instruments], until: Callable[..., None]
) -> None:
    venue.pairs = [pair("BTC"), pair("ETH")]
    instruments = started({"BTCUSDT": event("BTC")})
    until(instruments.listed)
    assert [sent.symbol for sent in taken(instruments)] == ["ETHUSDT"]


def test_asking_goes_on_after_a_fault(
    venue: RestVenue, started: Callable[..., Instruments], until: Callable[..., None]
) -> None:
    venue.pairs = [pair("BTC")]
    venue.refusals["exchangeInfo"] = Refusal(403, times=1)
    instruments = started()
    until(lambda: venue.asked)
    instruments.poke()
    until(instruments.listed)


def test_a_change_of_status_or_steps_is_sent() -> None:
    known = {"BTCUSDT": event("BTC"), "ETHUSDT": event("ETH")}
    told = [event("BTC", status="HALT", event_time=START + 1), event("ETH", step_size=Decimal(1))]
    assert changes(known, told) == told


def test_a_pair_that_is_gone_is_delisted_once() -> None:
    known = {"BTCUSDT": event("BTC"), "ETHUSDT": event("ETH")}
    [gone] = changes(known, [event("BTC", event_time=START + 5)])
    assert (gone.symbol, gone.status, gone.event_time) == ("ETHUSDT", DELISTED, START + 5)
    assert changes(known | {"ETHUSDT": gone}, [event("BTC")]) == []


def test_a_pair_that_is_listed_again_is_sent() -> None:
    known = {"ETHUSDT": event("ETH", status=DELISTED)}
    assert [sent.status for sent in changes(known, [event("ETH")])] == ["TRADING"]


def test_an_empty_answer_delists_nothing() -> None:
    with pytest.raises(UnparsableMessage):
        changes({"BTCUSDT": event("BTC")}, [])


def test_a_pair_that_was_told_badly_is_not_delisted(
    venue: RestVenue, started: Callable[..., Instruments], until: Callable[..., None]
) -> None:
    known = {"BTCUSDT": event("BTC"), "ETHUSDT": event("ETH"), "SOLUSDT": event("SOL")}
    assert [gone.symbol for gone in changes(known, [event("BTC")], {"ETHUSDT"})] == ["SOLUSDT"]
    assert changes(known, [event("BTC")], {""}) == []
    venue.pairs = [pair("BTC", status="HALT"), pair("ETH", status=7)]
    instruments = started(known)
    until(instruments.listed)
    assert [(sent.symbol, sent.status) for sent in taken(instruments)] == [("BTCUSDT", "HALT"), ("SOLUSDT", DELISTED)]


def test_what_a_selector_chose_is_an_event() -> None:
    symbol = Symbol(symbol="BTCUSDT", name="Bitcoin")
    chosen = Selected("binance", symbol, Selector(quote="USDT", top=50), 3, Decimal("7.5"))
    [sent] = selections([chosen], START)
    assert (sent.symbol, sent.base_asset, sent.selector, sent.rank) == ("BTCUSDT", "BTC", "quote=USDT top=50", 3)
    assert (sent.quote_volume, sent.event_time) == (Decimal("7.5"), START)
