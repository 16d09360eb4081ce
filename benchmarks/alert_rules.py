"""What a trade costs the rules on trades: from the Kafka message to what it changes, without Kafka and the database.

    python benchmarks/alert_rules.py [--trades 200000] [--symbols 50] [--rules 5]

The trades walk at random, from a seed; each symbol has the rules `price_crosses`, `move` and `volume_spike` so many
times. Printed: CPU a trade, and trades a second of one core.
"""

import argparse
import random
import sys
import time
from decimal import Decimal
from typing import Any

from alerts.book import Book
from alerts.kinds._kind import TradeRule
from alerts.kinds.move import Move
from alerts.kinds.price_crosses import PriceCrosses
from alerts.kinds.volume_spike import VolumeSpike
from alerts.stream import arrived_with
from alerts.watch import Watch
from shared.events import Trade, encode


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trades", type=int, default=200_000)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--rules", type=int, default=5)
    asked = parser.parse_args()
    names = tuple(f"S{number:03}USDT" for number in range(asked.symbols))
    messages = _messages(asked.trades, names)
    rules: list[TradeRule[Any]] = []
    for number in range(asked.rules):
        level = Decimal(100 + number)
        rules += [
            PriceCrosses(name=f"level_{number}", kind="price_crosses", symbols=names, above=level),
            Move(name=f"move_{number}", kind="move", percent=1 + number, minutes=5),
            VolumeSpike(name=f"volume_{number}", kind="volume_spike", times=5 + number, minutes=1, usual_minutes=60),
        ]
    watch, book, changes = Watch(rules, {}), Book(), 0
    began = time.process_time()
    for message in messages:
        arrived = arrived_with(message, ())
        if arrived and (trade := arrived.trade()):
            changes += len(list(watch.see(trade, book)))
    seconds = time.process_time() - began
    print(f"{asked.trades:,} trades of {asked.symbols} symbols, {len(rules)} rules on each: {changes:,} changes")
    print(
        f"{seconds / asked.trades * 1e6:.1f} µs of CPU a trade, {asked.trades / seconds:,.0f} trades a second and core"
    )
    began = time.process_time()
    kept = watch.changed()
    size = sum(len(memory.content) for memory in kept.values())
    print(
        f"what they remember: {len(kept):,} rows, {size / 1024:,.0f} kB, {time.process_time() - began:.2f} s to encode"
    )
    return 0


def _messages(count: int, names: tuple[str, ...]) -> list[bytes]:
    chance = random.Random(7)  # noqa: S311 (trades, no secrets)
    prices = dict.fromkeys(names, 100.0)
    made = []
    for number in range(count):
        symbol = chance.choice(names)
        prices[symbol] *= 1 + chance.gauss(0, 0.0005)
        price, quantity = Decimal(f"{prices[symbol]:.2f}"), Decimal(f"{chance.expovariate(1):.4f}")
        at = 1_795_249_800_000_000 + number * 20_000
        made.append(
            encode(
                Trade(
                    exchange="binance", symbol=symbol, base_asset=symbol.removesuffix("USDT"), quote_asset="USDT",
                    event_time=at, received_at=at, source="websocket", connection_id="c", trade_id=number, price=price,
                    quantity=quantity, quote_quantity=price * quantity, is_buyer_maker=False,
                )
            )
        )  # fmt: skip
    return made


if __name__ == "__main__":
    sys.exit(main())
