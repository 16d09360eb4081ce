"""Each of these tests deploys a system of its own."""

from pathlib import Path

import pytest

from tests.system import mark_long


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder are long."""
    mark_long(items, Path(__file__).parent)
