"""Parts in batches, and the order in which tables are built on them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from crypto_pipeline.bronze import klines
from crypto_pipeline.history.archives import Part
from crypto_pipeline.history.importing import batches, import_parts, resting_on
from tests.crypto_pipeline.history.conftest import LocalStaging, MemoryLake

START = datetime(2026, 11, 20, tzinfo=UTC)
NONE = pa.table({})


def part(first: int, rows: int, symbol: str = "BTCUSDT") -> Part:
    times = [START + timedelta(minutes=first + number) for number in range(rows)]
    return Part(pa.table({"symbol": [symbol] * rows, "open_time": times}), NONE, 0)


def sizes(*parts: Part) -> list[list[int]]:
    return [[one.rows.num_rows for one in batch] for batch in batches(parts, "klines", size=10)]


def test_small_parts_go_together() -> None:
    assert sizes(part(0, 4), part(4, 4), part(8, 4), part(12, 1)) == [[4, 4, 4], [1]]


def test_parts_that_overlap_are_never_in_one_batch() -> None:
    assert sizes(part(0, 4), part(3, 4)) == [[4], [4]]
    assert sizes(part(0, 4), part(3, 4, "ETHUSDT")) == [[4, 4]]


def test_a_part_without_rows_is_passed_over() -> None:
    assert sizes(Part(part(0, 1).rows.slice(0, 0), NONE, 0)) == []


def test_tables_are_built_after_what_they_are_made_from() -> None:
    names = [module.TABLE.full_name for module in resting_on(klines.TABLE)]
    assert names.index("silver.ohlcv_1m") < names.index("silver.ohlcv") < names.index("silver.indicators")
    assert all(name.startswith("silver.") for name in names)


def test_each_part_is_read_only_when_there_is_room(tmp_path: Path) -> None:
    happened: list[str] = []

    class Full(LocalStaging):
        def wait_for_room(self, say: Callable[[str], None], keep_alive: Callable[[], object]) -> None:
            happened.append("waited")

    def parts() -> Iterator[Part]:
        for _ in range(2):
            happened.append("read")
            yield Part(part(0, 1).rows.slice(0, 0), NONE, 0)

    import_parts(MemoryLake(None, "bucket", 1), Full(tmp_path), "klines", parts())  # type: ignore[arg-type]
    assert happened == ["waited", "read", "waited", "read", "waited"]
