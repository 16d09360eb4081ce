"""What a process of ours writes to its log: a line for people, or with LOG_FORMAT=json an object a line.

An object has `timestamp` (UTC), `level`, `logger` and `event`, named as Dagster's own processes name them; `exception`
where there is one; and what is known of the work that is under way, such as its `batch_id` (`crypto_pipeline.batches`).
"""

import logging
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from shared.settings import LogFormat


def _named(_logger: Any, _method: str, said: EventDict) -> EventDict:
    """A module that is run by `python -m` has a name of its own too."""
    module = sys.modules["__main__"].__spec__
    return {**said, "logger": module.name} if said["logger"] == "__main__" and module else said


_SAID: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    _named,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
_AS_TEXT: tuple[Processor, ...] = (
    structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback),
)
_AS_JSON: tuple[Processor, ...] = (
    structlog.processors.format_exc_info,
    structlog.processors.JSONRenderer(ensure_ascii=False),
)


def formatter(log_format: LogFormat, *more: Processor) -> logging.Formatter:
    """Makes a record a line; `more` adds to what is said of it, or takes from it."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_SAID, *more],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *(_AS_JSON if log_format == "json" else _AS_TEXT),
        ],
    )


def set_up(log_format: LogFormat, quiet: Mapping[str, int] | None = None) -> None:
    """Have all of this process's log go to stderr, from INFO on; from `quiet` loggers, by name, from their level on."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(log_format))
    logging.captureWarnings(True)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name, level in (quiet or {}).items():
        logging.getLogger(name).setLevel(level)
