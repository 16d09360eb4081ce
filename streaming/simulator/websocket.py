"""Binance's stream protocol: `/ws`, `/stream`, and the live SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS.

Source: Binance's "WebSocket Streams" document. As there, a well-formed stream that does not exist is accepted and stays
silent.
"""

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Callable

from aiohttp import WSCloseCode, WSMsgType, web

from streaming.simulator.hub import Client, Hub
from streaming.simulator.messages import MICROSECOND, MILLISECOND, Form, json_text

STREAMS_A_CONNECTION = 1_024
MESSAGES_A_SECOND = 5
PING_EVERY = 20.0
PONG_WITHIN = 60.0
LONGEST_CONNECTION = 24 * 3600.0
"""Seconds."""

TIME_UNITS = {"MILLISECOND": MILLISECOND, "MICROSECOND": MICROSECOND}
_STREAM = re.compile(r"^(!|[^\s@/!]+@)[^\s/@]+(@[^\s/@]+)?$")
_PLAIN = re.compile(r"^\w+$")
"""A name that is no stream: a client such as ccxt numbers its connections, and subscribes when it is connected."""
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class RefusalError(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: int, text: str, number: object = None) -> None:
        super().__init__(text)
        self.code = code
        self.number = number

    def reply(self) -> str:
        return json_text({"error": {"code": self.code, "msg": str(self)}, "id": self.number})


def routes(hub: Hub) -> list[web.RouteDef]:
    """The addresses under which streams are served."""
    server = _Streams(hub)
    return [
        web.get("/stream", server.combined),
        web.get("/ws", server.raw),
        web.get("/ws/{streams:.+}", server.raw),
    ]


class _Streams:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def combined(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, request.query.get("streams", ""), is_combined=True)

    async def raw(self, request: web.Request) -> web.StreamResponse:
        listed = request.match_info.get("streams", "")
        return await self._serve(request, "" if _PLAIN.match(listed) else listed, is_combined=False)

    async def _serve(self, request: web.Request, listed: str, *, is_combined: bool) -> web.StreamResponse:
        unit = TIME_UNITS.get(request.query.get("timeUnit", "MILLISECOND").upper())
        streams = [stream for stream in listed.split("/") if stream]
        if unit is None:
            return _bad_request(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
        if len(set(streams)) > STREAMS_A_CONNECTION or not all(map(_STREAM.match, streams)):
            return _bad_request(-1, "Illegal format ws or stream")
        if self._hub.refuses(streams):
            return web.Response(status=503, text="Service Unavailable")
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=1024 * 1024)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:  # gone while it shook hands
            return socket
        endings: set[asyncio.Task[bool]] = set()

        def end(code: int, reason: str) -> None:
            endings.add(asyncio.create_task(socket.close(code=code, message=reason.encode())))

        client = Client(transport, Form(is_combined, unit), end)
        self._hub.clients[client] = None
        self._hub.subscribe(client, streams)
        connection = _Connection(socket, client, self._hub)
        keeper = asyncio.create_task(connection.keep_alive())
        try:
            await connection.listen()
        finally:
            keeper.cancel()
            self._hub.clients.pop(client)
            self._hub.unsubscribe(client, client.streams)
        return socket


