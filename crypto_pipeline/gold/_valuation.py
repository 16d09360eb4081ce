"""A portfolio day by day: what it is worth, what it earned, and by what."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

from crypto_pipeline.gold._ledger import EXACT, ZERO, Ledger, Lot, NotCoveredError, Position, quotient
from crypto_pipeline.gold._portfolios import (
    CURRENCY,
    EQUAL_WEIGHT,
    Portfolio,
    PortfolioFileError,
    Transaction,
    symbol_of,
)

TOTAL = "TOTAL"
STALE = timedelta(hours=1)
"""A price is stale where the last trade known is so long before the valuation."""
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
RETRACTED = "retracted"
"""The reason of a row that the portfolio's definition gives no more."""

Record = dict[str, Any]
"""A row of the table by column, those of bookkeeping left out."""


class Quote(NamedTuple):
    """A price, and the end of the candle that it is the close of. Times are UTC, without a zone."""

    price: Decimal
    at: datetime


@dataclass(frozen=True)
class Prices:
    """What is known of one exchange's prices, by symbol."""

    closes: Mapping[tuple[str, date], Quote]
    """The last of each day."""
    minutes: Mapping[tuple[str, datetime], Decimal]
    """The last at the end of a minute, within its day: for the minutes in which `wanted_minutes` asks for them."""
    as_of: datetime
    """End of the last minute that is over and has a candle: until when the last day is valued."""


@dataclass
class State:
    """What a day begins with."""

    ledger: Ledger
    quotes: dict[str, Quote]
    """The last known price of each symbol."""
    index: float = 1.0
    peak: float = 1.0
    worst: float = 0.0
    week: float = 0.0
    month: float = 0.0
    benchmark: float = 1.0
    turnover: float = 0.0
    days: int = 0
    contributions: dict[str, float] | None = None
    """To the return since the start, by asset."""


def wanted_minutes(portfolio: Portfolio, start: date, since: date, until: datetime) -> set[tuple[str, datetime]]:
    """The symbols and minutes at whose close a price is needed, for the transactions from the day `since` on.

    Where money comes in or goes out, all assets are valued; else it is what is converted or has no price in the file.
    """
    wanted = set()
    for one in portfolio.transactions:
        at = one.at(start)
        if at.date() < since or at >= until:
            continue
        symbols = {symbol_of(asset) for asset in (one.quote, one.fee_asset) if asset not in ("", CURRENCY)}
        if one.price is None and not one.is_flow:
            symbols.add(one.asset + one.quote)
        if one.is_flow:
            symbols.update(symbol_of(asset) for asset in portfolio.assets)
        wanted |= {(symbol, minute_of(at)) for symbol in symbols}
    return wanted


def minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def first_start(portfolio: Portfolio, days: Mapping[str, set[date]]) -> date:
    """The day on which the portfolio starts, given the days on which each symbol has a price.

    It starts at the closes of the day before. Raises `PortfolioFileError` where it cannot, with the first day that can.
    """
    for symbol in portfolio.needed_at_start:
        if not days.get(symbol):
            raise PortfolioFileError(
                f"{portfolio.where}: {portfolio.name}: no price of {symbol} is there from {portfolio.exchange}: enable "
                "it in symbols.yaml, wait for its history, or take it out."
            )
    possible = set.intersection(*[days[symbol] for symbol in portfolio.needed_at_start]) if days else set()
    if not possible:
        raise PortfolioFileError(
            f"{portfolio.where}: {portfolio.name}: on no day all of its symbols have a price: take out the youngest."
        )
    if portfolio.start is None:
        start = min(possible) + DAY
        for one in portfolio.transactions[:1]:
            if one.at(start).date() < start:
                raise PortfolioFileError(
                    f"{one.where}: {portfolio.name}: {one.at(start)} is before the data, of which the first day "
                    f"is {start}. Import older history, or begin with a deposit of what was held by then."
                )
        return start
    if portfolio.start - DAY in possible:
        return portfolio.start
    if portfolio.start > max(possible):
        raise PortfolioFileError(
            f"{portfolio.where}: {portfolio.name}: it starts on {portfolio.start}, and the last day with all of its "
            f"prices is {max(possible)}: it is valued when that day has come."
        )
    later = min((day for day in possible if day >= portfolio.start), default=min(possible)) + DAY
    lacking = [s for s in portfolio.needed_at_start if portfolio.start - DAY not in days[s]]
    raise PortfolioFileError(
        f"{portfolio.where}: {portfolio.name}: its start, {portfolio.start}, is before the data: {', '.join(lacking)} "
        f"had no price the day before. Set start to {later} or later, or to earliest; or import older history."
    )


