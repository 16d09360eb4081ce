"""What `crypto verify` makes again where something of what it is made from has expired."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from types import ModuleType
from typing import Any, cast

import pytest

from crypto_pipeline.expired import Expired
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.verify import rebuilt, verdict
from crypto_pipeline.verify.rebuilt import Compared
from crypto_pipeline.verify.verdict import Found

DAYS = [date(2026, 8, 5), date(2026, 8, 6)]
LAKE = cast("Lakehouse", object())


def looked(monkeypatch: pytest.MonkeyPatch, record: Expired) -> tuple[dict[str, Found], dict[str, datetime]]:
    """What is found of each table, and the first hour of each that was made again."""
    firsts: dict[str, datetime] = {}

    def compared(_lake: object, module: ModuleType, hours: Sequence[datetime], *_: Any) -> Compared:
        if hours:
            firsts.setdefault(module.TABLE.full_name, hours[0])
        return Compared(7)

    monkeypatch.setattr(rebuilt, "compared", compared)
    of_table = {"bronze.depth": DAYS, "bronze.tickers": DAYS}
    found = verdict._made_again(LAKE, DAYS, of_table, (), record, lambda _line, _done: None)
    return {one.sentence.split()[0]: one for one in found}, firsts


def test_it_begins_where_all_is_there_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found, firsts = looked(monkeypatch, Expired.of([("bronze.depth", "", "", "2026-08-05")]))
    book = found["silver.order_book_1m"]
    assert firsts["silver.order_book_1m"] == datetime(2026, 8, 6, 1, tzinfo=UTC)
    assert book.looked_at
    assert book.sentence == (
        "silver.order_book_1m equals what its sources give today; before 2026-08-06 01:00 what it is made from has "
        "expired by config/retention.yaml, and nothing is looked at"
    )
    assert firsts["silver.ticker_1m"] == datetime(2026, 8, 5, tzinfo=UTC)
    assert "expired" not in found["silver.ticker_1m"].sentence


def test_of_a_range_that_has_expired_whole_it_says_why_it_was_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    found, firsts = looked(monkeypatch, Expired.of([("bronze.depth", "", "", "2026-08-06")]))
    book = found["silver.order_book_1m"]
    assert (book.looked_at, book.offenders) == (None, 0)
    assert book.why_not.endswith("what it is made from has expired by config/retention.yaml")
    assert "silver.order_book_1m" not in firsts
