"""No locked package has a known vulnerability, unless it is listed with a reason and a day."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deployment.environment import LOCK, locked
from shared.yaml_file import YamlFileError
from tests.supply_chain.audit import Accepted, UnreachableError, accepted, expired, faults, report

SERVICES = ("pypi", "osv")
KNOWN = {
    "id": "GHSA-0000-0000-0000",
    "aliases": ["CVE-2026-0001"],
    "summary": "made up",
    "affected": [
        {
            "package": {"name": "uv", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
        }
    ],
}


@pytest.fixture
def one_package(tmp_path: Path) -> Path:
    """A lock of uv alone."""
    lock = tmp_path / "one.lock"
    lock.write_text(locked("uv", LOCK.read_text()))
    return lock


@pytest.fixture
def service() -> Iterator[str]:
    """The address of a service that says of every package what it says of uv."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"vulns": [KNOWN]}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()
    thread.join()


def test_no_locked_package_has_a_vulnerability_that_is_not_accepted(one_package: Path) -> None:
    reasons = []
    for name in SERVICES:
        try:
            report(one_package, "--vulnerability-service", name)  # does it answer at all?
            said = report(LOCK, "--vulnerability-service", name)
        except UnreachableError as error:
            reasons.append(f"{name}: {error}")
        else:
            assert faults(said, accepted()) == []
            return
    pytest.skip(f"THE LOCKED PACKAGES WERE NOT AUDITED: no service of vulnerabilities answers ({'; '.join(reasons)})")


def test_what_is_accepted_is_not_past_its_day() -> None:
    assert expired(accepted(), datetime.now(UTC).date()) == []


def test_a_vulnerability_is_a_fault_until_it_is_listed_by_any_of_its_names(one_package: Path, service: str) -> None:
    said = report(one_package, "--vulnerability-service", "osv", "--osv-url", service)
    [fault] = faults(said, ())
    assert "has CVE-2026-0001, GHSA-0000-0000-0000, mended in 99" in fault
    listed = Accepted(id="CVE-2026-0001", package="uv", until=date(2026, 12, 31), reason="nothing of ours calls it")
    assert faults(said, [listed]) == []
    assert faults(said, [listed.model_copy(update={"package": "pip"})]) == [fault]
    assert expired([listed], date(2026, 12, 31)) == []
    assert "was accepted until 2026-12-31" in expired([listed], date(2027, 1, 1))[0]


def test_a_service_that_is_away_or_knows_no_package_is_no_clean_bill(one_package: Path) -> None:
    with pytest.raises(UnreachableError):
        report(one_package, "--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:1")
    assert faults([{"name": "a", "skip_reason": "not found"}, {"name": "b", "version": "1", "vulns": []}], ()) == [
        "a was not looked at: not found"
    ]


def test_an_entry_without_a_day_or_a_reason_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "accepted.yaml"
    for missing in ("until: 2026-12-31", "reason: nothing of ours calls it"):
        file.write_text(f"accepted:\n  - {{id: CVE-1, package: a, {missing}}}\n")
        with pytest.raises(YamlFileError, match=r"accepted\.yaml:2"):
            accepted(file)