def valued(portfolio: Portfolio, start: date, since: date, before: Sequence[Record], prices: Prices) -> list[Record]:
    """The rows of the portfolio's days from `since` to the last one valued.

    `before`: the rows of the day before `since`; none where that is the `start`. Raises `PortfolioFileError` where a
    transaction takes more than there is, or needs a price that is not known.
    """
    with localcontext(EXACT):
        state = _resumed(portfolio, before) if since > start else _opened(portfolio, start, prices)
        rows: list[Record] = []
        last = (prices.as_of - timedelta(microseconds=1)).date()
        day = since
        while day <= last:
            rows += _day(portfolio, start, day, state, prices)
            day += DAY
        return rows


def _opened(portfolio: Portfolio, start: date, prices: Prices) -> State:
    """Before the first day: its prices are the closes of the day before."""
    quotes = {s: prices.closes[s, start - DAY] for s in portfolio.symbols if (s, start - DAY) in prices.closes}
    return State(Ledger.of(portfolio.assets), quotes, contributions=dict.fromkeys([CURRENCY, *portfolio.assets], 0.0))


def _resumed(portfolio: Portfolio, before: Sequence[Record]) -> State:
    """As the rows of the day before left it."""
    rows = {row["asset"]: row for row in before}
    total = rows[TOTAL]
    ledger = Ledger.of(portfolio.assets)
    quotes = {}
    for asset, position in ledger.positions.items():
        row = rows[asset]
        position.units, position.cost = row["units"], row["cost"]
        position.realised, position.invested, position.fees = row["realised_profit"], row["invested"], row["fees"]
        position.lots = deque(
            Lot(_from_micros(lot["acquired_at"]), lot["units"], lot["cost"]) for lot in row["lots"] or ()
        )
        if asset != CURRENCY and row["price"] is not None:
            quotes[symbol_of(asset)] = Quote(row["price"], row["priced_at"])
    if portfolio.benchmark != EQUAL_WEIGHT:
        quotes[symbol_of(portfolio.benchmark)] = Quote(total["benchmark_price"], total["benchmark_priced_at"])
    return State(
        ledger, quotes, index=total["growth"], peak=total["peak_growth"], worst=total["max_drawdown"],
        week=total["return_week"], month=total["return_month"], benchmark=total["benchmark_growth"],
        turnover=total["turnover"], days=total["observations"],
        contributions={asset: rows[asset]["contribution"] for asset in ledger.positions},
    )  # fmt: skip


def _day(portfolio: Portfolio, start: date, day: date, state: State, prices: Prices) -> Iterator[Record]:
    """One day's rows; `state` becomes that of its end."""
    opening = datetime.combine(day, time())
    as_of = min(opening + DAY, prices.as_of)
    earlier = {symbol: quote.price for symbol, quote in state.quotes.items()}
    ledger = state.ledger
    ledger.traded_from_here()
    was = {asset: _profit(asset, p, earlier) for asset, p in ledger.positions.items()}
    opening_value = _value(portfolio, ledger, earlier)
    book = _Book(portfolio, ledger, earlier, prices, dict(was))
    if day == start:
        book.start(opening)
    book.base = _value(portfolio, ledger, earlier)
    if portfolio.weights and _is_due(portfolio, day, start):
        ledger.rebalance(dict(portfolio.weights), portfolio.fee, opening, lambda symbol: earlier[symbol])
    for one in portfolio.transactions:
        at = one.at(start)
        if at.date() == day and minute_of(at) + MINUTE <= as_of:
            book.book(one, at)
    for symbol in portfolio.symbols:
        if (symbol, day) in prices.closes:
            state.quotes[symbol] = prices.closes[symbol, day]
    closes = {symbol: quote.price for symbol, quote in state.quotes.items()}
    book.close(closes)
    yield from _rows(portfolio, start, day, as_of, state, book, was, earlier, closes, opening_value)


def _is_due(portfolio: Portfolio, day: date, start: date) -> bool:
    is_first = {"daily": True, "weekly": day.weekday() == 0, "monthly": day.day == 1, "never": False}
    return day == start or is_first[portfolio.rebalance]


