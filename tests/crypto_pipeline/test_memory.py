"""What a run remembers is true or it is not there."""

from pathlib import Path

import pyarrow as pa
import pytest

from crypto_pipeline.memory import recall, remember

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
