"""The dashboard of the deployed system, in a browser."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.system import SYMBOLS, System, wait_for

PICTURES = Path(__file__).resolve().parents[2] / "artifacts"
PAGES = {"market": "/?symbol=BTCUSDT", "portfolio": "/portfolio", "data": "/data", "alerts": "/alerts", "api": "/docs"}


@pytest.fixture(scope="module")
def url(system: System) -> str:
    """Its address, once candles are in the serving database."""
    address = f"http://127.0.0.1:{system.environment['DASHBOARD_PORT']}"
    wait_for("candles of the lake on the dashboard", lambda: _lakes(address, "BTCUSDT"))
    return address


def _rows(url: str, path: str, **values: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = httpx.get(f"{url}/api/v1/{path}", params=values, timeout=20).json().get("rows", [])
    return rows


def _lakes(url: str, symbol: str) -> list[dict[str, Any]]:
    return [row for row in _rows(url, "candles", symbol=symbol) if row["status"] != "live"]


def _price(page: Page) -> str:
    return page.locator("[data-price]").inner_text()


def test_every_page_opens_without_a_word_on_the_console(url: str, browser: Browser) -> None:
    PICTURES.mkdir(exist_ok=True)
    for name, path in PAGES.items():
        said: list[str] = []
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.on("console", lambda message, said=said: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error, said=said: said.append(str(error)))
        page.goto(url + path)
        expect(page.get_by_text("Loading …", exact=True)).to_have_count(0, timeout=30_000)
        page.screenshot(path=PICTURES / f"dashboard-{name}.png", full_page=name != "market")
        page.close()
        assert not said, (name, said)


def test_the_candles_are_the_lakes(url: str, system: System) -> None:
    def agree() -> bool:
        """The newest closed one; asked again where it was written between the two questions."""
        last = next(row for row in reversed(_lakes(url, "ETHUSDT")) if row["is_closed"])
        kept = system.query(
            "select close, trade_count from silver.fact_ohlcv where symbol = 'ETHUSDT' and interval = '1m' "
            f"and interval_start = '{last['interval_start']}'"
        )
        return [(float(last["close"]), last["trade_count"])] == [(row["close"], row["trade_count"]) for row in kept]

    wait_for("the lake's candle on the dashboard", agree)


def test_a_closed_candle_is_there_within_two_seconds_of_the_minutes_end(url: str) -> None:
    end = (int(time.time()) // 60 + 1) * 60
    time.sleep(end + 2 - time.time())
    for symbol in ("BTCUSDT", "ETHUSDT"):
        [row] = _rows(url, "candles", symbol=symbol, start=end - 60, end=end)
        assert row["is_closed"], symbol


def test_the_price_moves_and_another_symbol_shows_another_price(url: str, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{url}/?symbol={SYMBOLS[0]}")
    before = wait_for("a price", lambda: (text := _price(page)) != "–" and text, 30, every=0.2)
    wait_for("another price", lambda: _price(page) != before, 30, every=0.2)
    page.locator("[data-symbol=XRPUSDT]").click()
    wait_for("the price of XRPUSDT", lambda: _price(page).startswith("2."), 30, every=0.2)
    page.close()


def test_minutes_of_an_hour_are_told_from_the_lake(url: str, browser: Browser) -> None:
    hours = wait_for("an hour of completeness", lambda: _rows(url, "completeness", by="hour", symbol="BTCUSDT"))
    page = browser.new_page()
    page.goto(f"{url}/data?symbol=BTCUSDT&hour={hours[0]['hour_start']}")
    expect(page.get_by_role("region", name="The minutes of one hour")).to_contain_text(
        "minutes are proven", timeout=30_000
    )
    page.close()
