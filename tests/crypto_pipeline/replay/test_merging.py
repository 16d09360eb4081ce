"""Orders that are made one."""

import heapq
from collections.abc import Iterator
from operator import attrgetter

from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.replay.merging import merged
from crypto_pipeline.replay.messages import Message


@given(st.lists(st.lists(st.integers(0, 8)), max_size=4), st.integers(1, 5))
def test_the_order_is_that_of_heapq(times: list[list[int]], taken: int) -> None:
    sources = [
        [Message(at, f"{number}", f"{place}".encode()) for place, at in enumerate(sorted(those))]
        for number, those in enumerate(times)
    ]
    assert list(merged(sources, taken)) == list(heapq.merge(*sources, key=attrgetter("at")))


def test_what_is_not_asked_for_yet_is_not_read_far_ahead() -> None:
    read = 0

    def endless(first: int) -> Iterator[Message]:
        nonlocal read
        at = first
        while True:
            read += 1
            yield Message(at, "", b"")
            at += 2

    found = merged([endless(0), endless(1)], 10)
    assert [next(found).at for _ in range(9)] == list(range(9))
    assert read <= 20