class _Book:
    """A day's events, and the time-weighted return up to each: money that comes or goes is no return."""

    def __init__(
        self,
        portfolio: Portfolio,
        ledger: Ledger,
        opening: Mapping[str, Decimal],
        prices: Prices,
        marks: dict[str, Decimal],
    ) -> None:
        self.portfolio, self.ledger, self.opening, self.prices = portfolio, ledger, opening, prices
        self.marks = marks
        """The profit of each asset at the last flow."""
        self.base = ZERO
        """The value after the last flow."""
        self.growth = 1.0
        self.is_invested = False
        self.contributions = dict.fromkeys(ledger.positions, 0.0)

    def start(self, at: datetime) -> None:
        """What is there from the start is put in."""
        for asset, units in [(CURRENCY, self.portfolio.cash), *self.portfolio.units.items()]:
            if units:
                self.ledger.flow(asset, units, at, lambda symbol: self.opening[symbol])

    def book(self, one: Transaction, at: datetime) -> None:
        """A transaction, at its own price or that of its minute."""
        price = self._price_at(one, at)
        try:
            if one.is_flow:
                known = {symbol_of(asset): self._known(symbol_of(asset), at) for asset in self.portfolio.assets}
                self.close({symbol: each for symbol, each in known.items() if each is not None})
                self.ledger.flow(one.asset, one.quantity if one.type == "deposit" else -one.quantity, at, price)
                self.base = _value(
                    self.portfolio, self.ledger, {symbol: each for symbol, each in known.items() if each is not None}
                )
            else:
                self.ledger.trade(one, at, price)
        except NotCoveredError:
            what = f"{one.type} {one.quantity:f} {one.asset}"
            held = ", ".join(f"{p.units.normalize():f} {name}" for name, p in self.ledger.positions.items() if p.units)
            raise PortfolioFileError(
                f"{one.where}: {self.portfolio.name}: {what}: there is too little for it; what is held then is "
                f"{held or 'nothing'}. Add the deposit or purchase that is missing, or lessen the quantity or the fee."
            ) from None

    def close(self, closes: Mapping[str, Decimal]) -> None:
        """End the stretch since the last flow at these prices."""
        profits = {asset: _profit(asset, p, closes) for asset, p in self.ledger.positions.items()}
        if self.base > 0:
            gained = {asset: profits[asset] - self.marks[asset] for asset in profits}
            for asset, gain in gained.items():
                self.contributions[asset] += self.growth * float(quotient(gain, self.base))
            self.growth *= 1 + float(quotient(sum(gained.values(), ZERO), self.base))
            self.is_invested = True
        self.marks = profits

    def _price_at(self, one: Transaction, at: datetime) -> Callable[[str], Decimal]:
        def price(symbol: str) -> Decimal:
            known = self._known(symbol, at)
            if known is None:
                raise PortfolioFileError(
                    f"{one.where}: {self.portfolio.name}: no price of {symbol} is known by {at}: give the price, or "
                    "import its history."
                )
            return known

        return price

    def _known(self, symbol: str, at: datetime) -> Decimal | None:
        """The close of the minute, else the last before it."""
        return self.prices.minutes.get((symbol, minute_of(at)), self.opening.get(symbol))


def _price(asset: str, prices: Mapping[str, Decimal]) -> Decimal | None:
    return Decimal(1) if asset == CURRENCY else prices.get(symbol_of(asset))


def _profit(asset: str, position: Position, prices: Mapping[str, Decimal]) -> Decimal:
    price = _price(asset, prices)
    return position.profit(ZERO if price is None else price)


def _value(portfolio: Portfolio, ledger: Ledger, prices: Mapping[str, Decimal]) -> Decimal:
    def price(symbol: str) -> Decimal:
        if symbol not in prices:
            raise PortfolioFileError(
                f"{portfolio.where}: {portfolio.name}: it holds what has no price: import the history of {symbol}, or "
                "take it out."
            )
        return prices[symbol]

    return ledger.value(price)


