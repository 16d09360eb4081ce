from alerts import digest
from alerts.digest import Facts
from tests.alerts.trades import START

HOUR = 3_600_000_000


def test_a_digest_is_due_from_its_hour_on() -> None:
    midnight = START // (24 * HOUR) * 24 * HOUR
    assert digest.due(midnight + 7 * HOUR, 7) == "2026-11-21"
    assert digest.due(midnight + 7 * HOUR - 1, 7) == "2026-11-20"


def test_a_digest_tells_what_fired_how_complete_the_data_is_and_which_gaps_are_open() -> None:
    fired = {"severity": "warning", "rule": "fast_move", "subject": "binance BTCUSDT", "text": "It moved.",
             "is_active": True, "n": 25}  # fmt: skip
    complete = {"exchange": "binance", "symbol": "BTCUSDT", "expected": 1440, "proven": 1368}
    gap = {"exchange": "binance", "symbol": "XRPUSDT", "gap_stream": "trade", "begins": "2026-11-20 10:00",
           "detail": "REST does not answer.", "n": 1}  # fmt: skip
    assert digest.text(Facts("2026-11-20", [fired], [complete], [gap])).splitlines() == [
        "Alerts in the last 24 hours: 25",
        "- warning fast_move, binance BTCUSDT (active): It moved.",
        "… and 24 more",
        "",
        "Markets and their minutes proven complete on 2026-11-20: 1",
        "- binance BTCUSDT: 95 % (1368 of 1440 minutes)",
        "",
        "Open gaps: 1",
        "- binance XRPUSDT trade since 2026-11-20 10:00: REST does not answer.",
    ]


def test_a_digest_of_a_day_without_news_says_so() -> None:
    assert digest.text(Facts("2026-11-20", [], [], [])).count("none") == 3
