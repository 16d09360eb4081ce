"""An exchange for tests: a real WebSocket server on loopback that does as it is told."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import WSMsgType, web


class Venue:
    """Accepts every connection and every request; what it sends, the test says."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        """Path and query of each connection that was opened."""
        self.requests: list[tuple[float, dict[str, Any]]] = []
        """When each request came, and what it was."""
        self.pongs: list[bytes] = []
        self.refuse_with: int | None = None
        """The HTTP status with which connections are refused."""
        self.refused: set[str] = set()
        """Streams whose subscription is refused."""
        self.answers = True
        """Whether subscriptions are answered."""
        self.clock_ahead = 0.0
        """Seconds by which this exchange's clock is ahead, for who asks by REST."""
        self._sockets: list[web.WebSocketResponse] = []
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(10)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        return len(self._sockets)

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(self, *messages: dict[str, Any] | str, to: slice = slice(None)) -> None:
        """Send to every open connection, or to some of them, the oldest first."""
        for message in messages:
            text = message if isinstance(message, str) else json.dumps(message)
            self._do(lambda text=text: [socket.send_str(text) for socket in self._sockets[to]])

    def ping(self, payload: bytes) -> None:
        self._do(lambda: [socket.ping(payload) for socket in self._sockets])

    def cut(self, which: slice = slice(None)) -> None:
        """Close every connection, or some of them."""
        self._do(lambda: [socket.close(code=1001, message=b"gone") for socket in self._sockets[which]])

    def stop(self) -> None:
        self._do(lambda: [self._runner.cleanup()])
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, what: Callable[[], list[Any]]) -> None:
        async def all_of_them() -> None:
            await asyncio.gather(*what(), return_exceptions=True)

        asyncio.run_coroutine_threadsafe(all_of_them(), self._loop).result(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._loop.run_forever()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/stream", self._serve)
        app.router.add_get("/api/v3/time", self._tell_time)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._started.set()

    async def _tell_time(self, _request: web.Request) -> web.Response:
        return web.json_response({"serverTime": int((time.time() + self.clock_ahead) * 1_000_000)})

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self.refuse_with:
            return web.Response(status=self.refuse_with)
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        self.addresses.append(request.path_qs)
        self._sockets.append(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    asked = json.loads(message.data)
                    self.requests.append((time.monotonic(), asked))
                    if self.refused & set(asked.get("params", ())):
                        fault = {"code": 2, "msg": "Invalid request: invalid stream"}
                        await socket.send_json({"error": fault, "id": asked["id"]})
                    elif self.answers:
                        await socket.send_json({"result": None, "id": asked["id"]})
                elif message.type is WSMsgType.PONG:
                    self.pongs.append(bytes(message.data))
        finally:
            self._sockets.remove(socket)
        return socket


@pytest.fixture
def venue() -> Iterator[Venue]:
    server = Venue()
    yield server
    server.stop()


@pytest.fixture
def until() -> Callable[..., None]:
    """Waits for a condition, with a deadline."""

    def wait(condition: Callable[[], object], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come to pass in time"
            time.sleep(0.01)

    return wait
