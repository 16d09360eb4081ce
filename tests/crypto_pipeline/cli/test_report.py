"""`crypto report`, over a lake in memory."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from crypto_pipeline.cli import _times, app
from crypto_pipeline.reader import LakeError
from crypto_pipeline.report import reading
from shared.settings import settings
from tests.crypto_pipeline.report.lake import LakeInMemory

NOW = datetime(2026, 11, 26, 0, 16, tzinfo=UTC)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["report", *arguments], env={"COLUMNS": "400"})
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_it_writes_a_page_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "open_table", LakeInMemory())
    file = tmp_path / "page.html"
    assert run("--date", "2026-11-25", "--output", str(file)) == (0, str(file))
    assert "Markets, Wednesday 25 November 2026" in file.read_text(encoding="utf-8")


def test_without_an_output_it_lies_in_the_deployments_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    monkeypatch.setattr(reading, "open_table", LakeInMemory())
    code, said = run()
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert (code, said) == (0, str(settings().state / "reports" / "markets" / f"{yesterday}.html"))
    assert Path(said).is_file()


def test_a_lake_that_does_not_run_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object, **__: object) -> None:
        raise LakeError("The lake is not running.")

    monkeypatch.setattr(reading, "open_table", down)
    assert run() == (1, "The lake is not running.")


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "open_table", LakeInMemory())
    code, said = run("--output", str(tmp_path / "no" / "page.html"))
    assert code == 1
    assert said.startswith("The report cannot be written: ")


@pytest.mark.parametrize(
    ("names", "asked", "sentence"),
    [
        (["a", "b"], [], "Which one? Give --portfolio. There are: a, b."),
        (["a", "b"], ["--portfolio", "c"], "--portfolio 'c' is not one that is valued. There are: a, b."),
        ([], ["--portfolio", "c"], "--portfolio 'c' is not one that is valued. None is yet: without it you get"),
    ],
)
def test_a_portfolio_that_is_not_there_is_refused_with_those_that_are(
    names: list[str], asked: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "portfolios", lambda _where: names)
    code, said = run(*asked)
    assert code == 2
    assert sentence in said


@pytest.mark.parametrize(("text", "day"), [("", date(2026, 11, 25)), ("2026-11-26", date(2026, 11, 26))])
def test_a_day_is_in_utc_and_else_yesterday(text: str, day: date) -> None:
    assert _times.utc_day("--date", text, NOW) == day


@pytest.mark.parametrize(("text", "said"), [("yesterday", "is no day"), ("2026-11-27", "is yet to come")])
def test_a_wrong_day_is_refused(text: str, said: str) -> None:
    with pytest.raises(typer.BadParameter, match=said):
        _times.utc_day("--date", text, NOW)
