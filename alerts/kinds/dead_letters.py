"""`dead_letters`: messages of an exchange that could not be parsed."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import MINUTE, AskedRule, Finding, Sources, minutes
from shared.symbol_manager import DEAD_LETTERS


class DeadLetters(AskedRule):
    """Fires where `count` messages or more went to the topic of what cannot be parsed within the last `minutes`."""

    kind: Literal["dead_letters"]
    count: Annotated[int, Field(ge=1)] = 1
    minutes: Annotated[int, Field(ge=1, le=1440)] = 60

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        letters = sources.messages_since(DEAD_LETTERS, now - self.minutes * MINUTE)
        text = f"{letters} dead letters in {minutes(self.minutes)}: see bronze.dead_letters for the reasons."
        yield Finding(DEAD_LETTERS, letters >= self.count, now, float(letters), text)
