"""`crypto retention` as it is typed, and what `crypto replay` says of what has expired."""

import json
from datetime import date
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from crypto_pipeline import expired as records
from crypto_pipeline.cli import app
from crypto_pipeline.cli.retention import as_json, rendered
from crypto_pipeline.expired import Expired
from crypto_pipeline.retention.decision import Decision, Size, Unit
from tests.servers import free_ports

DEPTH = [Unit("bronze.depth", "", "", date(2026, 8, number)) for number in (1, 2)]
RAW, OTHER = (Unit("raw", "binance", symbol, date(2026, 8, 1)) for symbol in ("BTCUSDT", "ETHUSDT"))
FOUND = Decision(
    {DEPTH[0]: Size(2, 1_000_000), DEPTH[1]: Size(1, 500_000), RAW: Size(24, 3_000)},
    {OTHER: "of its minutes 3 are missing"},
)


def text_of(found: Decision, *, dry_run: bool) -> list[str]:
    out = StringIO()
    Console(file=out, width=150).print(rendered(found, dry_run=dry_run))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_what_goes_what_it_frees_and_what_stays_and_why_is_shown() -> None:
    lines = text_of(FOUND, dry_run=True)
    assert "bronze.depth (all) 2026-08-01 2026-08-02 2 3 1.5 MB" in lines
    assert "raw binance BTCUSDT 2026-08-01 2026-08-01 1 24 3 kB" in lines
    assert "raw binance ETHUSDT 2026-08-01 of its minutes 3 are missing" in lines
    assert lines[-1] == "3 days would go, 1.5 MB; 1 that are old enough stay."
    assert text_of(FOUND, dry_run=False)[-1].startswith("3 days went, 1.5 MB")
    assert text_of(Decision({}, {}), dry_run=True) == ["Nothing is old enough to go."]


def test_a_script_gets_all_of_it() -> None:
    said = json.loads(as_json(FOUND))
    assert said["bytes"] == 1_503_000
    assert said["goes"][2] == {
        "what": "raw", "exchange": "binance", "symbol": "BTCUSDT", "day": "2026-08-01", "files": 24, "bytes": 3_000,
    }  # fmt: skip
    assert said["stays"] == [
        {
            "what": "raw",
            "exchange": "binance",
            "symbol": "ETHUSDT",
            "day": "2026-08-01",
            "why": "of its minutes 3 are missing",
        }
    ]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wrong file of rules, in a folder of a deployment that does not run."""
    file = tmp_path / "retention.yaml"
    file.write_text("raw: {keep: soon}\n")
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    return file


def test_a_wrong_file_is_one_sentence_with_its_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.settings.settings", settings_with(file))
    done = CliRunner().invoke(app, ["retention", "--dry-run"])
    assert done.exit_code == 2
    assert done.output.startswith(f"{file}:1: ")
    assert len(done.output.splitlines()) == 1


def settings_with(file: Path | None = None) -> object:
    from shared.settings import Settings

    [port] = free_ports(1)
    changed = {"retention_file": file} if file else {}
    return lambda: Settings(spark_connect_port=port, minio_port=port, **changed)


def test_where_nothing_runs_it_says_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.settings.settings", settings_with())
    done = CliRunner().invoke(app, ["retention"])
    assert done.exit_code == 1
    assert "Spark is not running" in done.output
    assert len(done.output.splitlines()) == 1


def test_a_replay_of_what_has_expired_is_refused_and_what_is_kept_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Expired.of([("raw", "binance", "BTCUSDT", "2026-08-01")])
    monkeypatch.setattr(records, "expired", lambda _settings: record)
    span = ["--from", "2026-08-01T22:00", "--to", "2026-08-02T02:00"]
    done = CliRunner().invoke(app, ["replay", *span, "--symbol", "BTCUSDT"])
    assert done.exit_code == 1
    assert done.output == (
        "Of the raw archive, 2026-08-01T22:00:00Z to 2026-08-02T00:00:00Z has expired by config/retention.yaml; of "
        "what was asked for, 2026-08-02T00:00:00Z to 2026-08-02T02:00:00Z is still kept.\n"
    )
