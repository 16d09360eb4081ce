import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from crypto_pipeline.cli._answers import columns_that_fit, write_csv, write_json, write_table

ANSWER = pa.table(
    {
        "symbol": ["BTCUSDT", None],
        "at": pa.array([datetime(2026, 11, 21, 8, 47, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
        "price": [63000.12, float("nan")],
        "exact": pa.array([Decimal("1.50"), None], pa.decimal128(38, 2)),
        "count": pa.array([Decimal(7), None], pa.decimal128(38, 0)),
        "bids": [[{"price": 1.5}], []],
        "closed": [True, None],
    }
)


def as_csv(answer: pa.Table) -> list[list[str]]:
    out = io.StringIO()
    write_csv(answer, out)
    return list(csv.reader(io.StringIO(out.getvalue())))


def as_json(answer: pa.Table) -> list[dict[str, object]]:
    out = io.StringIO()
    write_json(answer, out)
    rows: list[dict[str, object]] = json.loads(out.getvalue())
    return rows


def on_screen(answer: pa.Table, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
    with console.capture() as captured:
        write_table(answer, console)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_csv_has_times_in_iso_and_nothing_for_null() -> None:
    assert as_csv(ANSWER) == [
        ["symbol", "at", "price", "exact", "count", "bids", "closed"],
        ["BTCUSDT", "2026-11-21T08:47:00Z", "63000.12", "1.50", "7", '[{"price": 1.5}]', "true"],
        ["", "", "nan", "", "", "[]", ""],
    ]


def test_json_has_exact_decimals_as_strings_and_null_for_what_is_no_number() -> None:
    assert as_json(ANSWER) == [
        {
            "symbol": "BTCUSDT",
            "at": "2026-11-21T08:47:00Z",
            "price": 63000.12,
            "exact": "1.50",
            "count": 7,
            "bids": [{"price": 1.5}],
            "closed": True,
        },
        {"symbol": None, "at": None, "price": None, "exact": None, "count": None, "bids": [], "closed": None},
    ]


def test_json_without_rows_is_an_empty_array() -> None:
    assert as_json(ANSWER.slice(0, 0)) == []


def test_columns_of_one_name_are_all_in_the_json() -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["symbol", "symbol"])
    assert as_json(twice) == [{"symbol": 1, "symbol_1": 2}]


def test_a_table_aligns_numbers_to_the_right() -> None:
    lines = on_screen(pa.table({"symbol": ["BTC", "A"], "n": [1, 1000]}), 80, 24)
    assert lines == ["symbol     n", "BTC        1", "A       1000"]


def test_a_small_price_is_printed_without_an_exponent() -> None:
    assert on_screen(pa.table({"price": [0.00001234]}), 80, 24)[1] == "0.00001234"


def test_a_long_table_says_how_many_rows_are_left_out_and_how_to_get_them() -> None:
    lines = on_screen(pa.table({"n": list(range(2000))}), 80, 15)
    assert [line.strip() for line in lines[1:-1]] == [str(n) for n in range(10)]
    assert lines[-1] == "… 1,990 more rows: --format csv or --format json prints all."


def test_a_wide_table_names_the_columns_that_are_left_out() -> None:
    lines = on_screen(pa.table({name: ["x" * 20] for name in ("a", "b", "c")}), 50, 24)
    assert lines[1] == f"{'x' * 20}  {'x' * 20}"
    assert lines[-1] == "… 1 more columns (c): --format csv or --format json prints all."


def test_a_table_without_rows_says_so() -> None:
    assert on_screen(ANSWER.slice(0, 0), 80, 24)[-1] == "No rows."


def test_square_brackets_are_printed_as_they_are() -> None:
    assert on_screen(pa.table({"text": ["[bold]x[/bold]"]}), 80, 24)[1] == "[bold]x[/bold]"


@given(st.lists(st.integers(1, 60), min_size=1), st.integers(1, 200))
def test_the_columns_that_fit_do_fit(widths: list[int], room: int) -> None:
    count = columns_that_fit(widths, room)
    assert 1 <= count <= len(widths)
    assert count == 1 or sum(widths[:count]) + 2 * (count - 1) <= room


@pytest.mark.parametrize("rows", [0, 1, 25_000])
def test_csv_prints_every_row(rows: int) -> None:
    assert len(as_csv(pa.table({"n": list(range(rows))}))) == rows + 1
