"""What a portfolio is worth and earned, by hand; and what must hold of every one."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, localcontext
from typing import Any

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_pipeline.gold._ledger import EXACT
from crypto_pipeline.gold._portfolios import Portfolio, PortfolioFileError, Transaction
from crypto_pipeline.gold._valuation import DAY, TOTAL, Prices, Quote, Record, first_start, valued, wanted_minutes

START = date(2026, 10, 30)
"""A Friday; the month ends on the next day."""
D = Decimal
Closes = Mapping[str, list[float | None]]
"""Of each asset, from the day before the start on; none where nothing is known of the day."""


@pytest.fixture(scope="module", autouse=True)
def _exact() -> Iterator[None]:
    """What is summed here is exact too."""
    with localcontext(EXACT):
        yield


def portfolio(**changes: Any) -> Portfolio:
    said: dict[str, Any] = {
        "name": "p", "where": "portfolio.yaml:2", "exchange": "binance", "start": START, "cash": D(0), "units": {},
        "weights": {}, "rebalance": "never", "fee": D(0), "transactions": (), "benchmark": "BTC",
    }  # fmt: skip
    return Portfolio(**(said | changes))


def prices(closes: Closes, minutes: Mapping[tuple[str, str], float] | None = None, **last: datetime) -> Prices:
    """Closes at the end of each day; minutes by symbol and time."""
    known = {
        (f"{asset}USDT", START + (n - 1) * DAY): Quote(D(str(close)), datetime.combine(START, time()) + n * DAY)
        for asset, values in closes.items()
        for n, close in enumerate(values)
        if close is not None
    }
    days = max(len(values) for values in closes.values()) - 1
    at = {(symbol, datetime.fromisoformat(text)): D(str(each)) for (symbol, text), each in (minutes or {}).items()}
    return Prices(known, at, last.get("as_of", datetime.combine(START, time()) + days * DAY))


def rows_of(one: Portfolio, closes: Prices) -> list[Record]:
    return valued(one, START, START, [], closes)


def by_day(rows: Iterable[Record], asset: str = TOTAL) -> list[Record]:
    return [row for row in rows if row["asset"] == asset]


def column(rows: Iterable[Record], name: str, asset: str = TOTAL) -> list[Any]:
    return [row[name] for row in by_day(rows, asset)]


def order(text: str, kind: str, symbol: str, quantity: str, price: str | None = None, fee: str = "0") -> Transaction:
    quote = "" if kind in ("deposit", "withdrawal") else "BTC" if symbol == "ETHBTC" else "USDT"
    fee_asset = "USDT" if D(fee) else ""
    asset, each = symbol.removesuffix(quote) if quote else symbol, D(price) if price else None
    return Transaction(
        "t.csv:2", datetime.fromisoformat(text), kind, asset, quote, D(quantity), each, D(fee), fee_asset
    )  # type: ignore[arg-type]


def test_what_is_held_is_worth_its_units_at_each_close() -> None:
    rows = rows_of(
        portfolio(units={"BTC": D(2), "ETH": D(10)}, cash=D(50)), prices({"BTC": [100, 110, 99], "ETH": [20, 20, 22]})
    )
    # 450 at the start; 470, then 468.
    assert column(rows, "value") == [470, 468]
    assert column(rows, "profit") == [20, 18]
    assert column(rows, "profit_day") == [20, -2]
    assert column(rows, "invested") == [450, 450]
    assert column(rows, "return_day") == pytest.approx([20 / 450, 468 / 470 - 1])
    assert column(rows, "return_since_start") == pytest.approx([20 / 450, 18 / 450])
    assert column(rows, "drawdown") == pytest.approx([0, 468 / 470 - 1])
    assert column(rows, "contribution_day", "BTC") == pytest.approx([20 / 450, -22 / 470])
    assert column(rows, "contribution", "ETH") == pytest.approx([0, (470 / 450) * 20 / 470])
    assert column(rows, "contribution_day", "USDT") == [0, 0]
    assert column(rows, "weight", "USDT") == pytest.approx([50 / 470, 50 / 468])
    assert column(rows, "benchmark_return_since_start") == pytest.approx([0.1, -0.01])
    assert column(rows, "excess_return") == pytest.approx([20 / 450 - 0.1, 18 / 450 + 0.01])
    assert column(rows, "observations") == [1, 2]
    assert column(rows, "turnover") == [0, 0]
    assert column(rows, "is_closed") == [True, True]


def test_an_equal_weight_is_the_mean_of_the_assets_returns_each_day() -> None:
    one = portfolio(units={"BTC": D(2), "ETH": D(10)}, benchmark="equal_weight")
    rows = rows_of(one, prices({"BTC": [100, 110, 99], "ETH": [20, 20, 22]}))
    assert column(rows, "benchmark_return_day") == pytest.approx([0.05, 0])
    assert column(rows, "benchmark_growth") == pytest.approx([1.05, 1.05])


def test_returns_of_week_and_month_begin_on_monday_and_on_the_first() -> None:
    closes = [
        100,
        101,
        103,
        102,
        104,
        108,
        107,
    ]  # Thursday before; Friday 30th, Saturday 31st, Sunday 1st, Monday 2nd ...
    rows = rows_of(portfolio(units={"BTC": D(1)}), prices({"BTC": closes}))
    of_month = [1.01, 1.03, 102 / 103, 104 / 103, 108 / 103, 107 / 103]
    assert column(rows, "return_month") == pytest.approx([each - 1 for each in of_month])
    of_week = [1.01, 1.03, 1.02, 104 / 102, 108 / 102, 107 / 102]
    assert column(rows, "return_week") == pytest.approx([each - 1 for each in of_week])


@pytest.mark.parametrize("closes", [[100] * 8, [100 + n for n in range(8)], [100, 90] * 4, [100, 100, 100, 55, 55, 55]])
def test_growth_and_drawdown_are_those_of_the_library(closes: list[float]) -> None:
    rows = rows_of(portfolio(units={"BTC": D(1)}), prices({"BTC": closes}))
    returns = pd.Series(column(rows, "return_day"))
    np.testing.assert_allclose(column(rows, "return_since_start"), empyrical.cum_returns(returns), atol=1e-12)
    assert column(rows, "max_drawdown")[-1] == pytest.approx(empyrical.max_drawdown(returns))
    assert column(rows, "excess_return") == pytest.approx([0] * len(returns)), "it is its own benchmark"


def test_money_that_comes_or_goes_is_no_return() -> None:
    made = (
        order("2026-10-30 12:00:30", "deposit", "USDT", "1000"),
        order("2026-10-31 06:00", "withdrawal", "USDT", "1100"),
    )
    rows = rows_of(portfolio(transactions=made, cash=D(100)), prices({"BTC": [100, 100, 100, 100]}))
    assert column(rows, "value") == [1100, 0, 0]
    assert column(rows, "return_day") == [0, 0, None]
    assert column(rows, "return_since_start") == [0, 0, 0]
    assert column(rows, "reason") == [None, "nothing_invested", "nothing_invested"]


def test_the_return_is_weighted_by_time_alone() -> None:
    made = (
        order("2026-10-30 00:00", "buy", "BTCUSDT", "1", "100"),
        order("2026-10-30 12:00:30", "deposit", "USDT", "800"),
        order("2026-10-30 12:01", "buy", "BTCUSDT", "4", "200"),
        order("2026-10-31 06:00", "withdrawal", "BTC", "2"),
    )
    minutes = {("BTCUSDT", "2026-10-30 12:00"): 200, ("BTCUSDT", "2026-10-31 06:00"): 50}
    rows = rows_of(portfolio(transactions=made, cash=D(100)), prices({"BTC": [100, 100, 100]}, minutes))
    # 100 -> 200; 200 and 800 of cash buy 4 more at 200, and all fall to 100. Then to 50, two are gone, and back to 100.
    assert column(rows, "return_day") == pytest.approx([2 * 0.5 - 1, 0.5 * 2 - 1])
    assert column(rows, "value") == [500, 300]
    assert column(rows, "invested") == [900, 800]
    assert column(rows, "realised_profit") == [0, -200], "those of 100 and 200 went at 50 each"


def test_weights_are_kept_from_the_first_of_the_month_on_at_the_closes_before() -> None:
    one = portfolio(cash=D(1000), weights={"BTC": D("0.5"), "ETH": D("0.5")}, rebalance="monthly")
    rows = rows_of(one, prices({"BTC": [100, 100, 200, 200], "ETH": [10, 10, 10, 10]}))
    assert [float(units) for units in column(rows, "units", "BTC")] == pytest.approx([5, 5, 3.75], abs=1e-6)
    assert column(rows, "weight", "BTC") == pytest.approx([0.5, 2 / 3, 0.5], abs=1e-6)
    assert column(rows, "return_day") == pytest.approx([0, 0.5, 0], abs=1e-6)
    assert column(rows, "turnover_day") == pytest.approx([0.5, 0, 250 / 1500], abs=1e-6)
    assert column(rows, "realised_profit")[-1] == pytest.approx(D(125), abs=D("0.001"))


@pytest.mark.parametrize(
    ("rule", "trades"), [("never", [1, 0, 0, 0, 0]), ("weekly", [1, 0, 0, 1, 0]), ("daily", [1, 1, 1, 1, 1])]
)
def test_weights_are_kept_as_often_as_the_rule_says(rule: str, trades: list[int]) -> None:
    one = portfolio(cash=D(1000), weights={"BTC": D("0.5"), "USDT": D("0.5")}, rebalance=rule, fee=D("0.001"))
    rows = rows_of(one, prices({"BTC": [100, 110, 120, 130, 140, 150]}))
    assert [int(traded > 1) for traded in column(rows, "traded_day")] == trades
    fees = column(rows, "fees")
    assert fees[0] == pytest.approx(D("0.49975"), abs=D("0.0001"))
    assert column(rows, "return_day")[0] == pytest.approx(0.05 * (1000 - 0.49975) / 1000 - 0.00049975, abs=1e-6)


def test_a_price_that_is_not_known_is_carried_and_marked_and_the_present_day_is_open() -> None:
    known = prices({"BTC": [100, 110, None, 130], "ETH": [10, 10, 10, None]}, as_of=datetime(2026, 11, 1, 13, 5))  # noqa: DTZ001
    late = Quote(D(130), datetime(2026, 11, 1, 12, 5))  # noqa: DTZ001
    known = Prices(dict(known.closes) | {("BTCUSDT", date(2026, 11, 1)): late}, {}, known.as_of)
    rows = rows_of(portfolio(units={"BTC": D(1)}, benchmark="ETH"), known)
    assert column(rows, "price", "BTC") == [110, 110, 130]
    assert column(rows, "is_stale", "BTC") == [False, True, False], "an hour old is not over an hour old"
    assert column(rows, "is_stale") == [False, True, False]
    assert column(rows, "is_closed") == [True, True, False]
    assert by_day(rows)[-1]["as_of"] == known.as_of
    assert column(rows, "benchmark_return_day") == [0, 0, 0]


def test_a_portfolio_without_money_has_no_return_and_says_why() -> None:
    rows = rows_of(
        portfolio(transactions=(order("2026-10-31 06:00", "deposit", "USDT", "9"),)), prices({"BTC": [1, 2, 3]})
    )
    first, second = by_day(rows)
    assert (first["value"], first["return_day"], first["reason"], first["observations"]) == (
        0,
        None,
        "nothing_invested",
        0,
    )
    assert (second["value"], second["return_day"], second["reason"], second["observations"]) == (9, 0, None, 1)


def test_an_asset_without_a_price_says_so_until_it_has_one() -> None:
    made = (order("2026-10-31 06:00", "buy", "ETHUSDT", "1", "12"),)
    rows = rows_of(portfolio(transactions=made, cash=D(20)), prices({"BTC": [1, 1, 1], "ETH": [None, None, 13]}))
    assert column(rows, "reason", "ETH") == ["no_price_yet", None]
    assert column(rows, "value") == [20, 21]


def test_what_is_held_must_have_a_price() -> None:
    made = (order("2026-10-30 06:00", "buy", "ETHUSDT", "1", "12"),)
    with pytest.raises(PortfolioFileError, match=r"portfolio\.yaml:2: p: it holds what has no price.*ETHUSDT"):
        rows_of(portfolio(transactions=made, cash=D(20)), prices({"BTC": [1, 1, 1], "ETH": [None, None, 13]}))
    with pytest.raises(PortfolioFileError, match=r"t\.csv:2: p: no price of ETHUSDT is known by 2026-10-30 06:00:00"):
        rows_of(portfolio(transactions=(made[0]._replace(price=None),), cash=D(20)), prices({"BTC": [1, 1]}))


def test_transactions_of_one_time_count_in_the_order_of_the_file() -> None:
    at = "2026-10-30 06:00"
    buy, sell = order(at, "buy", "BTCUSDT", "1", "100"), order(at, "sell", "BTCUSDT", "1", "110")
    rows = rows_of(portfolio(transactions=(buy, sell), cash=D(100)), prices({"BTC": [100, 100]}))
    assert column(rows, "realised_profit") == [10]
    with pytest.raises(PortfolioFileError, match=r"t\.csv:2: p: sell 1 BTC: there is too little for it.*100 USDT"):
        rows_of(portfolio(transactions=(sell, buy), cash=D(100)), prices({"BTC": [100, 100]}))


def test_a_transaction_counts_when_its_minute_is_over() -> None:
    made = (order("2026-10-30 06:00:30", "deposit", "USDT", "9"),)
    one = portfolio(transactions=made, cash=D(1))
    for until, value in ((0, 1), (1, 10)):
        as_of = datetime(2026, 10, 30, 6, until)  # noqa: DTZ001
        assert column(rows_of(one, prices({"BTC": [1, 1]}, as_of=as_of)), "value") == [value]


def test_prices_are_wanted_for_what_is_converted_and_for_all_where_money_flows() -> None:
    made = (
        order("2026-10-30 06:00:30", "buy", "BTCUSDT", "1", "1"),
        order("2026-10-30 07:00:30", "buy", "ETHBTC", "1"),
        order("2026-10-30 08:00", "buy", "BTCUSDT", "1", "1")._replace(fee=D(1), fee_asset="BNB"),
        order("2026-10-30 09:00", "deposit", "USDT", "1"),
        order("2026-10-31 09:00", "deposit", "USDT", "1"),
    )
    until = datetime(2026, 10, 31)  # noqa: DTZ001
    wanted = wanted_minutes(portfolio(transactions=made), START, START, until)
    assert {(at.hour, symbol) for symbol, at in wanted} == {
        (7, "ETHBTC"), (7, "BTCUSDT"), (8, "BNBUSDT"), (9, "BTCUSDT"), (9, "ETHUSDT"), (9, "BNBUSDT"),
    }  # fmt: skip
    assert {at.second for _, at in wanted} == {0}
    assert wanted_minutes(portfolio(transactions=made), START, START + DAY, until) == set()


def days(first: int, last: int) -> set[date]:
    return {START + n * DAY for n in range(first, last + 1)}


def test_it_starts_the_day_after_the_first_on_which_all_has_a_price() -> None:
    one = portfolio(start=None, units={"ETH": D(1)})
    assert first_start(one, {"BTCUSDT": days(-9, 5), "ETHUSDT": days(-3, 5)}) == START - 2 * DAY
    assert first_start(one, {"BTCUSDT": days(-9, 5) - days(-3, 0), "ETHUSDT": days(-3, 5)}) == START + 2 * DAY
    bought = (order("2026-10-31 06:00", "buy", "ETHUSDT", "1", "12"),)
    later = portfolio(start=None, transactions=bought)
    assert first_start(later, {"BTCUSDT": days(-1, 5)}) == START, "what is bought later needs no price at the start"


@pytest.mark.parametrize(
    ("start", "known", "why"),
    [
        (-5, {"BTCUSDT": days(-9, 5), "ETHUSDT": days(-3, 5)}, "before the data: ETHUSDT .* Set start to 2026-10-28"),
        (2, {"BTCUSDT": days(-9, 5) - days(1, 1), "ETHUSDT": days(-3, 5)}, "Set start to 2026-11-02"),
        (9, {"BTCUSDT": days(-9, 5), "ETHUSDT": days(-3, 5)}, "starts on 2026-11-08, and the last .* is 2026-11-04"),
        (0, {"BTCUSDT": days(-9, 5)}, "no price of ETHUSDT is there from binance: enable it in symbols.yaml"),
        (0, {"BTCUSDT": days(-9, -8), "ETHUSDT": days(-3, 5)}, "on no day all of its symbols have a price"),
    ],
)  # fmt: skip
def test_a_start_that_cannot_be_is_refused_with_one_that_can(start: int, known: dict[str, set[date]], why: str) -> None:
    one = portfolio(start=START + start * DAY, units={"ETH": D(1)})
    with pytest.raises(PortfolioFileError, match=rf"portfolio\.yaml:2: p: .*{why}"):
        first_start(one, known)


closes = st.decimals(min_value=1, max_value=10000, places=8)
amounts = st.decimals(min_value="0.00000001", max_value="1000", places=18)
markets = st.lists(st.tuples(closes, closes), min_size=2, max_size=9)
trades = st.lists(
    st.tuples(
        st.integers(0, 8 * 1440), st.sampled_from(["deposit", "withdrawal", "buy", "sell"]),
        st.sampled_from(["BTC", "ETH", "USDT"]), amounts, closes,
    ),
    max_size=12,
)  # fmt: skip
weights = st.integers(0, 100).map(lambda part: {"BTC": D(part) / 100, "ETH": D(100 - part) / 100})
rules = st.sampled_from(["never", "daily", "weekly", "monthly"])


def booked(made: list[Any], market: list[Any]) -> Portfolio:
    """A portfolio of those transactions that it covers."""
    midnight = datetime.combine(START, time())
    kept: list[Transaction] = []
    for minute, kind, asset, quantity, price in sorted(made, key=lambda one: one[0]):
        quote = "USDT" if kind in ("buy", "sell") else ""
        if quote and asset == "USDT":
            continue
        at = midnight + timedelta(minutes=minute)
        one = Transaction("t.csv:2", at, kind, asset, quote, quantity, price if quote else None, D(0), "")
        try:
            rows_of(portfolio(transactions=(*kept, one), cash=D(100000), benchmark="BTC"), on(market))
        except PortfolioFileError:
            continue
        kept.append(one)
    return portfolio(transactions=tuple(kept), cash=D(100000))


def on(market: list[Any], until: datetime | None = None) -> Prices:
    """The market up to a day; each minute's price lies between the closes around it."""
    known = prices({"BTC": [str(btc) for btc, _ in market], "ETH": [str(eth) for _, eth in market]})  # type: ignore[misc]
    if until is None:
        return known
    return Prices({key: quote for key, quote in known.closes.items() if quote.at <= until}, {}, until)


