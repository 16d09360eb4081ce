"""The demo in Docker, for all tests of this folder: engine, images, and the deployment by `./deploy.sh --docker`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployment import docker
from tests.docker import base_images, engine
from tests.docker.containers import Containers
from tests.system import STREAMED_ALONE, deployed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the engine comes by `./test.sh --docker`, for it builds images first."""
    for item in items:
        if Path(__file__).parent in item.path.parents and "containers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="package")
def containers() -> Iterator[Containers]:
    """The deployed demo. Its containers, volumes and folder are removed at the end; the images stay, as a cache."""
    with engine.running():
        for stand_in in base_images.have():
            print(f"{stand_in} cannot be pulled here: a stand-in of Debian's packages serves")
        engine.check_that_it_runs(base_images.ours()[-1])
        # Grafana's image can only be pulled.
        given = {**STREAMED_ALONE, "GRAFANA": "false", "MEMORY_PROFILE": "8g", "ALERTS_FILE": "config/alerts.yaml"}
        # The candles go first, as by default: of three cold runs at once on two cores none made a second minute in ten.
        del given["CANDLES_FIRST_SECONDS"]
        with deployed("--docker", **given) as system:
            with system.its_environment():
                project = docker.project()
            yield Containers(system, project)
