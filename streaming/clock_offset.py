"""How far an exchange's clock is ahead of ours."""

import time

import httpx

from streaming.exchange import Exchange, UnparsableMessage
from streaming.rest import is_free, refused

SAMPLES = 3
WEIGHT = 1
PATIENCE_SECONDS = 5


def clock_offset(exchange: Exchange) -> int | None:
    """Microseconds, half the round trip taken off; none where the exchange cannot be asked.

    Of a few answers the quickest counts: the way there and back are most alike then, and the first pays for the
    connection.
    """
    best: tuple[int, int] | None = None
    try:
        with httpx.Client(timeout=PATIENCE_SECONDS) as client:
            for _ in range(SAMPLES):
                if not is_free(exchange, WEIGHT):
                    break
                before = time.time_ns() // 1000
                reply = client.get(exchange.clock_address())
                after = time.time_ns() // 1000
                refused(exchange, reply)
                reply.raise_for_status()
                sample = (after - before, exchange.clock(reply.content) - (before + after) // 2)
                best = min(best or sample, sample)
    except (httpx.HTTPError, httpx.InvalidURL, UnparsableMessage):
        pass
    return best[1] if best else None
