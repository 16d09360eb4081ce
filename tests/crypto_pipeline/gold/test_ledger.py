"""What is held and what it cost: by hand, and what must always hold."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.gold._ledger import EXACT, Ledger, NotCoveredError
from crypto_pipeline.gold._portfolios import Transaction

AT = datetime(2026, 11, 1, 9)  # noqa: DTZ001 (UTC, as all times here)
D = Decimal
MARKET = {"BTCUSDT": D(50_000), "ETHUSDT": D(2_000), "BNBUSDT": D(500), "ETHBTC": D("0.04")}


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with localcontext(EXACT):
        yield


def order(kind: str, symbol: str, quantity: str, price: str | None, fee: str = "0", fee_asset: str = "") -> Transaction:
    quote = next(one for one in ("USDT", "BTC") if symbol.endswith(one))
    base, each = symbol.removesuffix(quote), D(price) if price else None
    return Transaction("t.csv:2", AT, kind, base, quote, D(quantity), each, D(fee), fee_asset)  # type: ignore[arg-type]


def with_cash(units: str) -> Ledger:
    ledger = Ledger.of(["BTC", "ETH", "BNB"])
    if D(units):
        ledger.flow("USDT", D(units), AT, MARKET.__getitem__)
    return ledger


def says(ledger: Ledger, asset: str) -> tuple[Decimal, ...]:
    position = ledger.positions[asset]
    return (position.units, position.cost, position.realised, position.invested)


def test_what_was_bought_first_is_sold_first() -> None:
    ledger = with_cash("1000")
    for kind, quantity, price in (("buy", "1", "100"), ("buy", "2", "130"), ("sell", "2", "150")):
        ledger.trade(order(kind, "ETHUSDT", quantity, price), AT, MARKET.__getitem__)
    # 1 of 100 and 1 of 130 go for 300: profit 70; 1 of 130 stays.
    assert says(ledger, "ETH") == (1, 130, 70, 60)
    assert [lot.cost for lot in ledger.positions["ETH"].lots] == [130]
    assert says(ledger, "USDT") == (940, 940, 0, 940)


@pytest.mark.parametrize(
    ("fee", "fee_asset", "units", "cost", "paid"),
    [
        ("0.5", "USDT", "1", "100.5", "100.5"),
        ("0.01", "ETH", "0.99", "100", "100"),
    ],
)
def test_a_fee_is_part_of_the_cost_of_what_is_bought(
    fee: str, fee_asset: str, units: str, cost: str, paid: str
) -> None:
    ledger = with_cash("1000")
    ledger.trade(order("buy", "ETHUSDT", "1", "100", fee, fee_asset), AT, MARKET.__getitem__)
    assert says(ledger, "ETH")[:2] == (D(units), D(cost))
    assert ledger.positions["USDT"].units == 1000 - D(paid)
    assert ledger.positions["ETH"].fees == (D(fee) if fee_asset == "USDT" else D("0.01") * 100)


@pytest.mark.parametrize(
    ("fee", "fee_asset", "left", "realised", "received"),
    [
        ("0.5", "USDT", "1", "19.5", "119.5"),
        ("0.01", "ETH", "0.99", "19", "120"),
    ],
)
def test_a_fee_lessens_the_proceeds_of_what_is_sold(
    fee: str, fee_asset: str, left: str, realised: str, received: str
) -> None:
    ledger = with_cash("200")
    ledger.trade(order("buy", "ETHUSDT", "2", "100"), AT, MARKET.__getitem__)
    ledger.trade(order("sell", "ETHUSDT", "1", "120", fee, fee_asset), AT, MARKET.__getitem__)
    # A fee of 0.01 ETH takes 1.01 of the lot of 2 that cost 200: 101.
    assert (ledger.positions["ETH"].units, ledger.positions["ETH"].realised) == (D(left), D(realised))
    assert ledger.positions["USDT"].units == D(received)


def test_a_fee_in_a_third_asset_is_a_sale_of_that_at_its_price() -> None:
    ledger = with_cash("1000")
    ledger.trade(order("buy", "BNBUSDT", "1", "400"), AT, MARKET.__getitem__)
    ledger.trade(order("buy", "ETHUSDT", "1", "100", "0.01", "BNB"), AT, MARKET.__getitem__)
    # 0.01 BNB are worth 5 now and cost 4.
    assert says(ledger, "BNB") == (D("0.99"), 396, 1, 395)
    assert says(ledger, "ETH") == (1, 105, 0, 105)
    ledger.trade(order("sell", "ETHUSDT", "1", "110", "0.01", "BNB"), AT, MARKET.__getitem__)
    assert says(ledger, "ETH") == (0, 0, 0, 0)  # 110 less 5 of fee is what it cost
    assert says(ledger, "BNB")[2] == 2


def test_another_quote_asset_is_sold_for_what_it_buys_at_its_price() -> None:
    ledger = with_cash("40000")
    ledger.trade(order("buy", "BTCUSDT", "1", "40000"), AT, MARKET.__getitem__)
    ledger.trade(order("buy", "ETHBTC", "10", "0.03"), AT, MARKET.__getitem__)
    # 0.3 BTC, worth 15,000, that cost 12,000.
    assert says(ledger, "BTC") == (D("0.7"), 28_000, 3_000, 25_000)
    assert says(ledger, "ETH") == (10, 15_000, 0, 15_000)
    ledger.trade(order("sell", "ETHBTC", "5", None), AT, MARKET.__getitem__)
    assert says(ledger, "ETH") == (5, 7_500, 2_500, 5_000)  # 5 * 0.04 BTC, worth 10,000
    assert ledger.positions["BTC"].units == D("0.9")


def test_what_is_taken_out_is_realised_at_its_value() -> None:
    ledger = with_cash("0")
    ledger.flow("ETH", D(2), AT, {"ETHUSDT": D(1_000)}.__getitem__)
    ledger.flow("ETH", D(-1), AT, MARKET.__getitem__)
    assert says(ledger, "ETH") == (1, 1_000, 1_000, 0)


@pytest.mark.parametrize(
    "one",
    [
        order("sell", "ETHUSDT", "1", "1"),
        order("buy", "ETHUSDT", "1", "101"),
        order("buy", "ETHUSDT", "1", "100", "0.000000000000000001", "USDT"),
        order("buy", "ETHUSDT", "1", "1", "1", "BNB"),
        order("buy", "ETHUSDT", "1", "1", "1", "ETH"),
        order("buy", "ETHBTC", "1", None),
    ],
)
def test_nothing_is_sold_or_paid_that_is_not_there(one: Transaction) -> None:
    with pytest.raises(NotCoveredError):
        with_cash("100").trade(one, AT, MARKET.__getitem__)


def test_weights_are_met_after_the_fee() -> None:
    ledger = with_cash("1000")
    weights = {"ETH": D("0.5"), "BTC": D("0.3"), "USDT": D("0.2")}
    ledger.rebalance(weights, D("0.01"), AT, MARKET.__getitem__)
    # v = 1000 - 0.01 * 0.8 v
    whole = D(1000) / D("1.008")
    for asset, weight in weights.items():
        price = D(1) if asset == "USDT" else MARKET[f"{asset}USDT"]
        assert abs(ledger.positions[asset].value(price) - weight * whole) < D("0.001"), asset
    paid = sum(position.fees for position in ledger.positions.values())
    assert abs(paid - D("0.01") * D("0.8") * whole) < D("0.00001")
    assert ledger.value(MARKET.__getitem__) == 1000 - paid


amounts = st.decimals(min_value="0.000000000000000001", max_value="1000", places=18)
prices = st.decimals(min_value="0.00000001", max_value="1000000000", places=12)
fees = st.sampled_from(["", "USDT", "BTC", "ETH", "BNB"])
kinds, held = st.sampled_from(["flow", "out", "buy", "sell"]), st.sampled_from(["BTC", "ETH", "BNB"])
events = st.lists(st.tuples(kinds, held, amounts, prices, fees), max_size=25)


@given(events)
def test_the_value_is_what_was_put_in_and_the_profit_to_the_last_place(made: list[Any]) -> None:
    ledger = with_cash("1000000000")
    market = dict(MARKET)
    put_in = D(1_000_000_000)
    for number, (kind, asset, quantity, price, fee_asset) in enumerate(made):
        market[f"{asset}USDT"] = price
        at = AT + timedelta(minutes=number)
        one = order(kind, f"{asset}USDT", str(quantity), str(price), "0.001" if fee_asset else "0", fee_asset)
        before = deepcopy(ledger)
        try:
            if kind in ("flow", "out"):
                signed = quantity if kind == "flow" else -quantity
                ledger.flow(asset, signed, at, market.__getitem__)
                put_in += EXACT.multiply(signed, price).quantize(D("1e-18"))
            else:
                ledger.trade(one, at, market.__getitem__)
        except NotCoveredError:
            ledger = before  # the portfolio would be refused
    value = ledger.value(market.__getitem__)
    realised = sum((p.realised for p in ledger.positions.values()), D(0))
    cost = sum((p.cost for p in ledger.positions.values()), D(0))
    assert realised + (value - cost) == value - put_in
    for position in ledger.positions.values():
        assert position.units >= 0
        assert position.invested == position.cost - position.realised
        if position.lots:
            assert sum(lot.units for lot in position.lots) == position.units
            assert sum(lot.cost for lot in position.lots) == position.cost
            assert all(lot.units > 0 for lot in position.lots)
            assert list(position.lots) == sorted(position.lots, key=lambda lot: lot.acquired_at)


parts = st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any)


@given(
    parts, parts, st.decimals(min_value=0, max_value="0.1", places=6), st.lists(prices, min_size=6, max_size=6),
    st.decimals(min_value="0.01", max_value="1000000000", places=2),
)  # fmt: skip
def test_rebalancing_owes_nothing_and_loses_the_fees_alone(
    first: list[int], second: list[int], fee: D, at_prices: list[D], cash: D
) -> None:
    ledger = with_cash(str(cash))
    assets = ("BTC", "ETH", "BNB")
    for chosen, paid in ((first, at_prices[:3]), (second, at_prices[3:])):
        rest = 100 * len(assets) - sum(chosen)
        weights = {asset: D(part) / 300 for asset, part in zip(assets, chosen, strict=True)}
        weights |= {"USDT": D(rest) / 300}
        market = {f"{asset}USDT": price for asset, price in zip(assets, paid, strict=True)}
        before = ledger.value(market.__getitem__)
        fees_before = sum(position.fees for position in ledger.positions.values())
        ledger.rebalance(weights, fee, AT, market.__getitem__)
        charged = sum(position.fees for position in ledger.positions.values()) - fees_before
        assert ledger.positions["USDT"].units >= 0
        assert all(position.units >= 0 for position in ledger.positions.values())
        lost = before - charged - ledger.value(market.__getitem__)
        assert abs(lost) <= D("1e-17"), "but for the rounding of each value"
