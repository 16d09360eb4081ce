"""One system for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import STREAMED_ALONE, System, deployed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need the deployed system."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="package")
def system() -> Iterator[System]:
    """The system, healthy. It is stopped and its folder removed after the last test of this folder."""
    with deployed(**STREAMED_ALONE) as made:
        yield made