class _Connection:
    """One client's requests, pings and limits."""

    def __init__(self, socket: web.WebSocketResponse, client: Client, hub: Hub) -> None:
        self._socket = socket
        self._client = client
        self._hub = hub
        self._arrivals: deque[float] = deque(maxlen=MESSAGES_A_SECOND + 1)
        self._heard = time.monotonic()

    async def keep_alive(self) -> None:
        """Pings every 20 s; closes after a minute without a pong, and after 24 hours."""
        opened = time.monotonic()
        while True:
            await asyncio.sleep(PING_EVERY)
            now = time.monotonic()
            if now - self._heard > PONG_WITHIN:
                await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Pong timeout")
                return
            if now - opened > LONGEST_CONNECTION:
                await self._socket.close(code=WSCloseCode.GOING_AWAY, message=b"24 hours")
                return
            if not self._client.is_silent:
                await self._socket.ping(str(time.time_ns() // 1_000_000).encode())

    async def listen(self) -> None:
        """Answers until the client goes."""
        async for message in self._socket:
            now = time.monotonic()
            self._arrivals.append(now)
            if len(self._arrivals) > MESSAGES_A_SECOND and now - self._arrivals[0] < 1.0:
                await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Too many requests")
                return
            if message.type == WSMsgType.PONG:
                self._heard = now
            elif message.type == WSMsgType.PING:
                if not self._client.is_silent:
                    await self._socket.pong(message.data)
            elif message.type == WSMsgType.TEXT:
                reply = self._reply(message.data).encode(errors="replace")  # half a character, as JSON can name it
                if not self._client.is_silent:
                    await self._socket.send_str(reply.decode())

    def _reply(self, text: str) -> str:
        try:
            number, result = self._answer(text)
        except RefusalError as refusal:
            return refusal.reply()
        return json_text({"result": result, "id": number})

    def _answer(self, text: str) -> tuple[object, object]:
        try:
            request = json.loads(text)
        except (ValueError, RecursionError) as error:
            line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
            raise RefusalError(3, f"Invalid JSON: expected value at line {line} column {column}") from None
        if not isinstance(request, dict) or "method" not in request:
            raise RefusalError(2, f"Invalid request: missing field `method` at line 1 column {len(text)}")
        number = request.get("id", "")
        if not _is_request_id(number):
            raise RefusalError(2, "Invalid request: request ID must be an unsigned integer")
        method, params = request["method"], request.get("params", [])
        if method not in _METHODS:
            expected = ", ".join(f"`{name}`" for name in _METHODS)
            raise RefusalError(
                2,
                f"Invalid request: unknown variant `{method}`, expected one of {expected} at line 1 column 28",
                number,
            )
        if not isinstance(params, list):
            raise RefusalError(2, "Invalid request: params must be an array", number)
        answers: dict[str, Callable[[list[object], object], object]] = {
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._unsubscribe,
            "LIST_SUBSCRIPTIONS": lambda _params, _number: list(self._client.streams),
            "SET_PROPERTY": self._set_property,
            "GET_PROPERTY": self._get_property,
        }
        return number, answers[method](params, number)

    def _subscribe(self, params: list[object], number: object) -> None:
        streams = _stream_names(params, number)
        if len(set(streams) | self._client.streams.keys()) > STREAMS_A_CONNECTION:
            raise RefusalError(2, "Invalid request: too many parameters", number)
        if self._hub.refuses(streams):
            self._client.cut()
        self._hub.subscribe(self._client, streams)

    def _unsubscribe(self, params: list[object], number: object) -> None:
        self._hub.unsubscribe(self._client, _stream_names(params, number))

    def _set_property(self, params: list[object], number: object) -> None:
        self._get_property(params[:1], number)
        if len(params) != 2 or not isinstance(params[1], bool):
            raise RefusalError(1, "Invalid value type: expected Boolean", number)
        self._client.form = Form(params[1], self._client.form.unit)

    def _get_property(self, params: list[object], number: object) -> bool:
        if not params or not isinstance(params[0], str):
            raise RefusalError(2, "Invalid request: property name must be a string", number)
        if params[0] != "combined":
            raise RefusalError(0, "Unknown property", number)
        return self._client.form.is_combined


def _stream_names(params: list[object], number: object) -> list[str]:
    names = [name for name in params if isinstance(name, str) and _STREAM.match(name)]
    if len(names) != len(params) or not names:
        raise RefusalError(2, "Invalid request: invalid stream", number)
    return names


def _is_request_id(number: object) -> bool:
    if isinstance(number, str):
        return bool(re.fullmatch(r"[A-Za-z0-9_-]{1,36}", number))
    return number is None or (isinstance(number, int) and not isinstance(number, bool) and abs(number) < 2**63)


def _bad_request(code: int, text: str) -> web.Response:
    return web.json_response({"code": code, "msg": text}, status=400)
