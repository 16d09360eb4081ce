"""What a portfolio holds and what it cost, to the last cent: positions, their lots, first in first out.

Every amount has 18 places and is rounded once, where it comes about; all that follows are sums and differences of such
amounts, so the parts sum to the whole exactly.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NamedTuple

from crypto_pipeline.gold._portfolios import CURRENCY, Transaction, symbol_of

ZERO = Decimal(0)
EXACT = Context(prec=76, rounding=ROUND_HALF_EVEN)
"""To be the context of whatever adds these amounts: with Python's own of 28 digits large ones would be rounded."""
_PLACES = Decimal("1e-18")
_UNIT = Decimal("1e-8")
"""Units are bought by weight in steps of this size."""

Price = Callable[[str], Decimal]
"""The price of a symbol at the moment in question."""


class NotCoveredError(Exception):
    """More is taken out, sold or paid than is there."""


class Lot(NamedTuple):
    """What was acquired at once, as far as it is still held."""

    acquired_at: datetime
    units: Decimal
    cost: Decimal


def product(left: Decimal, right: Decimal) -> Decimal:
    """`left * right`, rounded half even to 18 places."""
    return EXACT.multiply(left, right).quantize(_PLACES, context=EXACT)


def quotient(left: Decimal, right: Decimal) -> Decimal:
    """`left / right`, rounded half even to 18 places."""
    return EXACT.divide(left, right).quantize(_PLACES, context=EXACT)


@dataclass
class Position:
    """One asset. Money is in `CURRENCY`."""

    lots: deque[Lot] = field(default_factory=deque)
    units: Decimal = ZERO
    cost: Decimal = ZERO
    """Of what is held."""
    realised: Decimal = ZERO
    invested: Decimal = ZERO
    """Put into it, by deposits and purchases, less what was taken out of it."""
    fees: Decimal = ZERO
    """Paid where it was traded; they are part of cost and proceeds."""
    traded: Decimal = ZERO
    """Bought and sold since `Ledger.traded_from_here`."""

    def value(self, price: Decimal) -> Decimal:
        return product(self.units, price)

    def profit(self, price: Decimal) -> Decimal:
        """Realised and unrealised, since the start."""
        return self.realised + self.value(price) - self.cost

    def put(self, at: datetime, units: Decimal, value: Decimal) -> None:
        """Add a lot that cost its value."""
        self.lots.append(Lot(at, units, value))
        self.units += units
        self.cost += value
        self.invested += value

    def take(self, units: Decimal, value: Decimal) -> None:
        """Take out of the oldest lots, for this value. Raises `NotCoveredError`."""
        if units > self.units:
            raise NotCoveredError
        self.realised += value - self._cost_of(units)
        self.units -= units
        self.invested -= value

    def _cost_of(self, units: Decimal) -> Decimal:
        """What these units cost, which leave the lots."""
        total, left = ZERO, units
        while left:
            lot = self.lots.popleft()
            if lot.units <= left:
                total, left = total + lot.cost, left - lot.units
            else:
                part = quotient(EXACT.multiply(lot.cost, left), lot.units)
                self.lots.appendleft(Lot(lot.acquired_at, lot.units - left, lot.cost - part))
                total, left = total + part, ZERO
        self.cost -= total
        return total


class Cash(Position):
    """What everything is valued in: it costs what it is worth, and has no lots."""

    def put(self, at: datetime, units: Decimal, value: Decimal) -> None:  # noqa: ARG002 (as of any position)
        self._add(units)

    def take(self, units: Decimal, value: Decimal) -> None:  # noqa: ARG002 (as of any position)
        if units > self.units:
            raise NotCoveredError
        self._add(-units)

    def _add(self, units: Decimal) -> None:
        self.units += units
        self.cost += units
        self.invested += units


