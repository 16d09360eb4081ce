"""What a run of Dagster writes to its process's log."""

import json

import dagster as dg
import pytest
from structlog.contextvars import bound_contextvars

from crypto_pipeline import run_log
from shared.settings import Settings


@dg.op
def counted(context: dg.OpExecutionContext) -> None:
    with bound_contextvars(batch_id="b1"):
        context.log.info("three rows")


@dg.op
def failing() -> None:
    raise ValueError("no such row")


@dg.job
def both() -> None:
    counted()
    failing()


def test_each_line_says_of_which_run_and_step_it_is_and_of_which_batch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "settings", lambda: Settings(log_format="json"))
    monkeypatch.setattr(dg.colored_console_logger, "_logger_fn", dg.colored_console_logger.logger_fn)
    run_log.set_up()
    with dg.DagsterInstance.ephemeral() as instance:
        run = both.execute_in_process(instance=instance, raise_on_error=False)
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line["run_id"] for line in said} == {run.run_id}
    assert {line["job"] for line in said} == {"both"}
    [mine] = [line for line in said if line["event"] == "three rows"]
    assert (mine["step"], mine["batch_id"], mine["level"]) == ("counted", "b1", "info")
    [failed] = [line for line in said if line.get("kind") == "STEP_FAILURE"]
    assert failed["step"] == "failing"
    assert "ValueError: no such row" in failed["exception"]
