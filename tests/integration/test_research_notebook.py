"""`docs/research.ipynb` runs as it stands there, on a lake that has streamed for a few minutes."""

import subprocess
from pathlib import Path

import nbformat
import pytest

from tests.system import PROJECT, System, wait_for

NOTEBOOK = PROJECT / "docs" / "research.ipynb"


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)


@pytest.fixture
def _evidence(system: System) -> None:
    for table in ("silver.ohlcv_1m", "silver.completeness"):
        proven = f"select 1 from {table} where symbol = 'BTCUSDT' and status in ('complete', 'repaired')"
        wait_for(f"{table} with a proven minute", lambda sql=proven: system.query(sql))
    wait_for("indicators", lambda: system.query("select 1 from silver.indicators where symbol = 'BTCUSDT'"))


@pytest.mark.usefixtures("_evidence")
def test_it_runs_and_each_cell_but_the_settings_shows_something(system: System, tmp_path: Path) -> None:
    shown = tmp_path / "research.ipynb"
    command = [str(PROJECT / ".venv" / "bin" / "jupyter"), "execute", str(NOTEBOOK), f"--output={shown}"]
    done = subprocess.run(command, env=system.environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    cells = [cell for cell in nbformat.read(shown, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.id for cell in cells if not cell.outputs] == ["settings"]
    # Drawing for the first time, matplotlib tells that it looks for fonts.
    warned = [cell.id for cell in cells if any(output.get("name") == "stderr" for output in cell.outputs)]
    assert set(warned) <= {"curve"}
