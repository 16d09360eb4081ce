"""The application: its routes, what runs beside them, and how each fault becomes a sentence."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crypto_pipeline.reader import LakeError
from dashboard import market, minutes, system
from dashboard.alerts import Alerts
from dashboard.api import alerts as alerts_api
from dashboard.api import data, gold, live, status
from dashboard.api import market as market_api
from dashboard.broadcast import Broadcast
from dashboard.context import Context, Here, Kept
from dashboard.database import Database, DatabaseAwayError, WrongValueError
from dashboard.disk import SAMPLE_SECONDS, DiskLog
from dashboard.errors import RequestError
from dashboard.feed import Feed
from dashboard.formats import json_response
from dashboard.hub import Hub
from dashboard.minutes import HourOf
from shared.settings import Settings

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
PAGES = ("/", "/portfolio", "/data", "/alerts", "/docs")
LAKE_SECONDS = 5.0
"""How often the lake's newest minutes are asked for, to go on from them."""
ALERTS_SECONDS = 1.0
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def create_app(settings: Settings, hour_of: HourOf = minutes.of_an_hour) -> FastAPI:
    """The application for one deployment; `hour_of` reads the minutes of an hour from the lake."""
    app = FastAPI(
        title="crypto-lakehouse",
        version="1",
        description="Market data of the lake and of the stream. Times are UTC; prices are strings, exact.",
        lifespan=partial(_running, settings, hour_of),
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    rest = APIRouter(prefix="/api/v1", dependencies=[Depends(_Limit(settings)), Depends(_only_known_parameters)])
    for part in (market_api, gold, data, alerts_api, status):
        rest.include_router(part.router)
    app.include_router(rest)
    app.include_router(live.router, prefix="/api/v1")
    app.add_api_route("/health", _health, include_in_schema=False)
    for path in PAGES:
        app.add_api_route(path, _page, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(_Headers)
    for fault, code in (
        (DatabaseAwayError, 503),
        (LakeError, 503),
        (WrongValueError, 400),
    ):
        app.add_exception_handler(fault, partial(_sentence, code))
    for kind, answer in ((RequestError, _refused), (RequestValidationError, _invalid), (HTTPException, _not_there)):
        app.add_exception_handler(kind, cast(Callable[[Request, Exception], Awaitable[Response]], answer))
    return app


@asynccontextmanager
async def _running(settings: Settings, hour_of: HourOf, app: FastAPI) -> AsyncIterator[None]:
    database, alerts, hub, disk = Database(settings), Alerts(settings), Hub(), DiskLog(settings.state)
    feed = Feed(settings, hub, lambda: hub.lake_until)
    symbols = Kept(partial(market.symbols, database, hub), 15)
    context = Context(settings, database, alerts, hub, feed, hour_of, symbols)
    context.kept = {
        "alert_names": Kept(alerts.names, 5),
        "sparklines": Kept(lambda: _sparklines(context), 30),
        "system": Kept(partial(asyncio.to_thread, system.collected, settings, disk), 10),
    }
    app.state.context = context
    app.state.broadcast = broadcast = Broadcast(context)
    await database.open()
    await alerts.open()
    with suppress(DatabaseAwayError):
        await _know_the_lake(context)
    feed.start()
    beside = [
        asyncio.create_task(broadcast.run()),
        asyncio.create_task(_every(LAKE_SECONDS, partial(_know_the_lake, context))),
        asyncio.create_task(_every(ALERTS_SECONDS, alerts.look)),
        asyncio.create_task(_every(SAMPLE_SECONDS, partial(asyncio.to_thread, disk.sample))),
    ]
    try:
        yield
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await feed.stop()
        await alerts.close()
        await database.close()


async def _know_the_lake(context: Context) -> None:
    keys = list(await context.symbols())
    context.hub.know(await market.lake_days(context.database, keys, datetime.now(UTC)))


async def _sparklines(context: Context) -> dict[tuple[str, str], list[float]]:
    return await market.sparklines(context.database, list(await context.symbols()), datetime.now(UTC))


async def _every(seconds: float, do: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await do()
        except DatabaseAwayError:
            pass  # the page says so
        except Exception:
            log.exception("what is done every %s s failed, and is tried again", seconds)
        await asyncio.sleep(seconds)


async def _health(here: Here) -> Response:
    """The page is served; what stands still, and why, is beside it."""
    return json_response({"serves": True, "feed": here.feed.trouble, "database": here.database.trouble})


async def _page() -> FileResponse:
    return FileResponse(STATIC / "index.html")


class _Headers:
    """Adds ours to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, sending)


class _Limit:
    """So many requests a minute from one address."""

    def __init__(self, settings: Settings) -> None:
        self._most = RateLimitItemPerMinute(settings.dashboard_requests_per_minute)
        self._counted = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def __call__(self, request: Request) -> None:
        if not await self._counted.hit(self._most, request.client.host if request.client else ""):
            raise RequestError(
                429,
                f"More than {self._most.amount} requests a minute came from this address: ask less often, or raise "
                "DASHBOARD_REQUESTS_PER_MINUTE.",
            )


def _only_known_parameters(request: Request) -> None:
    route = request.scope["route"]
    known = _query_names(route.dependant)
    if "name" in route.param_convertors:
        return  # a table of gold, whose columns are parameters too
    for name in request.query_params:
        if name not in known:
            raise RequestError(
                400, f"There is no parameter {name[:40]!r}: there is {', '.join(sorted(known)) or 'none'}."
            )


def _query_names(dependant: Dependant) -> set[str]:
    """The names of the query parameters that it and what it depends on take."""
    own = {parameter.alias for parameter in dependant.query_params}
    return own.union(*map(_query_names, dependant.dependencies))


def _failure(code: int, sentence: str) -> Response:
    return json_response({"error": sentence}, code)


async def _sentence(code: int, _request: Request, fault: Exception) -> Response:
    return _failure(code, str(fault))


async def _refused(_request: Request, fault: RequestError) -> Response:
    return _failure(fault.status, str(fault))


async def _invalid(_request: Request, fault: RequestValidationError) -> Response:
    first = fault.errors()[0]
    name = first["loc"][-1]
    if first["type"] == "missing":
        return _failure(422, f"The parameter {name} is missing.")
    return _failure(422, f"{name} is {str(first['input'])[:80]!r}: {first['msg'][0].lower()}{first['msg'][1:]}.")


async def _not_there(request: Request, fault: HTTPException) -> Response:
    if fault.status_code == 404 and not request.url.path.startswith(("/api", "/static")):
        return FileResponse(STATIC / "index.html", 404)
    if fault.status_code == 404:
        return _failure(404, f"There is nothing at {request.url.path[:80]!r}: /docs lists what there is.")
    return _failure(fault.status_code, f"{fault.detail}.")
