from pathlib import Path

import pytest

from deployment import cleanup


@pytest.fixture
def deployed(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    for folder in ("var/demo/kafka", "var/demo/postgres", "cache/crypto-lakehouse"):
        (home / folder).mkdir(parents=True)
    (home / ".env").touch()
    return home


def test_only_the_data_goes_unless_all_is_asked_for(deployed: Path) -> None:
    assert cleanup.doomed(everything=False) == [deployed / "var" / "demo"]


def test_all_takes_the_cache_too(deployed: Path) -> None:
    assert deployed / "cache" / "crypto-lakehouse" in cleanup.doomed(everything=True)


def not_to_be_called() -> None:
    raise AssertionError


def test_nothing_goes_without_a_yes(deployed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cleanup.remove([deployed / "var" / "demo"], [], agreed=lambda: False, stop=not_to_be_called) == 1
    assert (deployed / "var" / "demo").exists()
    assert str(deployed / "var" / "demo") in capsys.readouterr().out


def test_a_yes_removes_what_was_named_and_nothing_else(deployed: Path) -> None:
    there_when_stopped: list[bool] = []
    data = deployed / "var" / "demo"
    stop = lambda: there_when_stopped.append(data.exists())  # noqa: E731 (shorter than a name for it)
    assert cleanup.remove([data], [], agreed=lambda: True, stop=stop) == 0
    assert there_when_stopped == [True]
    assert not (deployed / "var" / "demo").exists()
    assert (deployed / ".env").exists()