@dataclass
class Ledger:
    """The positions of a portfolio by asset, `CURRENCY` among them."""

    positions: dict[str, Position]

    @classmethod
    def of(cls, assets: Iterable[str]) -> "Ledger":
        """An empty one."""
        return cls({CURRENCY: Cash()} | {asset: Position() for asset in assets})

    def traded_from_here(self) -> None:
        """Count anew what is traded."""
        for position in self.positions.values():
            position.traded = ZERO

    def value(self, price: Price) -> Decimal:
        """Of all that is held."""
        return sum((p.value(_price_of(asset, price)) for asset, p in self.positions.items() if p.units), ZERO)

    def flow(self, asset: str, units: Decimal, at: datetime, price: Price) -> None:
        """Put units in, or take them (negative) out, at their value. Raises `NotCoveredError`."""
        value = product(abs(units), _price_of(asset, price))
        if units > 0:
            self.positions[asset].put(at, units, value)
        else:
            self.positions[asset].take(-units, value)

    def trade(self, order: Transaction, at: datetime, price: Price) -> None:
        """Book a purchase or sale with its fee.

        What is paid is converted at the quote asset's price. A fee is part of the cost of what is bought, and lessens
        the proceeds of what is sold. One that is paid in a third asset is a sale of that, at its price. Raises
        `NotCoveredError`.
        """
        each = price(order.asset + order.quote) if order.price is None else order.price
        gross = product(order.quantity, each)
        base, quote = self.positions[order.asset], self.positions[order.quote]
        rate = _price_of(order.quote, price)
        in_base = order.fee if order.fee_asset == order.asset else ZERO
        in_quote = order.fee if order.fee_asset == order.quote else ZERO
        fee = product(order.fee, product(each, rate) if in_base else rate)
        elsewhere = ZERO
        is_purchase = order.type == "buy"
        if is_purchase:
            paid = gross + in_quote
            value = product(paid, rate)
            quote.take(paid, value)
        if order.fee and not in_base and not in_quote:
            fee = elsewhere = product(order.fee, _price_of(order.fee_asset, price))
            self.positions[order.fee_asset].take(order.fee, elsewhere)
        if is_purchase:
            if in_base >= order.quantity:
                raise NotCoveredError
            base.put(at, order.quantity - in_base, value + elsewhere)
        else:
            received = gross - in_quote
            if received < 0:
                raise NotCoveredError
            value = product(received, rate)
            base.take(order.quantity + in_base, value - elsewhere)
            if received:
                quote.put(at, received, value)
        base.fees += fee
        base.traded += product(gross, rate)

    def rebalance(self, weights: dict[str, Decimal], fee: Decimal, at: datetime, price: Price) -> None:
        """Trade so that each asset has its weight in what remains after the fee, a part of what is traded."""
        prices = {asset: _price_of(asset, price) for asset in self.positions if asset != CURRENCY}
        values = {asset: self.positions[asset].value(each) for asset, each in prices.items()}
        whole = sum(values.values(), self.positions[CURRENCY].units)
        target = _after_fee(whole, values, weights, fee)
        orders = {}
        for asset, each in prices.items():
            units = EXACT.divide(EXACT.multiply(target, weights.get(asset, ZERO)), each)
            orders[asset] = units.quantize(_UNIT, "ROUND_DOWN", context=EXACT) - self.positions[asset].units
        cash = self.positions[CURRENCY]
        for asset, units in sorted(orders.items(), key=lambda order: order[1] > 0):  # sales pay for purchases
            if not units:
                continue
            position = self.positions[asset]
            gross = product(abs(units), prices[asset])
            charge = product(gross, fee)
            if units > 0:
                cash.take(gross + charge, gross + charge)
                position.put(at, units, gross + charge)
            else:
                position.take(-units, gross - charge)
                cash.put(at, gross - charge, gross - charge)
            position.fees += charge
            position.traded += gross


def _price_of(asset: str, price: Price) -> Decimal:
    return Decimal(1) if asset == CURRENCY else price(symbol_of(asset))


def _after_fee(whole: Decimal, values: dict[str, Decimal], weights: dict[str, Decimal], fee: Decimal) -> Decimal:
    """What remains of `whole` when the fee on all that is traded towards it is paid: v = whole - fee * traded(v).

    A step brings it nearer by the factor `fee`, which is a tenth at most.
    """
    remains = whole
    for _ in range(40):
        traded = sum((abs(product(remains, weights.get(asset, ZERO)) - value) for asset, value in values.items()), ZERO)
        before, remains = remains, whole - product(traded, fee)
        if before == remains:
            break
    # A step less than that, so that what is rounded cannot be missing in cash.
    return max(remains - _UNIT, ZERO)
