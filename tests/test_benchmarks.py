"""The benchmarks stand beside the code that they measure, and nothing else calls them."""

import importlib
from pathlib import Path

import pytest

SCRIPTS = sorted(path.stem for path in (Path(__file__).parent.parent / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_finds_all_that_it_measures(name: str) -> None:
    assert importlib.import_module(f"benchmarks.{name}").__doc__
