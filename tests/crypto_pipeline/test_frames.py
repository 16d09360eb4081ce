"""Rows of this process in Spark: the same whether they come with the plan or by a file."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from crypto_pipeline import frames
from crypto_pipeline.frames import framed, staged_by, to_pandas
from shared.tables import DECIMAL, Column

TYPES = {
    "symbol": "string", "at": "timestamp", "never": "timestamp", "price": DECIMAL, "value": "double",
    "count": "int", "trades": "bigint", "is_closed": "boolean", "nothing": "double",
}  # fmt: skip
COLUMNS = [Column(name, kind, "...") for name, kind in TYPES.items()]
ROWS = pd.DataFrame(
    {
        "of_no_use": [1, 2],
        "nothing": [np.nan, np.nan],
        "symbol": ["币安USDT", None],
        "at": pd.to_datetime(["2026-11-30 06:00:00.000001", None]),
        "never": [np.nan, np.nan],
        "price": [Decimal("0.000000000000000001"), None],
        "value": [1.5, np.nan],
        "count": pd.array([3, None], dtype="Int32"),
        "trades": [2**53 + 1, 0],
        "is_closed": [True, False],
    }
)


@pytest.fixture(params=["with the plan", "by a file"])
def is_staged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "by a file":
        monkeypatch.setattr(frames, "BULK", 2)
    return bool(request.param == "by a file")


def test_rows_are_the_same_however_they_come(spark: SparkSession, tmp_path: Path, is_staged: bool) -> None:
    laid: list[str] = []

    def stage(rows: pa.Table) -> str:
        pq.write_table(rows, tmp_path / "rows.parquet")
        laid.append(str(tmp_path / "rows.parquet"))
        return laid[-1]

    with staged_by(stage):
        made = framed(spark, ROWS, COLUMNS)
        assert made.dtypes == list(TYPES.items())
        first, second = made.collect()
    assert bool(laid) == is_staged
    assert first.at.isoformat() == "2026-11-30T06:00:00.000001"
    assert (first.symbol, first.price, first["count"], first.trades) == ("币安USDT", Decimal("1e-18"), 3, 2**53 + 1)
    assert (first.value, first.is_closed, first.never, first.nothing) == (1.5, True, None, None)
    assert second.asDict() == {**dict.fromkeys(TYPES), "trades": 0, "is_closed": False}


def test_of_no_rows_there_is_a_frame_with_the_columns(spark: SparkSession, is_staged: bool) -> None:
    assert framed(spark, ROWS.head(0), COLUMNS).dtypes == list(TYPES.items())


def test_outside_a_block_that_stages_them_many_rows_come_with_the_plan(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "BULK", 1)
    with staged_by(lambda _rows: "nowhere"):
        pass
    assert framed(spark, ROWS, COLUMNS).count() == 2


def test_nothing_that_came_with_the_rows_is_copied_with_each_column(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = spark.range(2)
    told = pd.DataFrame({"id": [0, 1]})
    told.attrs["metrics"] = ["as Spark Connect tells them"]
    monkeypatch.setattr(type(rows), "toPandas", lambda _rows: told)
    assert (to_pandas(rows).attrs, list(to_pandas(rows)["id"])) == ({}, [0, 1])


def test_rows_come_to_pandas_by_that_way_alone() -> None:
    code = Path(frames.__file__).parent.rglob("*.py")
    assert [one.name for one in code if ".toPandas()" in one.read_text()] == ["frames.py"]
