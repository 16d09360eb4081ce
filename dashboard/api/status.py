"""How everything is."""

from typing import Any

from fastapi import APIRouter, Response

from dashboard.api.market import NAMES
from dashboard.bars import INTERVALS
from dashboard.context import Here
from dashboard.formats import json_response
from dashboard.system import links

router = APIRouter(tags=["status"])


@router.get("/status")
async def status(here: Here) -> Response:
    """What is healthy and what is not, lag, the last runs, disk; asked anew every ten seconds at most."""
    found: dict[str, Any] = await here.kept["system"]()
    return json_response(found | {"feed": here.feed.trouble, "database": here.database.trouble})


@router.get("/about")
async def about(here: Here) -> Response:
    """Whether it is the demo or live, the timeframes, and the indicators that the lake has."""
    return json_response(
        {
            "mode": here.settings.mode,
            "intervals": list(INTERVALS),
            "indicators": NAMES,
            "links": links(here.settings),
        }
    )
