"""`config/portfolio.yaml` and its transactions: what they say, and what is refused."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from crypto_pipeline.gold._portfolios import Portfolio, PortfolioFileError, Portfolios, chosen, load
from shared.settings import PROJECT, Settings

RIGHT = """portfolios:
  good: {start: earliest, units: {BTC: 1}}
  mine:
    start: 2026-11-02
"""
HEADER = "time,type,symbol,quantity,price,fee,fee_asset\n"
KNOWN = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
D = Decimal


def loaded(folder: Path, lines: str, transactions: str = "") -> Portfolios:
    (folder / "portfolio.yaml").write_text(RIGHT + "".join(f"    {line}\n" for line in lines.split("; ")))
    (folder / "t.csv").write_text(HEADER + transactions)
    return load(folder / "portfolio.yaml", KNOWN)


def mine(folder: Path, lines: str, transactions: str = "") -> Portfolio:
    found = loaded(folder, lines, transactions)
    assert found.refused == ()
    return found.accepted[1]


def test_what_ships_is_right_and_has_one_of_each_kind() -> None:
    found = chosen(Settings())
    assert found.refused == ()
    kinds = [[bool(one.weights), bool(one.units), bool(one.transactions)] for one in found.accepted]
    assert sorted(kinds) == [[False, False, True], [False, True, False], [True, False, False]]
    assert all(one.start is None for one in found.accepted)


def test_a_portfolio_says_what_its_file_says(tmp_path: Path) -> None:
    one = mine(tmp_path, "cash: 100; weights: {BTC: 0.7, USDT: 0.3}; rebalance: weekly; fee_bps: 7.5; benchmark: ETH")
    assert (one.start, one.cash, one.weights) == (date(2026, 11, 2), 100, {"BTC": D("0.7"), "USDT": D("0.3")})
    assert (one.rebalance, one.fee, one.benchmark) == ("weekly", D("0.00075"), "ETH")
    assert (one.assets, one.symbols) == (("BTC",), ("BTCUSDT", "ETHUSDT"))
    assert one.where == f"{tmp_path / 'portfolio.yaml'}:3"


def test_transactions_stand_in_order_of_time_and_those_of_one_time_in_that_of_the_file(tmp_path: Path) -> None:
    lines = """
# a comment, and an empty line

