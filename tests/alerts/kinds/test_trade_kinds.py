import pytest
from pydantic import ValidationError

from alerts.kinds.move import Move
from alerts.kinds.price_crosses import PriceCrosses
from alerts.kinds.volume_spike import VolumeSpike
from tests.alerts.trades import trade, trades


def crosses(**level: str) -> PriceCrosses:
    return PriceCrosses(name="level", kind="price_crosses", symbols=("BTCUSDT",), **level)


def test_a_price_crosses_when_it_reaches_the_level_from_the_other_side() -> None:
    rule = crosses(above="100")
    state = rule.remembers()
    assert [rule.see(state, one) for one in trades("99.99", "100", "101", "99")] == [False, True, True, False]
    below, state = crosses(below="100"), rule.remembers()
    assert [below.see(state, one) for one in trades("100.01", "100", "101")] == [False, True, False]


def test_a_price_that_is_beyond_the_level_from_the_first_has_not_crossed_it() -> None:
    rule = crosses(above="100")
    state = rule.remembers()
    assert [rule.see(state, one) for one in trades(101, 102, 99, 101)] == [None, None, False, True]


def test_a_crossing_says_the_price_and_the_level() -> None:
    rule = crosses(above="100000")
    said = rule.text(rule.remembers(), trade(1, "100010.50"))
    assert said == "BTCUSDT trades at 100,010.5 USDT (above: 100,000)."


@pytest.mark.parametrize("levels", [{}, {"above": "1", "below": "2"}, {"above": "-1"}])
def test_a_crossing_has_one_level_above_zero(levels: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        crosses(**levels)


@pytest.mark.parametrize(
    ("direction", "prices", "expected"),
    [
        ("any", (100, 101, 104.9, 105, 103), [False, False, False, True, False]),
        ("any", (100, 99, 95), [False, False, True]),
        ("up", (100, 95, 99.74, 99.75), [False, False, False, True]),
        ("down", (100, 105, 99.75), [False, False, True]),
    ],
)
def test_a_move_is_from_the_lowest_or_the_highest_price_of_the_window(
    direction: str, prices: tuple[float, ...], expected: list[bool]
) -> None:
    rule = Move(name="m", kind="move", percent=5, minutes=1, direction=direction)
    state = rule.remembers()
    assert [rule.see(state, one) for one in trades(*prices)] == expected


def test_what_lies_before_the_window_does_not_count_for_a_move() -> None:
    rule = Move(name="m", kind="move", percent=5, minutes=2)
    state = rule.remembers()
    assert [rule.see(state, trade(n, price, at)) for n, (price, at) in enumerate(
        [("100", 0), ("106", 121), ("106", 122)], 1)] == [False, False, False]  # fmt: skip
    rule.see(state, trade(4, "112", 130))
    assert f"{rule.value(state, trade(4, '112', 130)):.2f}" == "5.66"
    assert rule.text(state, trade(4, "112", 130)) == "BTCUSDT moved by +5.66 % within 2 minutes, to 112."


def test_a_move_remembers_no_more_of_a_busy_market() -> None:
    rule = Move(name="m", kind="move", percent=5, minutes=1)
    state = rule.remembers()
    for number in range(3000):
        rule.see(state, trade(number, str(100 + number % 3), number / 10))
    assert len(state.parts) == 60


def test_a_volume_spike_is_so_many_times_what_was_usual_before() -> None:
    rule = VolumeSpike(name="v", kind="volume_spike", times=5, minutes=1, usual_minutes=10)
    state = rule.remembers()
    usual = [rule.see(state, trade(n, "100", n * 6, quantity="1")) for n in range(110)]
    assert usual == [None] * 110  # eleven minutes: until then nobody knows what is usual
    assert rule.see(state, trade(110, "100", 660, quantity="1")) is False
    assert rule.see(state, trade(111, "100", 661, quantity="39")) is False
    assert rule.see(state, trade(112, "100", 662, quantity="1")) is True
    assert rule.text(state, trade(112, "100", 662)) == "50 BTC of BTCUSDT traded in 1 minute: 5.0 times what is usual."
    assert rule.see(state, trade(113, "100", 730, quantity="1")) is False


def test_a_market_in_which_nothing_was_traded_has_nothing_usual() -> None:
    rule = VolumeSpike(name="v", kind="volume_spike", times=5, minutes=1, usual_minutes=10)
    state = rule.remembers()
    rule.see(state, trade(1, "100", 0))
    assert rule.see(state, trade(2, "100", 3600)) is None


def test_what_is_usual_must_be_longer_than_the_window() -> None:
    with pytest.raises(ValidationError, match="five times"):
        VolumeSpike(name="v", kind="volume_spike", times=5, minutes=10, usual_minutes=30)