SUMMED = ("value", "cost", "profit", "profit_day", "realised_profit", "unrealised_profit", "invested", "fees")


def check_sums(rows: list[Record]) -> None:
    for day in {row["day"] for row in rows}:
        total, *parts = [row for row in rows if row["day"] == day]
        for name in SUMMED:
            assert total[name] == sum(part[name] for part in parts), name
        assert total["profit"] == total["value"] - total["invested"]
        assert total["realised_profit"] + total["unrealised_profit"] == total["value"] - total["invested"]
        assert total["contribution"] == pytest.approx(total["return_since_start"], abs=1e-9, rel=1e-6)
        assert total["contribution_day"] == pytest.approx(total["return_day"] or 0, abs=1e-9, rel=1e-6)
        for part in parts:
            assert sum(lot["units"] for lot in part["lots"]) == (0 if part["asset"] == "USDT" else part["units"])
            assert sum(lot["cost"] for lot in part["lots"]) == (0 if part["asset"] == "USDT" else part["cost"])


def check_steps(one: Portfolio, market: list[Any], rows: list[Record]) -> None:
    """Valued on from any day it is the same, and what comes later changes nothing before."""
    for n in range(1, len(market) - 1):
        since = START + n * DAY
        before = [row for row in rows if row["day"] == since - DAY]
        assert valued(one, START, since, before, on(market)) == [row for row in rows if row["day"] >= since]
        cut = rows_of(one, on(market, datetime.combine(since, time())))
        assert cut == [row for row in rows if row["day"] < since]


