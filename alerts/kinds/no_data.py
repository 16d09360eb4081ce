"""`no_data`: nothing comes of a symbol."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import AskedRule, Finding, Sources, SymbolRule, market


class NoData(AskedRule, SymbolRule):
    """Fires where Kafka had nothing of a streamed symbol, of whatever stream, for `seconds`; resolves when it has."""

    kind: Literal["no_data"]
    seconds: Annotated[int, Field(ge=5, le=86_400)] = 60

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        for (exchange, symbol), seen in sources.last_seen().items():
            if not self.is_for(symbol):
                continue
            silent = (now - seen.at) / 1_000_000
            is_silent = silent >= self.seconds
            holds = is_silent if is_silent or seen.came else None
            text = f"Nothing came of {symbol} from {exchange} for {silent:.0f} s." if is_silent else f"{symbol} comes."
            yield Finding(market(exchange, symbol), holds, now, silent, text)
