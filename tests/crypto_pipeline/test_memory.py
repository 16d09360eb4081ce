"""What a run remembers is true or it is not there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crypto_pipeline import memory
from crypto_pipeline.gold import market_overview
from crypto_pipeline.memory import Written, note_place, place, recall, remember
from crypto_pipeline.reader import arrow_schema
from crypto_pipeline.silver import quiet_intervals

TABLE = pa.table({"close": [1.5, None]}).replace_schema_metadata({b"of": b"mine"})


def test_what_was_remembered_at_these_marks_comes_back_with_its_own_metadata(tmp_path: Path) -> None:
    file = tmp_path / "not there yet" / "silver.indicators.arrow"
    remember(file, '{"silver.ohlcv": "1"}', TABLE)
    recalled = recall(file, '{"silver.ohlcv": "1"}')
    assert recalled is not None
    assert recalled.equals(TABLE)
    assert recalled.schema.metadata[b"of"] == b"mine"
    remember(file, '{"silver.ohlcv": "2"}', TABLE.slice(1))
    assert recall(file, '{"silver.ohlcv": "2"}') == TABLE.slice(1)
    assert [one.name for one in file.parent.iterdir()] == [file.name], "it leaves nothing beside it"


def test_at_other_marks_nothing_is_remembered(tmp_path: Path) -> None:
    remember(tmp_path / "a", "1", TABLE)
    assert recall(tmp_path / "a", "2") is None


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"no file of ours" * 100])
def test_a_file_that_cannot_be_read_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert recall(tmp_path / "a", "1") is None
    assert recall(tmp_path / "absent", "1") is None


def test_a_file_that_was_cut_off_is_as_good_as_none(tmp_path: Path) -> None:
    remember(tmp_path / "a", "1", pa.table({"close": list(range(100_000))}))
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[: len(whole) // 2])
    assert recall(tmp_path / "a", "1") is None


def test_where_it_cannot_be_written_the_run_goes_on_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    remember(tmp_path / "file" / "a", "1", TABLE)
    assert "read again" in caplog.text
    (tmp_path / "a").mkdir()
    remember(tmp_path / "a", "1", TABLE)
    assert recall(tmp_path / "a", "1") is None
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "file"], "it leaves nothing beside it"


MARKET = market_overview.TABLE


def rows(*values: tuple[str, int]) -> pa.Table:
    """Rows of MARKET: a symbol, and its minutes."""
    made = [{"exchange": "binance", "symbol": symbol, "minutes_24h": minutes} for symbol, minutes in values]
    return pa.Table.from_pylist(made, arrow_schema(MARKET))


def said(table: pa.Table | None) -> dict[str, int]:
    assert table is not None
    return {row["symbol"]: row["minutes_24h"] for row in table.to_pylist()}


def test_of_commits_that_are_kept_the_latest_state_of_each_row_comes_back(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.keep(MARKET, "1", rows(("BTCUSDT", 1), ("ETHUSDT", 1)))
    written.keep(MARKET, "2", rows(("BTCUSDT", 2)))
    assert said(written.of(MARKET, ["1", "2"])) == {"BTCUSDT": 2, "ETHUSDT": 1}
    assert said(written.of(MARKET, ["2"])) == {"BTCUSDT": 2}


def test_where_one_of_the_commits_is_not_kept_nothing_comes_back(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.keep(MARKET, "1", rows(("BTCUSDT", 1)))
    assert written.of(MARKET, ["1", "2"]) is None
    assert written.of(quiet_intervals.TABLE, ["1"]) is None
    assert written.of(MARKET, []) is None
    (tmp_path / "written" / MARKET.full_name / "1.arrow").write_bytes(b"ARROW1 cut off")
    assert written.of(MARKET, ["1"]) is None


def test_of_more_rows_than_go_with_a_plan_nothing_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(tmp_path)
    written.keep(MARKET, "1", rows(("BTCUSDT", 1)))
    written.keep(MARKET, "2", rows())
    written.keep(MARKET, "3", rows(("ETHUSDT", 1)))
    monkeypatch.setattr(memory, "BULK", 1)
    assert written.of(MARKET, ["1", "2", "3"]) is None
    assert said(written.of(MARKET, ["1", "2"])) == {"BTCUSDT": 1}
    assert said(written.of(MARKET, ["2"])) == {}


def test_what_cannot_be_kept_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written = Written(tmp_path)
    monkeypatch.setattr(memory, "_COMMITS", 0)
    monkeypatch.setattr(Path, "unlink", raised(PermissionError("read-only")))
    written.keep(MARKET, "1", rows(("BTCUSDT", 1)))
    monkeypatch.setattr(memory.feather, "write_feather", raised(pa.ArrowInvalid("no room")))
    written.keep(MARKET, "2", rows(("BTCUSDT", 1)))
    assert "no room" in caplog.text
    assert written.of(MARKET, ["2"]) is None


def raised(error: Exception) -> Callable[..., None]:
    def fail(*_given: Any, **_named: Any) -> None:
        raise error

    return fail


def test_rows_that_other_code_kept_do_not_come_back(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.keep(MARKET, "1", rows(("BTCUSDT", 1)).drop_columns(["reason"]))
    assert written.of(MARKET, ["1"]) is None


def test_as_many_commits_are_kept_as_a_timeline_has(tmp_path: Path) -> None:
    written = Written(tmp_path)
    for number in range(100, 200):
        written.keep(MARKET, f"{number}", rows(("BTCUSDT", number)))
    assert len(list((tmp_path / "written" / MARKET.full_name).iterdir())) == 70
    assert said(written.of(MARKET, ["130", "199"])) == {"BTCUSDT": 199}


def test_a_place_holds_as_long_as_no_other_commit_comes(tmp_path: Path) -> None:
    file = tmp_path / "not there yet" / "gold.risk_metrics.marks"
    assert place(file, "1") is None
    note_place(file, "1", '{"silver.ohlcv": "7"}')
    assert place(file, "1") == '{"silver.ohlcv": "7"}'
    assert place(file, "2") is None
    for content in ("", "{}", "[]", '{"commit": "1"', '{"commit": "1", "followed": "no marks"}'):
        file.write_text(content)
        assert place(file, "1") is None


def test_a_place_that_cannot_be_noted_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    note_place(tmp_path / "file" / "a", "1", "followed")
    assert "look again" in caplog.text
