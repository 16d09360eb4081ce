"""`crypto alerts`, with a real database and a real receiver."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from alerts.book import Fired, Key, Resolved
from alerts.kinds._kind import Finding
from alerts.kinds.disk import Disk
from alerts.store import Store
from crypto_pipeline.cli import app
from shared import settings
from tests.alerts.conftest import Database, Receiver
from tests.alerts.trades import START

FIRED = Fired(Disk(name="fills", kind="disk"), Finding("disk", True, START, 91.0, "The disk is 91 % full."))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def deployed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_PORT", str(database.settings.postgres_port))
    monkeypatch.setenv("SERVING_ALERTS_PASSWORD", "alert's")


def crypto(*arguments: str) -> Result:
    settings.settings.cache_clear()
    return CliRunner().invoke(app, ["alerts", *arguments])


@pytest.mark.usefixtures("deployed")
def test_active_alerts_are_listed_and_with_all_those_that_are_over(store: Store) -> None:
    assert "No alert is active" in crypto("list").output
    store.commit([FIRED], {}, {})
    assert "91 % full" in crypto("list").output
    store.commit([Resolved(Key("fills", "disk"), START, "It is over.")], {}, {})
    assert "No alert is active" in crypto("list").output
    assert "over" in crypto("list", "--all").output
    (row,) = json.loads(crypto("list", "--all", "--json").output)
    assert (row["rule"], row["subject"], row["value"]) == ("fills", "disk", 91.0)


@pytest.mark.usefixtures("deployed")
def test_an_alert_is_acknowledged_and_one_that_is_not_there_is_refused(store: Store) -> None:
    store.commit([FIRED], {}, {})
    assert crypto("ack", "1").exit_code == 0
    assert "active, seen" in crypto("list").output
    refused = crypto("ack", "2")
    assert refused.exit_code == 1
    assert "There is no alert 2" in refused.output


def test_without_a_database_it_says_so_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_PORT", "1")
    answer = crypto("list")
    assert answer.exit_code == 1
    assert answer.output.startswith("The alerts cannot be read: ")


def rules(home: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (home / "alerts.yaml").write_text(text)
    monkeypatch.setenv("ALERTS_FILE", str(home / "alerts.yaml"))


def test_a_test_of_a_rule_says_what_each_destination_answered(
    home: Path, monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    other = Receiver()
    other.status = 403
    rules(
        home,
        monkeypatch,
        f"""
destinations: {{good: {{url: "{receiver.url}"}}, bad: {{url: "{other.url}/t0psecret"}}}}
rules: [{{name: fills, kind: disk, destinations: [good, bad]}}, {{name: quiet, kind: disk}}]
""",
    )
    answer = crypto("test", "fills")
    other.close()
    assert answer.exit_code == 1
    assert "good: taken" in answer.output
    assert "bad: " in answer.output
    assert "403" in answer.output
    assert "t0psecret" not in answer.output
    assert receiver.told == ["Test: fills"]
    assert "no destination" in crypto("test", "quiet").output
    assert crypto("test", "other").exit_code == 2


def test_a_file_is_checked_beforehand(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is right: " in crypto("check").output
    rules(home, monkeypatch, "rules:\n  - {name: a, kind: gossip}\n")
    wrong = crypto("check")
    assert wrong.exit_code == 1
    assert "alerts.yaml:2: " in wrong.output
    assert crypto("test", "a").exit_code == 2
