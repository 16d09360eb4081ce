"""A client of a running simulator, for the tests of this folder."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp

from streaming.simulator.clock import Clock, utc_now
from streaming.simulator.server import Options, running

OPTIONS = Options(port=0, rate=20.0, history_hours=2)
PATIENCE = 30.0


class Api:
    """A client of a running simulator."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self.session = session
        self.address = address

    async def get(self, path: str, status: int = 200, unit: str = "") -> Any:
        headers = {"X-MBX-TIME-UNIT": unit} if unit else {}
        async with self.session.get(f"http://{self.address}{path}", headers=headers) as reply:
            assert reply.status == status, await reply.text()
            return await reply.json()

    async def post(self, path: str, asked: object, status: int = 200) -> Any:
        async with self.session.post(f"http://{self.address}{path}", json=asked) as reply:
            assert reply.status == status, await reply.text()
            return await reply.json()

    def socket(self, path: str) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        return self.session.ws_connect(f"ws://{self.address}{path}")


@contextlib.asynccontextmanager
async def serving(options: Options = OPTIONS, clock: Clock = utc_now) -> AsyncIterator[Api]:
    async with running(options, clock) as address, aiohttp.ClientSession() as session:
        yield Api(session, address)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE):
            await scenario()

    asyncio.run(limited())


def fast_clock(speed: int) -> Clock:
    begun = utc_now()
    return lambda: begun + (utc_now() - begun) * speed


async def until(socket: aiohttp.ClientWebSocketResponse, is_last: Callable[[Any], bool]) -> list[Any]:
    """The messages up to the first one that is the last."""
    messages = []
    while True:
        messages.append(json.loads((await socket.receive()).data))
        if is_last(messages[-1]):
            return messages
