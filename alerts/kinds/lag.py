"""`lag`: bronze falls behind Kafka."""

import json
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import AskedRule, Finding, Sources, SymbolRule
from shared.symbol_manager import symbol_of

_READ = (
    '{assetOrError(assetKey:{path:["kafka" "crypto_raw"]}){...on Asset{assetObservations(limit:1)'
    "{metadataEntries{label ...on JsonMetadataEntry{jsonString}}}}}}"
)


class Lag(AskedRule, SymbolRule):
    """Fires where `messages` or more of a symbol wait in Kafka that bronze has not taken in.

    With `KAFKA_TOPIC` all symbols are one topic, and it counts for every rule.
    """

    kind: Literal["lag"]
    messages: Annotated[int, Field(ge=1)] = 100_000

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        for topic, messages in waiting(sources).items():
            is_all = topic == sources.settings.kafka_topic
            if not is_all and not self.is_for(symbol_of(topic)):
                continue
            text = f"{messages:,} messages of {topic} wait in Kafka for bronze; {self.messages:,} are allowed."
            yield Finding(topic, messages >= self.messages, now, float(messages), text)


def waiting(sources: Sources) -> dict[str, int]:
    """By topic of events, how many messages bronze has not taken in. Raises `SourceError`."""
    observed = sources.dagster(_READ)["assetOrError"].get("assetObservations") or [{"metadataEntries": ()}]
    told = {entry["label"]: entry.get("jsonString") for entry in observed[0]["metadataEntries"]}
    read = json.loads(told.get("offsets") or "{}")
    return {
        topic: sum(max(end - int(read.get(topic, {}).get(str(partition), 0)), 0) for partition, end in ends.items())
        for topic, ends in sources.kafka_ends().items()
    }
