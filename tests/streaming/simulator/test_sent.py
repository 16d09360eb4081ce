"""The record of what was sent."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from streaming.simulator.sent import Ranges, SentRecord


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8))))
def test_ranges_are_the_set_of_what_was_added_sorted_and_apart(added: list[tuple[int, int]]) -> None:
    ranges, every = Ranges(), set()
    for first, more in added:
        ranges.add(first, first + more)
        every |= set(range(first, first + more + 1))
    assert {number for first, last in ranges.ranges for number in range(first, last + 1)} == every
    assert all(one[1] + 1 < other[0] for one, other in zip(ranges.ranges, ranges.ranges[1:], strict=False))


def test_the_record_survives_a_restart(tmp_path: Path) -> None:
    record = SentRecord(tmp_path)
    record.add("BTCUSDT", "trade", 5, 9)
    record.add("币USDT", "kline_1m", 7, 7)
    record.save()
    again = SentRecord(tmp_path)
    again.add("BTCUSDT", "trade", 10, 12)
    again.save()
    assert SentRecord(tmp_path).ranges("BTCUSDT", "trade") == [[5, 12]]
    assert SentRecord(tmp_path).ranges("币USDT", "kline_1m") == [[7, 7]]
    assert SentRecord(tmp_path).ranges("BTCUSDT", "kline_1m") == []
