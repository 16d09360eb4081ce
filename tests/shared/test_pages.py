"""What a process tells of itself by HTTP."""

from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest
from prometheus_client import CollectorRegistry, Counter

from shared.pages import Pages, figures
from tests.bad_input import refuses_raw


@pytest.fixture
def port() -> Iterator[int]:
    """Where the metrics of a registry are answered."""
    registry = CollectorRegistry()
    Counter("seen", "What was seen.", registry=registry).inc()
    pages = Pages(figures(registry))
    yield pages.serve("127.0.0.1", 0)
    pages.close()


@pytest.mark.parametrize("version", ["1.0.0", "", "x", "1.x", "9" * 5000])
@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_metrics_are_told_whatever_version_of_them_is_asked_for(port: int, kind: str, version: str) -> None:
    asked = Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": f"{kind}; version={version}"})
    with urlopen(asked) as answered:
        assert b"seen_total 1.0" in answered.read()


@pytest.mark.bad_input
def test_what_is_no_http_is_refused(port: int, fuzz_seconds: float) -> None:
    refuses_raw(port, fuzz_seconds)
