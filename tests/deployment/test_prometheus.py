"""A real Prometheus and Alertmanager, where they are installed."""

import io
import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerts.kinds.prometheus import Prometheus
from alerts.sources import Asked
from deployment import debian, probes, prometheus
from deployment.console import Console
from deployment.services import table
from deployment.steps import InstallError, Shell
from shared.settings import Settings
from tests.monitoring.named import rules
from tests.servers import Server, free_ports
from tests.system import wait_for

installed = pytest.mark.skipif(
    not prometheus.is_installed(),
    reason="Prometheus is not installed: apt-get install prometheus prometheus-alertmanager; ./test.sh does it as root",
)


@pytest.fixture(scope="module")
def settings() -> Settings:
    names = ("metrics_port", "alerts_port", "monitoring_port", "spark_ui_port", "prometheus_port", "alertmanager_port")
    return Settings().model_copy(update=dict(zip(names, free_ports(len(names)), strict=True)))


@pytest.fixture(scope="module")
def running(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Both, with nothing to scrape but themselves."""
    folder = tmp_path_factory.mktemp("prometheus")
    servers = [
        Server(folder / "prometheus", lambda: prometheus.command(settings), lambda: probes.prometheus(settings)),
        Server(
            folder / "alertmanager",
            lambda: prometheus.alertmanager_command(settings),
            lambda: probes.alertmanager(settings),
        ),
    ]
    for server in servers:
        server.start()
    yield settings
    for server in servers:
        server.stop()


def answer(settings: Settings, path: str) -> Any:
    return json.loads(probes.get(f"http://127.0.0.1:{settings.prometheus_port}/api/v1/{path}"))["data"]


def post(settings: Settings, path: str, body: object) -> None:
    url = f"{settings.alertmanager_url}/api/v2/{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=5).close()


@installed
def test_prometheus_has_every_rule_scrapes_where_the_settings_say_and_knows_alertmanager(running: Settings) -> None:
    groups = answer(running, "rules")["groups"]
    assert {rule["name"] for group in groups for rule in group["rules"]} == {name for name, _ in rules()}
    ports = (running.metrics_port, running.alerts_port, running.monitoring_port, running.spark_ui_port)
    wanted = {f"127.0.0.1:{port}" for port in (*ports, running.prometheus_port, running.alertmanager_port)}

    def places() -> set[str]:
        return {target["labels"]["instance"] for target in answer(running, "targets")["activeTargets"]}

    wait_for("it knows where to scrape", lambda: places() == wanted, seconds=20, every=0.2)
    [manager] = answer(running, "alertmanagers")["activeAlertmanagers"]
    assert str(running.alertmanager_port) in manager["url"]


@installed
def test_what_does_not_answer_is_down_and_what_does_is_up(running: Settings) -> None:
    def up() -> dict[str, str]:
        return {one["metric"]["job"]: one["value"][1] for one in answer(running, "query?query=up")["result"]}

    wanted = {"prometheus": "1", "alertmanager": "1", "streaming": "0"}
    wait_for("what is up is up", lambda: wanted.items() <= up().items(), seconds=40, every=0.5)


@installed
def test_an_alert_of_prometheus_is_an_alert_of_ours_until_it_is_silenced(running: Settings) -> None:
    asked = Asked(running, {})
    rule = Prometheus(name="machinery", kind="prometheus")
    service_down = {"alertname": "ServiceDown", "service": "kafka", "severity": "critical"}
    target_down = {"alertname": "TargetDown", "service": "kafka", "job": "kafka", "severity": "warning"}
    post(
        running,
        "alerts",
        [{"labels": one, "annotations": {"summary": "It is down."}} for one in (service_down, target_down)],
    )
    found = wait_for("the alert is found", lambda: list(rule.ask(asked, 5)), seconds=20, every=0.2)
    assert [(one.subject, one.holds, one.text) for one in found] == [("ServiceDown kafka", True, "It is down.")]
    assert list(Prometheus(name="other", kind="prometheus", severities=("warning",)).ask(asked, 5)) == []
    now = datetime.now(UTC)
    post(running, "silences", {
        "matchers": [{"name": "service", "value": "kafka", "isRegex": False}], "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(), "createdBy": "a test", "comment": "tried",
    })  # fmt: skip
    wait_for("the alert is silenced", lambda: not list(rule.ask(asked, 5)), seconds=20, every=0.2)


def test_without_alertmanager_the_rule_finds_nothing_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "alertmanager", lambda: None)
    assert list(Prometheus(name="machinery", kind="prometheus").ask(Asked(Settings(), {}), 5)) == []


def test_what_is_installed_starts_no_service_of_its_own_neither_now_nor_later(tmp_path: Path) -> None:
    policy, units = tmp_path / "policy-rc.d", tmp_path / "systemd"
    units.mkdir()
    with prometheus.services_off(prometheus.PACKAGES, policy, units):
        assert "exit 101" in policy.read_text()
        assert policy.stat().st_mode & 0o111
        assert {path.name for path in units.iterdir()} == {"prometheus.service", "prometheus-alertmanager.service"}
    assert not policy.exists()
    assert all(path.readlink() == Path("/dev/null") for path in units.iterdir())
    policy.write_text("another's")
    with prometheus.services_off(prometheus.PACKAGES, policy, units):
        pass
    assert policy.read_text() == "another's"


def test_where_it_cannot_be_had_the_deployment_goes_on_without(
    demo: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root on a Debian whose mirror does not answer."""

    def refuse(*_: object) -> None:
        raise InstallError("no mirror")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(prometheus, "is_installed", lambda: False)
    monkeypatch.setattr(debian, "can_install", lambda: True)
    monkeypatch.setattr(debian, "install", refuse)
    monkeypatch.setattr(prometheus, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(prometheus, "UNITS", tmp_path)
    assert {"prometheus", "alertmanager"} <= set(table(demo))
    with pytest.raises(InstallError):
        prometheus.install(Shell(Console(io.StringIO())))
    assert not {"prometheus", "alertmanager"} & set(table(demo))
    assert not prometheus.STEP.is_needed
