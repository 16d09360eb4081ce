"""What fired, what is active, and that somebody has seen it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Response

from alerts.kinds._kind import Severity
from dashboard.alerts import ALERT
from dashboard.context import Here
from dashboard.errors import RequestError
from dashboard.formats import Format, json_response, rows_response
from dashboard.origin import only_ours
from dashboard.parameters import End, Limit, Start, Written, span

router = APIRouter(tags=["alerts"])

LARGEST = 2**53 - 1
"""The largest number that JavaScript tells from its neighbours."""


@router.get("/alerts")
async def alerts(
    here: Here,
    state: Annotated[Literal["active", "past"] | None, Query(description="without it, both")] = None,
    severity: Annotated[Severity | None, Query()] = None,
    rule: Annotated[str | None, Query(max_length=60, description="its name in config/alerts.yaml")] = None,
    subject: Annotated[str | None, Query(max_length=200, description="what it is about: binance BTCUSDT, disk")] = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 100,
    written: Written = Format.JSON,
) -> Response:
    """Alerts, the newest first: what happened, when it fired, was over and was acknowledged, and who was told.

    `start` and `end` are of `fired_at`. A delivery is a message to a destination: `about` is fired or resolved,
    `delivered_at` is null while it waits, `answer` says why it was not taken. In JSON, `rules` and `subjects` are
    those that alerts have.
    """
    begin, until = span(start, end)
    is_active = None if state is None else state == "active"
    wanted = {"is_active": is_active, "severity": severity, "rule": rule, "subject": subject, "limit": limit}
    rows = await here.alerts.listed(wanted | {"start": begin, "end": until})
    return rows_response(ALERT, rows, written, await here.kept["alert_names"]())


@router.post("/alerts/{number}/acknowledge", dependencies=[Depends(only_ours)])
async def acknowledge(
    here: Here, number: Annotated[int, Path(ge=1, le=LARGEST, description="the alert's id")]
) -> Response:
    """Note that somebody has seen an alert, as `crypto alerts ack` does; the first time counts.

    Needs `Content-Type: application/json`, without a body; a page of another site is refused.
    """
    since = await here.alerts.acknowledge(number)
    if since is None:
        raise RequestError(404, f"There is no alert {number}: /api/v1/alerts lists them.")
    return json_response({"id": number, "acknowledged_at": since})
