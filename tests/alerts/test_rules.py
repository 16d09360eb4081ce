from pathlib import Path

import pytest

from alerts.kinds import found
from alerts.rules import AlertsFileError, Watched, load
from shared.settings import PROJECT

RULE = "  - {name: a, kind: disk}\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "alerts.yaml"
    path.write_text(text)
    return path


def test_the_file_of_the_project_is_right_has_each_kind_and_needs_no_destination() -> None:
    file = load(PROJECT / "config" / "alerts.yaml")
    assert {rule.kind for rule in file.rules} == set(found())
    assert file.destinations == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ":1: is empty"),
        ("rules: [", ":1: not YAML"),
        ("rules:\n" + RULE + RULE, ":3: the rule a stands twice"),
        ("rules:\n" + RULE + "  - {name: b, kind: gossip}\n", ":3: rules.1: there is no kind 'gossip'; there are anom"),
        ("rules:\n  - {name: b}\n", ":2: rules.0: it names no kind"),
        (
            "rules:\n  - name: b\n    kind: disk\n    percent: 100\n",
            ":4: rules.0.percent: Input should be less than 100",
        ),
        ("rules:\n  - name: b\n    kind: disk\n    symbols: [BTCUSDT]\n", ":4: rules.0.symbols: Extra inputs"),
        ("rules:\n  - name: b\n    kind: disk\n    severity: loud\n", ":4: rules.0.severity: Input should be 'info'"),
        ("rules:\n  - name: b\n    kind: disk\n    cool_down_minutes: -1\n", ":4: rules.0.cool_down_minutes: "),
        ("rules:\n  - name: b\n    kind: price_crosses\n    symbols: [BTCUSDT]\n", ":2: rules.0: give one of above"),
        ("rules:\n  - name: b\n    kind: price_crosses\n    above: 1\n", ":2: rules.0.symbols: Field required"),
        ("rules:\n  - name: b\n    kind: move\n    percent: .nan\n    minutes: 1\n", ":4: rules.0.percent: "),
        (
            "rules:\n  - name: b\n    kind: disk\n    destinations: [team]\n",
            ":4: there is no destination team; there are",
        ),
        ("digest: {hour: 7, destinations: [team]}\n", ":1: there is no destination team"),
        ("digest: {hour: 24, destinations: [team]}\n", ":1: digest.hour: "),
        ("destinations:\n  team: {url: 'nowhere://x'}\n", ":2: destinations.team.url: is no address"),
        (
            "destinations:\n  team: {url: '${ALERTS_TEAM}'}\n",
            ":2: destinations.team.url: ALERTS_TEAM is not set: put it",
        ),
        ("destinations:\n  team: {url: 'json://x/${PATH}'}\n", ":2: destinations.team.url: PATH is not set"),
        ("heartbeat: {url: 'ftp://x'}\n", ":1: heartbeat.url: begins with http"),
        ("keep_days: 0\n", ":1: keep_days: "),
        ("rule: []\n", ":1: rule: Extra inputs"),
    ],
)
def test_a_wrong_file_is_refused_whole_with_line_and_reason(tmp_path: Path, text: str, reason: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(AlertsFileError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}{reason}")
    assert "\n" not in str(caught.value)


def test_a_secret_comes_from_env_and_shows_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("ALERTS_TEAM=t0psecret\nALERTS_OTHER=json://h/$x\n")
    path = written(tmp_path, "destinations:\n  team: {url: 'json://h/${ALERTS_TEAM}'}\n  b: {url: '${ALERTS_OTHER}'}\n")
    file = load(path)
    assert file.destinations["team"].url.get_secret_value() == "json://h/t0psecret"
    assert file.destinations["b"].url.get_secret_value() == "json://h/$x"
    assert "t0psecret" not in repr(file)
    monkeypatch.setenv("ALERTS_TEAM", "newer")
    assert load(path).destinations["team"].url.get_secret_value() == "json://h/newer"


def test_a_secret_of_the_environments_own_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    (tmp_path / ".env").write_text("ALERTS_TEAM=json://h/first\n")
    (tmp_path / ".env.production").write_text("ALERTS_TEAM=json://h/mine\n")
    path = written(tmp_path, "destinations:\n  team: {url: '${ALERTS_TEAM}'}\n")
    assert load(path).destinations["team"].url.get_secret_value() == "json://h/mine"


def test_a_secret_address_that_is_wrong_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ALERTS_TEAM=nowhere://t0psecret\n")
    with pytest.raises(AlertsFileError) as caught:
        load(written(tmp_path, "destinations:\n  team: {url: '${ALERTS_TEAM}'}\n"))
    assert "t0psecret" not in str(caught.value)
    with pytest.raises(AlertsFileError) as caught:
        load(written(tmp_path, "destinations:\n  team: {url: {a: t0psecret}}\n"))
    assert "t0psecret" not in str(caught.value)


def test_a_change_is_seen_once_and_a_wrong_one_is_told_once(tmp_path: Path) -> None:
    path = written(tmp_path, "rules:\n" + RULE)
    watched = Watched(path)
    assert watched.changed()
    assert watched.changed() is None
    path.write_text("rules: 5\n")
    with pytest.raises(AlertsFileError):
        watched.changed()
    assert watched.changed() is None
    path.write_text("rules: []\n")
    assert watched.changed()
    (tmp_path / ".env").write_text("ALERTS_X=1\n")
    assert watched.changed()
