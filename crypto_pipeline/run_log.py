"""What a run of Dagster writes to the log of its process: the lines of every other log here (`shared.logs`)."""

import logging
from typing import Any

import dagster as dg
from structlog.typing import EventDict

from shared import logs
from shared.settings import settings


def _logger(_context: dg.InitLoggerContext) -> logging.Logger:
    handler = logging.StreamHandler()
    handler.setFormatter(logs.formatter(settings().log_format, _of_run))
    logger = logging.Logger("dagster", logging.DEBUG)
    logger.addHandler(handler)
    return logger


def set_up() -> None:
    """Have runs of this process log so, and whatever else is logged in it.

    A logger of `Definitions` counts only in runs whose configuration names it; all others have Dagster's own, of which
    only the colours can be set. So its place is taken.
    """
    logs.set_up(settings().log_format)
    dagsters = logging.getLogger("dagster")
    dagsters.propagate = not dagsters.handlers  # the code server has set it up already, a run has not
    dg.colored_console_logger._logger_fn = _logger


def _of_run(_logger: Any, _method: str, said: EventDict) -> EventDict:
    """Which run, job and step it is, each by itself, where Dagster puts them all before the sentence."""
    about = getattr(said["_record"], "dagster_meta", None)
    if not about:
        return said
    known = {"run_id": about["run_id"], "job": about["job_name"], "step": about["step_key"]}
    event = about["dagster_event"]
    error = getattr(event.event_specific_data, "error", None) if event else None
    return {
        **said,
        **{name: value for name, value in known.items() if value},
        **({"kind": event.event_type_value} if event else {}),
        **({"exception": error.to_string()} if error else {}),
        "event": about["orig_message"],
    }
