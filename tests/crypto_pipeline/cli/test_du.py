"""`crypto du` as it is typed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from crypto_pipeline.cli import app
from crypto_pipeline.cli.du import size
from shared.settings import settings
from tests.crypto_pipeline.hudi_tables import put
from tests.servers import MinioServer, free_ports


@pytest.fixture
def deployed(minio_server: MinioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MinioServer]:
    """A lake with a raw file of each of two days, and a folder of logs."""
    there = minio_server.settings
    home = {"CRYPTO_HOME": tmp_path, "CRYPTO_MODE": "demo", "MINIO_PORT": there.minio_port, "S3_BUCKET": there.bucket}
    keys = {"S3_ACCESS_KEY": there.s3_access_key, "S3_SECRET_KEY": there.s3_secret_key.get_secret_value()}
    for name, value in (home | keys).items():
        monkeypatch.setenv(name, str(value))
    settings.cache_clear()
    minio_server.clear()
    for day in (20, 21):
        put(minio_server, f"raw/exchange=binance/symbol=BTCUSDT/date=2026-11-{day}/hour=08/1.jsonl.zst", b"x" * 1000)
    (settings().state / "log").mkdir(parents=True)
    (settings().state / "log" / "streaming.log").write_bytes(b"x" * 20_000)
    (settings().state / "minio").mkdir()
    yield minio_server
    minio_server.clear()
    settings.cache_clear()


def du(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["du", *arguments])


def test_the_screen_shows_the_tables_the_services_and_the_disk(deployed: MinioServer) -> None:
    shown = du().output
    assert "raw" in shown
    assert "2 kB" in shown
    assert "log" in shown
    assert "minio" not in shown
    assert f"The disk of {settings().state} is" in shown
    assert "are free" in shown


def test_the_json_has_every_figure_in_bytes(deployed: MinioServer) -> None:
    found = json.loads(du("--json", "--by", "day").output)
    [table] = found["tables"]
    assert (table["name"], table["files"], table["bytes"], table["older_bytes"]) == ("raw", 2, 2000, 0)
    assert found["days"] == {day: {"files": 1, "bytes": 1000} for day in ("2026-11-20", "2026-11-21")}
    assert found["beside"]["log"] >= 20_000
    assert set(found["disk"]) == {"total", "used", "free"}
    assert json.loads(du("--json", "--by", "symbol").output)["symbols"]["BTCUSDT"] == {"files": 2, "bytes": 2000}


def test_a_symbols_bytes_are_said_to_be_a_share_by_rows(deployed: MinioServer) -> None:
    assert "share by rows" in du("--by", "symbol").output


def test_without_a_disk_of_ours_no_day_is_told(deployed: MinioServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ENDPOINT", deployed.settings.s3_url)
    settings.cache_clear()
    assert f"The lake lies in the object store {deployed.settings.s3_url}: there is no disk to ask" in du().output
    assert json.loads(du("--json").output)["days_until_full"] is None


def test_a_full_disk_is_said_with_what_waits_and_the_cure(
    deployed: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPORTS_PAUSE_PERCENT", "1")
    settings.cache_clear()
    assert "Imports wait" in du().output


def test_where_the_lake_does_not_run_the_folders_are_shown(
    deployed: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIO_PORT", str(free_ports(1)[0]))
    settings.cache_clear()
    done = du()
    assert done.exit_code == 1
    assert "The lake is not running" in done.output
    assert "log" in done.stdout
    assert "minio" in done.stdout


@pytest.mark.parametrize(
    ("held", "text"),
    [(None, ""), (0, "0 B"), (812, "812 B"), (1234, "1.23 kB"), (999_700, "1 MB"), (2e15, "2,000 TB")],
)
def test_a_size_is_short(held: float | None, text: str) -> None:
    assert size(held) == text