@settings(deadline=None, max_examples=40)
@given(trades, markets)
def test_of_any_transactions_the_parts_sum_to_the_whole_and_steps_to_all_at_once(
    made: list[Any], market: list[Any]
) -> None:
    one = booked(made, market)
    rows = rows_of(one, on(market))
    check_sums(rows)
    check_steps(one, market, rows)
    market_days = (len(market) - 1) * DAY
    flows = [
        (1 if each.type == "deposit" else -1) * each.quantity
        for each in one.transactions
        if each.is_flow and each.asset == "USDT" and each.at(START) < datetime.combine(START, time()) + market_days
    ]
    in_kind = [each for each in one.transactions if each.is_flow and each.asset != "USDT"]
    if not in_kind:
        assert by_day(rows)[-1]["invested"] == 100000 + sum(flows)


@settings(deadline=None, max_examples=40)
@given(weights, rules, st.decimals(min_value=0, max_value="0.05", places=4), markets)
def test_of_any_weights_the_parts_sum_to_the_whole_and_steps_to_all_at_once(
    chosen: dict[str, D], rule: str, fee: D, market: list[Any]
) -> None:
    one = portfolio(cash=D(10000), weights=chosen, rebalance=rule, fee=fee)
    rows = rows_of(one, on(market))
    check_sums(rows)
    check_steps(one, market, rows)
    assert all(row["units"] >= 0 for row in rows if row["asset"] != TOTAL)
