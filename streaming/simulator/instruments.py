"""What is traded: the fixed facts of each pair, known ones from a table, any other from a hash of its name."""

import math
import re
from dataclasses import dataclass

from shared.symbol_manager import split_pair
from streaming.simulator import noise

SYMBOL = re.compile(r"^[^\Wa-z]{1,50}$")
"""What Binance accepts as a symbol's characters since non-ASCII names are listed."""


@dataclass(frozen=True)
class Instrument:
    """One pair: prices in ticks of `10 ** -price_decimals`, quantities in steps of `10 ** -quantity_decimals`.

    The decimals sum to 8 at most, so that price times quantity is exact in the 8 places that Binance prints.
    """

    symbol: str
    base: str
    quote: str
    price: float
    """Around which it moves, in quote units."""
    price_decimals: int
    quantity_decimals: int
    liquidity: float
    """Trades, as a share of the busiest symbol's."""
    beta: float
    """How much of the common market's movement it takes."""
    volatility: float
    """Its own daily movement, as a share of the price."""
    typical_value: float = 250.0
    """The median trade, in quote units."""

    @property
    def quiet_share(self) -> float:
        """The share of minutes in which nothing trades."""
        return 0.004 + 0.05 * (1.0 - self.liquidity) ** 4


_KNOWN = {
    row[0]: row
    for row in (
        ("BTCUSDT", 96_500.0, 2, 5, 1.0, 1.0, 0.006),
        ("ETHUSDT", 3_350.0, 2, 4, 0.7, 1.15, 0.012),
        ("SOLUSDT", 185.0, 2, 3, 0.5, 1.4, 0.02),
        ("XRPUSDT", 2.3, 4, 1, 0.4, 1.1, 0.02),
        ("BNBUSDT", 870.0, 2, 3, 0.35, 0.9, 0.012),
        ("DOGEUSDT", 0.21, 5, 0, 0.25, 1.5, 0.025),
        ("ADAUSDT", 0.62, 4, 1, 0.2, 1.25, 0.02),
        ("LINKUSDT", 17.5, 2, 2, 0.12, 1.2, 0.022),
        ("AVAXUSDT", 19.0, 2, 2, 0.1, 1.3, 0.024),
        ("LTCUSDT", 104.0, 2, 3, 0.1, 0.9, 0.018),
        ("TRXUSDT", 0.29, 4, 1, 0.12, 0.6, 0.012),
        ("DOTUSDT", 3.1, 3, 2, 0.08, 1.2, 0.022),
    )
}


def listed() -> tuple[str, ...]:
    """The symbols that `exchangeInfo` names when it is asked for all."""
    return tuple(_KNOWN)


def instrument(symbol: str) -> Instrument | None:
    """The pair of a canonical symbol; none where it is no pair with a known quote asset.

    A pair outside the table is thin, and its price, steps and character follow from its name.
    """
    pair = split_pair(symbol)
    if pair is None or not SYMBOL.match(symbol):
        return None
    base, quote = pair
    if symbol in _KNOWN:
        _, price, price_decimals, quantity_decimals, liquidity, beta, volatility = _KNOWN[symbol]
        return Instrument(symbol, base, quote, price, price_decimals, quantity_decimals, liquidity, beta, volatility)
    drawn = [noise.key("instrument", name, symbol) / 2**64 for name in ("price", "liquidity", "beta", "volatility")]
    price = 10.0 ** (drawn[0] * 4.5 - 2.0)
    magnitude = math.floor(math.log10(price))
    price_decimals = min(max(4 - magnitude, 2), 6)
    return Instrument(
        symbol, base, quote,
        price=price,
        price_decimals=price_decimals,
        quantity_decimals=min(max(magnitude + 1, 0), 8 - price_decimals),
        liquidity=0.02 + 0.18 * drawn[1] ** 2,
        beta=0.5 + drawn[2],
        volatility=0.015 + 0.03 * drawn[3],
    )  # fmt: skip