def _rows(
    portfolio: Portfolio, start: date, day: date, as_of: datetime, state: State, book: _Book,
    was: Mapping[str, Decimal], earlier: Mapping[str, Decimal], closes: Mapping[str, Decimal], opening_value: Decimal,
) -> Iterator[Record]:  # fmt: skip
    ledger = state.ledger
    contributions = state.contributions or {}
    for asset, gained in book.contributions.items():
        contributions[asset] += state.index * gained
    _grown(portfolio, day, state, book, earlier, closes)
    value = _value(portfolio, ledger, closes)
    traded = sum((p.traded for p in ledger.positions.values()), ZERO)
    mean = (opening_value + value) / 2 if opening_value else value
    turnover_day = float(quotient(traded / 2, mean)) if mean else 0.0
    state.turnover += turnover_day
    ends_at = datetime.combine(day, time()) + DAY
    common: Record = {
        "portfolio": portfolio.name, "day": day, "exchange": portfolio.exchange, "started_on": start,
        "definition": portfolio.definition, "is_closed": as_of == ends_at, "as_of": as_of, "observations": state.days,
    }  # fmt: skip
    parts = []
    for asset, position in ledger.positions.items():
        quote = state.quotes.get(symbol_of(asset))
        price = _price(asset, closes)
        mine = position.value(price or ZERO)
        is_stale = bool(position.units) and quote is not None and as_of - quote.at > STALE
        parts.append(
            _amounts(position, mine, was[asset])
            | common
            | {
                "asset": asset, "units": position.units, "price": price,
                "priced_at": as_of if asset == CURRENCY else quote and quote.at, "is_stale": is_stale,
                "weight": float(quotient(mine, value)) if value else None,
                "contribution_day": book.contributions[asset], "contribution": contributions[asset],
                "lots": [lot._asdict() | {"acquired_at": _micros(lot.acquired_at)} for lot in position.lots],
                "reason": "no_price_yet" if price is None else None if value else "nothing_invested",
            }
        )  # fmt: skip
    summed = (
        "value",
        "cost",
        "unrealised_profit",
        "realised_profit",
        "profit",
        "profit_day",
        "invested",
        "fees",
        "traded_day",
    )
    benchmark = state.quotes[symbol_of(portfolio.benchmark)] if portfolio.benchmark != EQUAL_WEIGHT else None
    yield common | {
        "asset": TOTAL,
        **{name: sum((part[name] for part in parts), ZERO) for name in summed},
        "is_stale": any(part["is_stale"] for part in parts),
        "weight": 1.0 if value else None,
        "contribution_day": sum(part["contribution_day"] for part in parts),
        "contribution": sum(part["contribution"] for part in parts),
        "return_day": book.growth - 1 if book.is_invested else None,
        "return_week": state.week, "return_month": state.month,
        "return_since_start": state.index - 1, "growth": state.index, "peak_growth": state.peak,
        "drawdown": state.index / state.peak - 1, "max_drawdown": state.worst,
        "turnover_day": turnover_day, "turnover": state.turnover,
        "benchmark": portfolio.benchmark,
        "benchmark_return_day": _benchmark(portfolio, earlier, closes),
        "benchmark_return_since_start": state.benchmark - 1, "benchmark_growth": state.benchmark,
        "benchmark_price": benchmark and benchmark.price, "benchmark_priced_at": benchmark and benchmark.at,
        "excess_return": state.index - state.benchmark,
        "reason": None if book.is_invested and value else "nothing_invested",
    }  # fmt: skip
    yield from parts


def _amounts(position: Position, value: Decimal, was: Decimal) -> Record:
    unrealised = value - position.cost
    profit = position.realised + unrealised
    return {
        "value": value, "cost": position.cost, "unrealised_profit": unrealised, "realised_profit": position.realised,
        "profit": profit, "profit_day": profit - was, "invested": position.invested, "fees": position.fees,
        "traded_day": position.traded,
    }  # fmt: skip


def _grown(
    portfolio: Portfolio, day: date, state: State, book: _Book,
    earlier: Mapping[str, Decimal], closes: Mapping[str, Decimal],
) -> None:  # fmt: skip
    """Link the day's return to those before it."""
    state.week = (1 + (0.0 if day.weekday() == 0 else state.week)) * book.growth - 1
    state.month = (1 + (0.0 if day.day == 1 else state.month)) * book.growth - 1
    state.index *= book.growth
    state.peak = max(state.peak, state.index)
    state.worst = min(state.worst, state.index / state.peak - 1)
    state.benchmark *= 1 + _benchmark(portfolio, earlier, closes)
    state.days += book.is_invested


def _benchmark(portfolio: Portfolio, earlier: Mapping[str, Decimal], closes: Mapping[str, Decimal]) -> float:
    """Its simple return of the day."""
    assets = portfolio.assets if portfolio.benchmark == EQUAL_WEIGHT else (portfolio.benchmark,)
    returns = [float(quotient(closes[s], earlier[s])) - 1 for s in map(symbol_of, assets)]
    return sum(returns) / len(returns)


def retracted(rows: Iterable[Record], portfolio: Portfolio | None) -> list[Record]:
    """The same keys without values: what the portfolio's definition gives no more."""
    kept = ("portfolio", "day", "asset", "exchange", "started_on", "as_of", "is_closed")
    return [
        {name: row[name] for name in kept}
        | {
            "definition": portfolio.definition if portfolio else row["definition"],
            "observations": 0,
            "reason": RETRACTED,
        }
        for row in rows
    ]


def _micros(moment: datetime) -> int:
    return (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _from_micros(micros: int) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).replace(tzinfo=None)
