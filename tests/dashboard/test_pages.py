"""The pages in a real browser."""

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from alerts.store import Store
from tests.dashboard import made_alerts
from tests.dashboard.conftest import Served, eventually
from tests.dashboard.made_alerts import OLD, SEEN, Made

PAGES = ("/", "/portfolio", "/data", "/alerts", "/docs")
SLOW_MS = 20_000


@contextmanager
def opened(browser: Browser, url: str, *, quiet: bool = True, **options: Any) -> Iterator[Page]:
    """A page; with `quiet`, nothing may be written to its console."""
    said: list[str] = []
    context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(url)
    yield page
    context.close()
    assert not quiet or not said, said


def candles(page: Page) -> list[dict[str, Any]]:
    """The candles that the chart draws."""
    found: list[dict[str, Any]] = page.evaluate("document.querySelector('.chart')?.candles ?? []")
    return found


def address(page: Page) -> str:
    """As the browser has it; Playwright's own copy may be an older one."""
    shown: str = page.evaluate("location.href")
    return shown


def price(page: Page) -> float:
    text = page.locator("[data-price]").inner_text().replace(",", "")
    return float(text) if text != "–" else 0.0


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_opens_without_a_word_on_the_console_and_fits_a_phone(
    served: Served, browser: Browser, path: str, theme: str
) -> None:
    with opened(browser, served.url + path, color_scheme=theme, viewport={"width": 390, "height": 844}) as page:
        expect(page.locator("main .panel").first).to_be_visible()
        expect(page.get_by_text("Loading …", exact=True)).to_have_count(0, timeout=SLOW_MS)
        expect(page.locator(".fault:visible")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("document.documentElement.dataset.theme") == theme


def test_another_symbol_and_timeframe_show_other_values_and_the_address_keeps_them(
    served: Served, browser: Browser
) -> None:
    with opened(browser, served.url) as page:
        eventually("the price of BTCUSDT", lambda: price(page) > 50_000)
        page.locator("[data-symbol=XRPUSDT]").click()
        eventually("the price of XRPUSDT", lambda: 0 < price(page) < 10)
        page.get_by_role("button", name="15m", exact=True).click()
        eventually("quarters", lambda: len(bars := candles(page)) > 50 and bars[-1]["time"] - bars[-2]["time"] == 900)
        assert "symbol=XRPUSDT" in address(page)
        assert "interval=15m" in address(page)
        page.locator("summary").click()
        page.get_by_label("RSI 14").check()
        eventually("the indicator in the address", lambda: "indicators=rsi_14" in address(page))
        link = address(page)
        page.go_back()
        eventually(
            "minutes again", lambda: len(bars := candles(page)) > 50 and bars[-1]["time"] - bars[-2]["time"] == 60
        )
    with opened(browser, link) as page:
        eventually(
            "the same view", lambda: len(bars := candles(page)) > 50 and bars[-1]["time"] - bars[-2]["time"] == 900
        )
        page.locator("summary").click()
        expect(page.get_by_label("RSI 14")).to_be_checked()


def test_the_price_moves_with_the_trades(served: Served, browser: Browser) -> None:
    with opened(browser, served.url + "/?symbol=ETHUSDT") as page:
        eventually("a price", lambda: price(page) > 0)
        seen = {price(page)}
        eventually("three other prices", lambda: seen.add(price(page)) or len(seen) > 3)
        expect(page.get_by_role("region", name="Last trades").locator("tbody tr:visible").first).to_be_visible()
        expect(page.get_by_role("region", name="Order book")).to_contain_text("bp")


def test_back_across_the_join_of_lake_and_stream_each_minute_is_there_once(served: Served, browser: Browser) -> None:
    with opened(browser, served.url + "/?symbol=BTCUSDT") as page:
        eventually("candles", lambda: len(candles(page)) >= 400)
        eventually("the one that is made now", lambda: candles(page)[-1]["status"] == "live")

        def farther() -> bool:
            for _ in range(10):
                page.keyboard.press("ArrowLeft")
            return len(candles(page)) > 1200

        eventually("older candles", farther, 40)
        times = [bar["time"] for bar in candles(page)]
        assert {later - earlier for earlier, later in pairwise(times)} == {60}
        eventually("the range in the address", lambda: re.search(r"from=\d+&to=\d+", address(page)))
        page.keyboard.press("0")
        eventually("now", lambda: "from=" not in address(page))


def test_keys_find_symbols_change_the_timeframe_and_show_help(served: Served, browser: Browser) -> None:
    with opened(browser, served.url + "/?symbol=BTCUSDT") as page:
        eventually("candles", lambda: candles(page))
        expect(page.locator("[data-symbol=SOLUSDT]")).to_be_visible()
        page.keyboard.press("/")
        page.keyboard.type("sol")
        page.keyboard.press("Enter")
        eventually("SOLUSDT", lambda: "symbol=SOLUSDT" in address(page))
        page.keyboard.press("t")
        eventually("the next timeframe", lambda: "interval=5m" in address(page))
        page.keyboard.press("ArrowDown")
        eventually("the next symbol", lambda: "symbol=XRPUSDT" in address(page))
        page.keyboard.press("z")
        expect(page.locator("#zone")).to_have_text("local")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()


def test_a_hole_and_its_repair_are_told_on_the_data_page(served: Served, browser: Browser) -> None:
    with opened(browser, served.url + "/data") as page:
        page.locator("[data-state=repaired][data-symbol=BTCUSDT]").first.click()
        story = page.get_by_role("region", name="The minutes of one hour")
        expect(story).to_contain_text("77 repaired by REST")
        expect(story).to_contain_text("The connection to the exchange broke.")
        expect(story).to_contain_text("Every trade's number from the first to the last is here.")
        assert "hour=" in address(page)
        page.get_by_role("region", name="Holes").get_by_role("button", name="SOLUSDT").first.click()
        expect(story).to_contain_text("56 are missing")


def test_hours_before_streaming_began_are_told_apart_from_what_is_missing(served: Served, browser: Browser) -> None:
    with opened(browser, served.url + "/data") as page:
        early = page.locator("[data-state=not_collected][data-symbol=BNBUSDT]")
        eventually("the hours before", lambda: early.count() >= 6)
        expect(page.locator(".s-degraded[data-symbol=BNBUSDT], .s-missing[data-symbol=BNBUSDT]")).to_have_count(0)
        expect(page.locator("[data-symbol=ETHUSDT]:not([data-state=available])")).to_have_count(0)
        early.last.click()
        story = page.get_by_role("region", name="The minutes of one hour")
        expect(story).to_contain_text("35 complete, 25 before streaming began")
        expect(story.locator(".s-not_collected")).to_have_count(25)
        expect(story).to_contain_text("It was not asked for then: streaming had not begun.")


def test_an_alert_is_there_without_a_reload_and_acknowledging_it_is_kept(served: Served, browser: Browser) -> None:
    settings = served.postgres.settings
    made = Made(
        "lag_of_bitcoin", "lag", "critical", "crypto_raw_btcusdt", 0, "120000 messages wait.", over="None waits."
    )
    with opened(browser, served.url) as market, opened(browser, served.url + "/alerts") as page:
        expect(page.get_by_role("region", name="Active").locator(".alert")).to_have_count(3)
        expect(market.locator("#alert-count")).to_have_text("2")
        number = made_alerts.fire(settings, made)
        row = page.get_by_role("region", name="Active").locator(f"[data-alert='{number}']")
        expect(row).to_contain_text("120000 messages wait.")
        expect(row).to_contain_text("the rule has no destination")
        expect(market.locator("#alert-count")).to_have_text("3")
        row.get_by_role("button", name="Acknowledge").press("Enter")
        expect(row).to_contain_text("Acknowledged")
        expect(row.get_by_role("button")).to_have_count(0)
        expect(page.get_by_role("button", name="Acknowledge stale_tables")).to_be_focused()
        expect(market.locator("#alert-count")).to_have_text("2")
        [(at,)] = made_alerts.rows(settings, "select acknowledged_at from alerts.alerts where id = %s", number)
        assert at is not None
        made_alerts.resolve(settings, made)
        over = page.get_by_role("region", name="Past").locator(f"[data-alert='{number}']")
        expect(over).to_contain_text("None waits.")
        expect(row).to_have_count(0)


def test_the_page_says_whether_the_rules_are_evaluated(served: Served, browser: Browser) -> None:
    with opened(browser, served.url + "/alerts") as page:
        expect(page.locator(".tile").last).to_contain_text("the alerts service does not run: ./monitor.sh shows it")
        with closing(Store(served.postgres.settings)) as service:
            service.be_alone()
            expect(page.locator(".tile").last).to_contain_text("by the alerts service")
        expect(page.locator(".tile").last).to_contain_text("not evaluated")


def test_a_market_page_that_is_left_while_it_loads_draws_nothing_any_more(served: Served, browser: Browser) -> None:
    with opened(browser, "about:blank") as page:
        page.route("**/api/v1/about", lambda _: None)  # never answered: the page is left meanwhile
        with page.expect_response("**/api/v1/symbols"):
            page.goto(served.url)
        expect(page.locator("h1")).to_be_visible()
        page.keyboard.press("l")
        expect(page.get_by_role("region", name="Past")).to_be_visible()
        # Two frames: what was drawn into a chart that is gone would have failed by then.
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert "symbol=" not in address(page)


def test_past_alerts_are_filtered_and_come_in_pieces(served: Served, browser: Browser) -> None:
    with opened(browser, served.url) as page:
        page.keyboard.press("l")
        past, active = (page.get_by_role("region", name=name).locator(".alert") for name in ("Past", "Active"))
        expect(past).to_have_count(50)
        page.get_by_role("button", name="Show more").click()
        eventually("the older ones", lambda: past.count() > OLD)
        expect(page.get_by_role("button", name="Show more")).to_be_hidden()
        expect(active.filter(has_text=SEEN)).to_contain_text("Acknowledged")
        waits = active.filter(has_text="stale_tables").locator(".waits")
        expect(waits).to_contain_text("phone is not told yet, after 1 try")
        expect(waits).to_contain_text("502: Bad Gateway")
        page.get_by_label("Filter: subject").select_option("binance XRPUSDT")
        expect(past).to_have_count(OLD // 5)
        expect(page.get_by_text("Nothing with these filters.")).to_be_visible()
        assert "subject=binance+XRPUSDT" in address(page)
        page.get_by_role("button", name="Show all").click()
        expect(active).to_have_count(3)


def test_where_no_alert_has_fired_the_page_says_where_the_rules_are(served: Served, browser: Browser) -> None:
    settings = served.postgres.settings
    made_alerts.rows(settings, "truncate alerts.alerts, alerts.outbox")
    try:
        with opened(browser, served.url + "/alerts") as page:
            expect(page.get_by_role("region", name="Active")).to_contain_text("config/alerts.yaml")
            expect(page.get_by_role("region", name="Active")).to_contain_text("crypto alerts test NAME")
            expect(page.locator("#alert-count")).to_be_hidden()
    finally:
        made_alerts.create(settings)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nowhere", "There is no page /nowhere. There are Market"),
        ("/?symbol=NOPE", "There is no symbol 'NOPE'. There is BNBUSDT"),
        ("/?symbol=BTCUSDT&interval=7m", "There is no timeframe '7m'."),
    ],
)
def test_a_wrong_link_says_what_is_right(served: Served, browser: Browser, path: str, said: str) -> None:
    with opened(browser, served.url + path, quiet=False) as page:
        expect(page.locator("main")).to_contain_text(said)


