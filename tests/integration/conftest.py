"""One system for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import STREAMED_ALONE, System, deployed

LAST = ("test_dashboard", "test_alerts", "test_bad_input", "test_recovery")
"""What waits for evidence, which is gathered each five minutes; leaves holes; keeps all busy; and kills."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need the deployed system; some come after the others.

    What runs after a killed service waits for JVMs that compile anew: a pass of three minutes, not of one.
    """
    places = [place for place, item in enumerate(items) if Path(__file__).parent in item.path.parents]
    ordered = sorted(
        (items[place] for place in places),
        key=lambda item: LAST.index(item.path.stem) if item.path.stem in LAST else -1,
    )
    for place, item in zip(places, ordered, strict=True):
        items[place] = item
        item.add_marker(pytest.mark.integration)
        item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="package")
def system() -> Iterator[System]:
    """The system, healthy. It is stopped and its folder removed after the last test of this folder."""
    with deployed(**STREAMED_ALONE, LOG_FORMAT="json") as made:
        yield made
