import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.report import numbers


@pytest.mark.parametrize(
    ("given_", "text"),
    [(0.0124, "+1.24 %"), (-0.0003, "−0.03 %"), (0.0, "0.00 %"), (-0.00001, "0.00 %"), (12.5, "+1,250.00 %")],
)
def test_a_percentage_has_its_sign_and_nothing_has_none(given_: float, text: str) -> None:
    assert numbers.percent(given_).replace("\u202f", " ") == text


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf, -math.inf])
def test_what_is_not_known_is_a_dash_and_has_no_colour(unknown: float | None) -> None:
    for shown in (
        numbers.percent, numbers.amount, numbers.price, numbers.quantity, numbers.compact, numbers.ratio,
        numbers.scientific,
    ):  # fmt: skip
        assert shown(unknown) == "–"
    assert numbers.tone(unknown) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (100460.38, "100,460.38"),
        (203.97, "203.97"),
        (99.991, "99.991"),
        (2.797, "2.7970"),
        (0.00001234, "0.000012340"),
        (0, "0"),
        (1e-20, "0.000000000000"),
    ],
)
def test_a_price_has_the_digits_that_mean_something(value: float, text: str) -> None:
    assert numbers.price(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.234e8, "123 M"), (999_600, "1.00 M"), (999_400, "999 k"), (12_340, "12.3 k"), (9.9e12, "9.90 T"), (5, "5.00")],
)
def test_a_turnover_has_three_digits_and_a_unit(value: float, text: str) -> None:
    assert numbers.compact(value).replace("\u202f", " ") == text


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.5"), (1500.0, "1,500"), (0.12345678, "0.12345678"), (0, "0")])
def test_a_quantity_has_no_zeros_at_its_end(value: float, text: str) -> None:
    assert numbers.quantity(value) == text


def test_an_amount_has_separators_and_a_true_minus() -> None:
    assert numbers.amount(-1234567.891) == "−1,234,567.89"
    assert numbers.amount(612.3, signed=True) == "+612.30"
    assert numbers.scientific(1.2e-9) == "1.20e−09"


@given(st.floats(-1e15, 1e15))
def test_an_amount_reads_back_to_the_last_digit_shown(value: float) -> None:
    read = float(numbers.amount(value, signed=True).replace("−", "-").replace(",", ""))
    assert abs(read - value) <= 0.005 + abs(value) * 1e-15
