from typing import Any

import pytest

from streaming.clock_offset import clock_offset
from streaming.exchanges.binance import Binance
from tests.events import START
from tests.rest_venue import Refusal, RestVenue


@pytest.mark.parametrize("ahead", [-3600.0, 0.0, 2.5])
def test_an_exchange_s_clock_is_compared_with_ours(venue: Any, ahead: float) -> None:
    venue.clock_ahead = ahead
    assert clock_offset(Binance(venue.url, venue.http_url)) == pytest.approx(ahead * 1_000_000, abs=500_000)


def test_an_exchange_that_banned_us_is_not_asked() -> None:
    venue = RestVenue(START)
    try:
        exchange = Binance("", venue.url)
        venue.refusals["time"] = Refusal(418, "", (("Retry-After", "60"),))
        assert clock_offset(exchange) is None
        assert clock_offset(exchange) is None
        assert venue.count("time") == 1
    finally:
        venue.stop()


def test_an_exchange_that_cannot_be_asked_has_no_offset(venue: Any) -> None:
    assert clock_offset(Binance(venue.url, f"{venue.http_url}/nothing/here")) is None
    assert clock_offset(Binance(venue.url, "http://127.0.0.1:1")) is None
