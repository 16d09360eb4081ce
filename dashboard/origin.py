"""Whether our own page asks: one of another site may too, in the browser of somebody who can reach ours."""

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request

from dashboard.errors import RequestError


def is_foreign(asks: HTTPConnection) -> bool:
    """Whether it is a page of another site; a program, which names no origin, is none."""
    origin = asks.headers.get("origin")
    return bool(origin) and urlsplit(origin).netloc != asks.headers.get("host")


def only_ours(request: Request) -> None:
    """Raises `RequestError` for a request that changes something and may come from another site's page.

    JSON is what a browser sends to another site only when that allows it, and we do not.
    """
    if is_foreign(request):
        raise RequestError(403, "This is refused to the pages of other sites: do it on the dashboard itself.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError(415, "Send the header Content-Type: application/json; a body is not needed.")
