"""The socket of an open page."""

import asyncio
from contextlib import suppress

import msgspec
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from dashboard.broadcast import Broadcast, Page
from dashboard.context import Here
from dashboard.database import DatabaseAwayError
from dashboard.errors import RequestError
from dashboard.origin import is_foreign
from dashboard.parameters import known_interval, known_symbol

router = APIRouter()

PAGES_AT_ONCE = 1000
TOO_MANY = 1013
"""The WebSocket's code for: try again later."""


class Wish(msgspec.Struct):
    """What a page says that it looks at."""

    symbol: str = ""
    """None: how things stand is all that it wants."""
    exchange: str = "binance"
    interval: str = "1m"


_read = msgspec.json.Decoder(Wish)
_REFUSED = (RequestError, DatabaseAwayError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@router.websocket("/live")
async def live(socket: WebSocket, here: Here) -> None:
    """The page says `{"exchange", "symbol", "interval"}`, again when that changes, and gets arrays of messages.

    Their `type` is `price` (price and the newest bars, up to four times a second), `depth` (book, last trades, the 24
    hours), `watch` (every symbol's price), `alerts` (how many there are) or `state` (what stands still, and why; each
    second).
    """
    broadcast: Broadcast = socket.app.state.broadcast
    if is_foreign(socket):
        await socket.close()
        return
    await socket.accept()
    if len(broadcast.pages) >= PAGES_AT_ONCE:
        await socket.close(TOO_MANY, f"{PAGES_AT_ONCE} pages are open: close some.")
        return
    page = Page()
    broadcast.pages.add(page)
    sending = asyncio.create_task(_send(socket, page))
    try:
        while (said := await socket.receive())["type"] == "websocket.receive":
            try:
                wish = _read.decode(said.get("text") or said.get("bytes") or b"")
                view = None
                if wish.symbol:
                    key, _ = await known_symbol(here, wish.exchange, wish.symbol)
                    view = (key, known_interval(wish.interval))
                broadcast.show(page, view)
            except _REFUSED as error:
                page.put("error", msgspec.json.encode({"type": "error", "sentence": str(error)}))
    finally:
        broadcast.pages.discard(page)
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending


async def _send(socket: WebSocket, page: Page) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # it has gone: the loop that reads from it ends by itself
        while True:
            await socket.send_text((await page.next()).decode())
