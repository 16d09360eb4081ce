"""What tests of every part share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import KafkaServer, MinioServer

SYSTEM_LAST = ("crypto_pipeline", "chaos", "integration")
"""The order of what wants the whole machine: it is one worker's, so that no two of it run at once."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the chaos suite disturbs the system, and by which seed."""
    parser.addoption("--minutes", type=float, default=3.0, help="of faults and kills in tests/chaos")
    parser.addoption("--seed", type=int, default=1, help="of the faults and kills in tests/chaos")


@pytest.hookimpl(tryfirst=True)  # before xdist looks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With two workers (`-n 2 --dist loadgroup`), one has Spark and the deployed systems, the other what only waits."""

    def place(item: pytest.Item) -> int:
        part = item.path.relative_to(Path(__file__).parent).parts[0]
        if part == "crypto_pipeline" and not {"spark", "engine"} & set(item.fixturenames):
            return -1
        return SYSTEM_LAST.index(part) if part in SYSTEM_LAST else -1

    items.sort(key=place)
    for item in items:
        item.add_marker(pytest.mark.xdist_group("waits" if place(item) < 0 else "works"))


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_in_the_project() -> Iterator[None]:
    """Fails the last test where one left something beside the code; hidden folders, and Spark's empty one, may come."""
    project = Path(__file__).resolve().parents[1]

    def seen() -> set[str]:
        return {path.name for path in project.iterdir() if not path.name.startswith(".")} - {"artifacts", "var"}

    before = seen()
    yield
    assert seen() <= before, f"the tests left {sorted(seen() - before)} in the project"


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of real recorded data beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the recorded data is not there: {folder}")
    return folder


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A real Kafka; a test that stops it starts it again."""
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    server.start()
    yield server
    server.kill()  # its folder goes too, and an orderly end takes it half a minute


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A real object store with an empty bucket; a test that stops it starts it again."""
    server = MinioServer(tmp_path_factory.mktemp("minio"))
    server.start()
    yield server
    server.stop()