2026-11-03 10:00,sell,ETHBTC,1,0.05,0.001,BNB
2026-11-02T23:00:00+01:00,deposit,USDT,100,,,
2026-11-03 10:00,buy,BTCUSDT,2,,,
""".lstrip()
    first, second, third = mine(tmp_path, "transactions: t.csv", lines).transactions
    assert (first.at(date(2026, 1, 1)), first.type, first.asset) == (datetime(2026, 11, 2, 22), "deposit", "USDT")  # noqa: DTZ001
    assert (second.asset, second.quote, second.price, second.fee, second.fee_asset) == (
        "ETH",
        "BTC",
        D("0.05"),
        D("0.001"),
        "BNB",
    )
    assert (third.type, third.asset, third.price, third.fee) == ("buy", "BTC", None, 0)
    assert second.where == f"{tmp_path / 't.csv'}:4"


def test_a_time_may_be_after_the_start(tmp_path: Path) -> None:
    one = mine(tmp_path, "transactions: t.csv", "+2d 09:30,deposit,USDT,1,,,\n+0d,deposit,BTC,1,,,\n")
    assert [each.time for each in one.transactions] == [timedelta(0), timedelta(days=2, hours=9, minutes=30)]
    assert one.transactions[1].at(date(2026, 11, 2)) == datetime(2026, 11, 4, 9, 30)  # noqa: DTZ001


def test_another_definition_has_another_name_and_another_place_has_not(tmp_path: Path) -> None:
    lines = "2026-11-03 10:00,deposit,USDT,100,,,\n"
    one = mine(tmp_path, "transactions: t.csv", lines)
    same = mine(tmp_path, "transactions: t.csv; benchmark: BTC", f"# moved down\n{lines}")
    assert same.definition == one.definition
    others = [
        mine(tmp_path, "transactions: t.csv", lines.replace("100", "101")),
        mine(tmp_path, "transactions: t.csv; cash: 1", lines),
        mine(tmp_path, "transactions: t.csv; benchmark: ETH", lines),
    ]
    assert len({each.definition for each in [one, *others]}) == 4


@pytest.mark.parametrize(
    ("lines", "line", "why"),
    [
        ("units: {DOGE: 1}", 5, "DOGE has no price: DOGEUSDT is not in symbols.yaml; add it there, or take DOGE out"),
        ("units: {BTC: 1}; benchmark: DOGE", 6, "DOGE has no price"),
        (
            "units: {BTC: -1}",
            5,
            "mine.units.BTC: Input should be greater than or equal to 0: what is held is 0 or more",
        ),
        ("units: {BTC: .nan}", 5, "finite"),
        ("units: {USDT: 5}", 4, "USDT is the cash: say cash: 5"),
        ("units: {BTC: 0}", 4, "it holds nothing"),
        ("cash: 1; weights: {BTC: 1.5, ETH: -0.5}; rebalance: daily", 6, "a weight is from 0 to 1"),
        ("cash: 1; weights: {BTC: 0.5, ETH: 0.4}; rebalance: daily", 4, "weights sum to 0.9, not 1: change them"),
        ("cash: 1; weights: {BTC: 1}; rebalance: yearly", 7, "it is never, daily, weekly or monthly"),
        ("cash: 1; weights: {BTC: 1}", 4, "weights need rebalance"),
        ("weights: {BTC: 1}; rebalance: never", 4, "weights need cash"),
        ("units: {BTC: 1}; fee_bps: 1", 4, "fee_bps belong to weights"),
        ("units: {BTC: 1}; transactions: t.csv", 4, "units and transactions: give one of"),
        ("cash: 1; weights: {USDT: 1}; rebalance: never; benchmark: equal_weight", 8, "there is none: take BTC"),
        ("cash: 1", 4, "none of them: give one of units, weights and transactions"),
        ("units: {BTC: 1}; colour: red", 6, "mine.colour"),
        ("transactions: none.csv", 5, "none.csv cannot be read (No such file or directory): put it there"),
    ],
)
def test_a_wrong_portfolio_is_refused_with_line_and_cure_and_the_others_go_on(
    tmp_path: Path, lines: str, line: int, why: str
) -> None:
    found = loaded(tmp_path, lines)
    assert [one.name for one in found.accepted] == ["good"]
    [refused] = found.refused
    assert refused.name == "mine"
    file, said, message = refused.why.split(":", 2)
    assert file == str(tmp_path / "portfolio.yaml")
    assert why in message
    # A fault of the portfolio as a whole stands at its name.
    assert int(said) == (3 if line == 4 else line)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("2026-11-03,deposit,USDT,1,,", "it has 6 values; it needs 7"),
        ("2026-11-03,give,USDT,1,,,", "type is 'give': it is buy, sell, deposit or withdrawal"),
        ("soon,deposit,USDT,1,,,", "'soon' is no time"),
        ("2026-11-01,deposit,USDT,1,,,", "is before the portfolio's start, 2026-11-02: set start to its day"),
        ("2026-11-03,buy,DOGEUSDT,1,,,", "DOGE has no price"),
        ("2026-11-03,buy,BTC,1,,,", "'BTC' is no pair"),
        ("2026-11-03,buy,USDTTRY,1,,,", "USDT is the cash, and not bought: write a trade of TRYUSDT"),
        ("2026-11-03,deposit,usdt,1,,,", "'usdt' is no asset"),
        ("2026-11-03,deposit,USDT,1,1,,", "has neither price nor fee"),
        ("2026-11-03,buy,BTCUSDT,0,,,", "quantity is '0': it is above 0"),
        ("2026-11-03,buy,BTCUSDT,,,,", "quantity is '': it is above 0"),
        ("2026-11-03,buy,BTCUSDT,-1,,,", "quantity is '-1': write a number such as 0.25"),
        ("2026-11-03,buy,BTCUSDT,much,,,", "quantity is 'much'"),
        ("2026-11-03,buy,BTCUSDT,1e-19,,,", "18 after the point"),
        ("2026-11-03,buy,BTCUSDT,1e16,,,", "up to 16 digits"),
        ("2026-11-03,buy,BTCUSDT,1,0,,", "price is 0"),
        ("2026-11-03,buy,BTCUSDT,1,1,1,", "fee and fee_asset belong together"),
        ("2026-11-03,buy,ETHBTC,1,,,", "ETHBTC is not in symbols.yaml: give the price, or add it there"),
        ("+1d,deposit,USDT,1,,,", "write all alike"),
    ],
)
def test_a_wrong_transaction_is_refused_with_its_line(tmp_path: Path, line: str, why: str) -> None:
    found = loaded(tmp_path, "transactions: t.csv", f"2026-11-02,deposit,USDT,9,,,\n{line}\n")
    [refused] = found.refused
    place = 1 if "alike" in why else 3
    assert refused.why.startswith(f"{tmp_path / 't.csv'}:{place}: ")
    assert why in refused.why


@pytest.mark.parametrize("text", ["", "colour: red", "portfolios: [", "portfolios: {a: 1, a: 2}"])
def test_a_file_that_is_none_is_refused_whole(tmp_path: Path, text: str) -> None:
    (tmp_path / "portfolio.yaml").write_text(text)
    with pytest.raises(PortfolioFileError, match=r"portfolio\.yaml:1: "):
        load(tmp_path / "portfolio.yaml")


def test_where_selectors_choose_symbols_any_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "symbols.yaml").write_text("tiers: {all: [{quote: USDT, top: 5}]}")
    (tmp_path / "portfolio.yaml").write_text("portfolios: {a: {start: earliest, units: {DOGE: 1}}}")
    said = Settings(symbols_file=tmp_path / "symbols.yaml", portfolio_file=tmp_path / "portfolio.yaml")
    assert chosen(said).refused == ()
    assert chosen(said.model_copy(update={"symbols_file": PROJECT / "config" / "symbols.yaml"})).refused == ()
