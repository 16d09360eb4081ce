"""`docs/research.ipynb` runs as it stands there, on a lake that has streamed for a few minutes."""

from copy import deepcopy

import nbformat
import pytest
from nbclient import NotebookClient

from tests.system import PROJECT, System, wait_for

NOTEBOOK = nbformat.read(PROJECT / "docs" / "research.ipynb", as_version=4)


def test_it_is_kept_without_outputs() -> None:
    nbformat.validate(NOTEBOOK)
    code = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)


@pytest.fixture
def _evidence(system: System) -> None:
    for table in ("silver.ohlcv_1m", "silver.completeness"):
        proven = f"select 1 from {table} where symbol = 'BTCUSDT' and status in ('complete', 'repaired')"
        wait_for(f"{table} with a proven minute", lambda sql=proven: system.query(sql), seconds=600)
    wait_for("indicators", lambda: system.query("select 1 from silver.indicators where symbol = 'BTCUSDT'"), 300)


@pytest.mark.usefixtures("_evidence")
def test_it_runs_and_each_cell_but_the_settings_shows_something(system: System) -> None:
    client = NotebookClient(deepcopy(NOTEBOOK), timeout=120, kernel_name="python3")
    done = client.execute(env=system.environment, cwd=str(system.home))
    assert [cell.id for cell in done.cells if cell.cell_type == "code" and not cell.outputs] == ["settings"]
    assert not [out for cell in done.cells for out in cell.get("outputs", []) if out.get("name") == "stderr"]
