"""`gap`: a hole in the data that is not repaired."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import DAY, MINUTE, AskedRule, Finding, Sources, SymbolRule, market
from shared.events import StreamName

_GAPS = """
    select exchange, symbol, count(*) as gaps, count(*) filter (where status = 'lost') as lost,
           extract(epoch from min(event_time)) as since,
           (array_agg(gap_stream || ': ' || detail order by event_time))[1] as detail
    from bronze.gaps
    where gap_stream = any(%(streams)s)
      and (status = 'open' and event_time <= to_timestamp(%(before)s)
           or status = 'lost' and updated_at > to_timestamp(%(lost_since)s))
    group by exchange, symbol
"""


class Gap(AskedRule, SymbolRule):
    """Fires where a hole is still open `minutes` after it began, or is lost: nobody can give it again.

    Resolves when no hole of the symbol is open; one that is lost is told for a day.
    """

    kind: Literal["gap"]
    minutes: Annotated[float, Field(ge=0, le=10_080, allow_inf_nan=False)] = 10
    streams: Annotated[tuple[StreamName, ...], Field(min_length=1)] = ("trade", "kline_1m")

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        before = (now - self.minutes * MINUTE) / 1_000_000
        streams, lost_since = list(self.streams), (now - DAY) / 1_000_000
        for row in sources.rows(_GAPS, streams=streams, before=before, lost_since=lost_since):
            if self.is_for(row["symbol"]):
                one = f"{row['gaps']} gap{'s' * (row['gaps'] != 1)}"
                lost = f", {row['lost']} of them lost" if row["lost"] else ""
                text = f"{row['symbol']} of {row['exchange']} has {one} not repaired{lost}. {row['detail']}"
                yield Finding(market(row["exchange"], row["symbol"]), True, now, float(row["gaps"]), text)
