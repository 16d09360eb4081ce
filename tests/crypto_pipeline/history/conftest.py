"""Files like those of Binance's archive, and a lake in memory."""

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from crypto_pipeline.lakehouse import Lakehouse
from shared.symbol_manager import Symbol
from shared.tables import Table

BTC = Symbol.model_validate({"symbol": "BTCUSDT", "name": "Bitcoin"})
Maker = Callable[..., Path]


@pytest.fixture
def archive_file(tmp_path: Path) -> Maker:
    """Makes a zip of these lines, with its checksum unless told otherwise."""

    def make(name: str, *lines: str, checksum: str | None = "right") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(f"{path.stem}.csv", "".join(f"{line}\n" for line in lines))
        if checksum:
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if checksum == "right" else checksum
            path.with_name(f"{name}.CHECKSUM").write_text(f"{digest}  {name}\n")
        return path

    return make


@dataclass(frozen=True)
class MemoryLake(Lakehouse):
    """Tables as frames: what is written is collected and unioned; keys are not merged, so a doubled row shows."""

    folder: Path = field(default_factory=Path)
    tables: dict[str, list[str]] = field(default_factory=dict)
    refusals: list[Exception] = field(default_factory=list)

    def read(self, table: Table, hours: object = None) -> DataFrame:
        schema = ", ".join(f"`{c.name}` {c.type}" for c in table.columns)
        frames = [self.spark.read.schema(schema).parquet(path) for path in self.tables.get(table.full_name, [])]
        return reduce(DataFrame.unionByName, frames, self.spark.createDataFrame([], schema))

    def is_empty(self, table: Table, hours: object) -> bool:
        return not self.tables.get(table.full_name)

    def write(
        self,
        table: Table,
        rows: DataFrame,
        notes: Mapping[str, str],
        *,
        into_empty: bool = False,
        count: int | None = None,
    ) -> None:
        assert count in (None, rows.count()), "it would be written in another way than so many are"
        if into_empty:
            assert rows.select(*table.key).distinct().count() == rows.count(), "it would stand twice"
        if self.refusals:
            raise self.refusals.pop()
        path = str(self.folder / uuid4().hex)
        rows.select(table.column_names).write.parquet(path)
        self.tables.setdefault(table.full_name, []).append(path)

    @contextmanager
    def pinned(self, rows: DataFrame, *, at_once: bool = False) -> Iterator[DataFrame]:
        yield rows.cache()


@dataclass(frozen=True)
class LocalStaging:
    """A folder in the place of the bucket's."""

    folder: Path

    @contextmanager
    def of(self, rows: pa.Table) -> Iterator[str]:
        path = self.folder / f"{uuid4().hex}.parquet"
        pq.write_table(rows, path)
        yield str(path)

    def wait_for_room(self, say: Callable[[str], None], keep_alive: Callable[[], object]) -> None:
        """There is."""


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> MemoryLake:
    """An empty one."""
    return MemoryLake(spark, "bucket", 1, folder=tmp_path)


@pytest.fixture
def staging(tmp_path: Path) -> LocalStaging:
    """For rows on their way into the lake."""
    return LocalStaging(tmp_path)


def micros(text: str) -> int:
    """Microseconds of an ISO time in UTC."""
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp() * 1_000_000)


def kline_line(opens: int, *, unit: int = 1, close: str = "1.5", trades: int = 3) -> str:
    """A line of a klines file; `opens` in microseconds, written in `unit` microseconds."""
    ends = (opens + 60_000_000) // unit - 1
    return f"{opens // unit},1.0,2.0,0.5,{close},10.0,{ends},15.0,{trades},4.0,6.0,0"
