"""`freshness`: a table was not made for too long."""

import json
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from alerts.kinds._kind import MINUTE, AskedRule, Finding, Sources, plain

Table = Annotated[str, StringConstraints(pattern=r"^(bronze|silver|gold)\.[a-z0-9_]+$")]


class Freshness(AskedRule):
    """Fires where Dagster made a table last more than `minutes` ago; since our start, where it never made it."""

    kind: Literal["freshness"]
    tables: Annotated[tuple[Table, ...], Field(min_length=1)] = ("bronze.trades", "silver.ohlcv_1m")
    minutes: Annotated[float, Field(gt=0, le=10_080, allow_inf_nan=False)] = 10

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        keys = " ".join(f"{{path:{json.dumps(table.split('.'))}}}" for table in self.tables)
        asked = f"{{assetsLatestInfo(assetKeys:[{keys}]){{assetKey{{path}} latestMaterialization{{timestamp}}}}}}"
        made = {
            ".".join(info["assetKey"]["path"]): int(info["latestMaterialization"]["timestamp"]) * 1000
            for info in sources.dagster(asked)["assetsLatestInfo"]
            if info["latestMaterialization"]
        }
        for table in self.tables:
            age = (now - made.get(table, sources.started_at)) / MINUTE
            since = f"was made {plain(round(age, 1))} minutes ago" if table in made else "was never made"
            is_stale = age > self.minutes
            holds = is_stale if is_stale or table in made else None
            yield Finding(table, holds, now, age, f"{table} {since}; {plain(self.minutes)} minutes are allowed.")
