"""`python -m dashboard`: serves the page and its API until it is told to stop."""

import logging
from typing import Any

import uvicorn

from dashboard.app import create_app
from shared import logs
from shared.settings import settings

LARGEST_WISH = 4096
"""Bytes of what a page may say over its socket."""
SERVED: dict[str, Any] = {
    "loop": "uvloop",
    "http": "h11",  # refuses an endless request at 64 kB, which httptools keeps as it comes
    "ws": "websockets-sansio",
    "ws_max_size": LARGEST_WISH,
    "ws_per_message_deflate": False,  # on one machine it costs CPU and spares nothing
    "access_log": False,
    "log_config": None,
}
"""How uvicorn serves it, here and in tests."""


def main() -> None:
    """Serve on DASHBOARD_PORT."""
    current = settings()
    # Kafka's client repeats by the second what the page says once.
    logs.set_up(current.log_format, quiet={"kafka": logging.CRITICAL, "psycopg.pool": logging.ERROR})
    uvicorn.run(
        create_app(current),
        host=current.bind_address,
        port=current.dashboard_port,
        timeout_graceful_shutdown=3,
        **SERVED,
    )


if __name__ == "__main__":
    main()
