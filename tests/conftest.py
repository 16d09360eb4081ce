"""What tests of every part share."""

import os
import re
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from deployment import chromium
from tests.servers import KafkaServer, MinioServer, PostgresServer, running_kafka

WORKS = ("crypto_pipeline", "chaos", "drills", "integration", "docker")
"""What wants the whole machine, in the order in which it runs, one after the other."""
CI_MINUTES = {"integration": 70, "docker": 65}
"""With CI=true no test of these begins later: CI ends a run after 90 minutes, and then nobody reads what had passed.

So a machine that is slow for an hour leaves out the last of them, which says so, and not the summary.
"""
BEGAN = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the chaos suite disturbs the system, and by which seed; how long bad input is tried."""
    parser.addoption("--minutes", type=float, default=3.0, help="of faults and kills in tests/chaos")
    parser.addoption("--fuzz-seconds", type=float, default=3.0, help="of bad input for each thing that takes any")
    parser.addoption("--seed", type=int, default=1, help="of the faults and kills in tests/chaos")


@cache
def works(path: str) -> bool:
    """Does a file of tests, by its path from the project's root, need a deployed system, or the fixtures of Spark?"""
    part = path.split("/")[1]
    return part in WORKS[1:] or (
        part == WORKS[0] and bool(re.search(r"spark|engine|as_messages|\b(lake|world)\b", Path(path).read_text()))
    )


class ByMachine(LoadScopeScheduling):
    """One of two workers has Spark and the deployed systems, the other what mostly waits."""

    def _split_scope(self, nodeid: str) -> str:
        return "works" if works(nodeid.partition("::")[0]) else "waits"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByMachine:
    """How `-n 2` distributes the tests. (`--dist loadgroup` of xdist 3.8 sees no groups under pytest 9.2.)"""
    return ByMachine(config, log)


class FailuresAtOnce:
    """Says on the terminal what failed when it fails, not at the end, which an interrupted run does not come to."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._terminal.write_line(f"\nFAILED {report.nodeid} ({report.when})\n{report.longreprtext[-1500:]}")


@pytest.hookimpl(trylast=True)  # the terminal is there
def pytest_configure(config: pytest.Config) -> None:
    """Failures are told at once, by the process that distributes the tests."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal and not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(terminal))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The deployed systems come last."""
    order = {part: place for place, part in enumerate(WORKS)}
    items.sort(key=lambda item: order.get(item.nodeid.split("/")[1], -1))


@pytest.hookimpl(tryfirst=True)  # before a system is deployed for it
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What comes too late in CI is left out."""
    minutes = CI_MINUTES.get(item.nodeid.split("/")[1])
    if minutes and os.environ.get("CI") == "true" and time.monotonic() - BEGAN > minutes * 60:
        pytest.skip(f"over {minutes} minutes went into what comes before: ./test.sh runs it without CI=true")


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
def fuzz_seconds(request: pytest.FixtureRequest) -> float:
    """How long a test tries bad input."""
    seconds: float = request.config.getoption("--fuzz-seconds")
    return seconds


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
    yield from running_kafka(tmp_path_factory.mktemp("kafka"))


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A real object store with an empty bucket; a test that stops it starts it again."""
    server = MinioServer(tmp_path_factory.mktemp("minio"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL with the roles of the serving database and none of its tables."""
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's chromium. Closed with the module: while it is open, no test of its process can run an event loop."""
    program = chromium.program()
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium; ./test.sh does it as root on Debian")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
