"""When the disk will be full."""

from pathlib import Path

import pytest

from dashboard.disk import KEPT, DiskLog, pace_of

HOUR = 3600.0


def test_the_pace_is_what_the_use_grows_by_in_a_day() -> None:
    assert pace_of([(hour * HOUR, 1000 + hour * 50) for hour in range(5)]) == pytest.approx(50 * 24)


def test_of_less_than_an_hour_no_pace_is_told() -> None:
    assert pace_of([(0, 1), (HOUR / 2, 2)]) is None
    assert pace_of([]) is None


def test_the_log_keeps_a_week_and_outlives_a_start(tmp_path: Path) -> None:
    log = DiskLog(tmp_path)
    log.sample()
    file = tmp_path / "dashboard" / "disk.jsonl"
    file.write_text(file.read_text() * (KEPT + 50))
    log.sample()
    assert len(file.read_text().splitlines()) == KEPT
    now = DiskLog(tmp_path).now()
    assert now.used + now.free <= now.total
    assert now.days_until_full is None