def test_the_page_says_that_the_database_is_away_and_goes_on_when_it_is_back(served: Served, browser: Browser) -> None:
    with opened(browser, served.url + "/?symbol=BTCUSDT", quiet=False) as page:
        eventually("candles", lambda: candles(page))
        served.postgres.kill()
        try:
            expect(page.get_by_role("alert")).to_contain_text("The serving database does not answer", timeout=SLOW_MS)
            before = price(page)
            eventually("the price moves all the same", lambda: price(page) != before)
        finally:
            served.postgres.start()
        expect(page.get_by_role("alert")).to_be_hidden(timeout=30_000)
        page.locator("[data-symbol=ETHUSDT]").click()
        eventually("its candles", lambda: len(candles(page)) > 100)


def test_the_page_says_that_the_stream_is_away_and_goes_on_when_it_is_back(served: Served, browser: Browser) -> None:
    with opened(browser, served.url + "/?symbol=BTCUSDT") as page:
        eventually("the stream", lambda: candles(page) and candles(page)[-1]["status"] == "live")
        served.kafka.kill()
        try:
            expect(page.get_by_role("alert")).to_contain_text("Kafka does not answer", timeout=40_000)
        finally:
            served.kafka.start()
        expect(page.get_by_role("alert")).to_be_hidden(timeout=60_000)
        before = price(page)
        eventually("the price moves again", lambda: price(page) != before, 60)
        times = [bar["time"] for bar in candles(page)]
        assert len(times) == len(set(times))
        assert times[-1] >= time.time() - 120
