"""What every answer draws on: the settings, the database, the hub, and which symbols there are."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends
from starlette.requests import HTTPConnection

from dashboard.alerts import Alerts
from dashboard.database import Database
from dashboard.feed import Feed
from dashboard.hub import Hub, Key
from dashboard.minutes import HourOf
from shared.settings import Settings

Answer = TypeVar("Answer")


class Kept(Generic[Answer]):
    """An answer that is asked for anew when it is older than `seconds`; who comes meanwhile waits for the same one."""

    def __init__(self, ask: Callable[[], Awaitable[Answer]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._until = 0.0
        self._answer: Answer | None = None
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self) -> Answer:
        async with self._one_at_a_time:
            if self._answer is None or time.monotonic() > self._until:
                self._answer = await self._ask()
                self._until = time.monotonic() + self._seconds
            return self._answer


@dataclass
class Context:
    """Made once, at the start."""

    settings: Settings
    database: Database
    alerts: Alerts
    hub: Hub
    feed: Feed
    hour_of: HourOf
    """Reads the minutes of an hour from the lake."""
    symbols: Kept[dict[Key, dict[str, Any]]]
    """By exchange and symbol, what is known of each."""
    kept: dict[str, Kept[Any]] = field(default_factory=dict)
    """Answers that many pages ask for, by name."""


def context(connection: HTTPConnection) -> Context:
    """The one of this application."""
    found: Context = connection.app.state.context
    return found


Here = Annotated[Context, Depends(context)]
