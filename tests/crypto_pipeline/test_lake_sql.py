from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.lake_sql import Lake, SqlError, no_such_table, partitions_kept, span_of
from crypto_pipeline.reader import Filter, LakeError, arrow_schema
from shared.tables import DECIMAL, Column, Table, View

TRADES = Table(
    "bronze",
    "trades",
    "One row per trade",
    (
        Column("symbol", "string", ""),
        Column("price", DECIMAL, ""),
        Column("quantity", DECIMAL, ""),
        Column("event_time", "timestamp", ""),
        Column("date", "string", ""),
    ),
    ("symbol", "event_time"),
    partitions=("date",),
    time="event_time",
)
EMPTY = Table("silver", "ohlcv", "One row per candle", (Column("interval", "string", ""),), ("interval",))
VIEW = View("silver", "prices", "One row per trade", ("bronze.trades",), "SELECT symbol, price FROM bronze.trades")
ROWS = [
    {"symbol": "BTCUSDT", "price": "63000.12", "quantity": "2", "event_time": 20, "date": "2026-11-20"},
    {"symbol": "ETHUSDT", "price": "3388.68", "quantity": "0.5", "event_time": 21, "date": "2026-11-21"},
    {"symbol": "BTCUSDT", "price": "63001", "quantity": "1", "event_time": 22, "date": "2026-11-22"},
]


@dataclass
class InMemory:
    """A table of the lake that notes what was read of it."""

    table: Table
    rows: list[dict[str, object]]
    reads: list[tuple[list[str], list[Filter]]] = field(default_factory=list)

    def read(self, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()) -> pa.Table:
        self.reads.append((list(columns or ()), list(filters)))
        values = pa.Table.from_pylist(self.rows, arrow_schema(self.table))
        for name, operator, wanted in filters:
            assert operator == "IN"
            values = values.filter(pc.field(name).isin(wanted.split(",")))
        return values.select(columns or self.table.column_names)

    def partitions(self) -> list[dict[str, str]]:
        return [{"date": str(row["date"])} for row in self.rows]


@pytest.fixture
def stored() -> InMemory:
    rows = [
        {
            **row,
            "price": Decimal(str(row["price"])),
            "quantity": Decimal(str(row["quantity"])),
            "event_time": datetime(2026, 11, int(str(row["event_time"])), tzinfo=UTC),
        }
        for row in ROWS
    ]
    return InMemory(TRADES, rows)


def lake(stored: InMemory, *, exact: bool = False) -> Lake:
    tables = {table.full_name: table for table in (TRADES, EMPTY)}
    return Lake(
        tables,
        {VIEW.full_name: VIEW},
        lambda table: stored if table is TRADES else InMemory(table, []),
        exact=exact,
    )


def asked(stored: InMemory, sql: str, *, exact: bool = False) -> list[dict[str, object]]:
    with lake(stored, exact=exact) as session:
        rows: list[dict[str, object]] = session.query(sql).to_pylist()
        return rows


def test_only_the_needed_columns_are_read(stored: InMemory) -> None:
    assert asked(stored, "select max(price) as top from bronze.trades") == [{"top": 63001.0}]
    assert [columns for columns, _ in stored.reads] == [["price"]]


def test_a_table_that_is_not_named_is_not_read(stored: InMemory) -> None:
    assert asked(stored, "select interval, count(*) from silver.ohlcv group by 1") == []
    assert stored.reads == []


def test_a_view_reads_its_tables(stored: InMemory) -> None:
    assert asked(stored, "select count(*) as n from silver.prices where symbol = 'BTCUSDT'") == [{"n": 2}]


def test_a_condition_on_a_partition_column_spares_the_other_partitions(stored: InMemory) -> None:
    assert asked(stored, "select symbol from bronze.trades where date >= '2026-11-21' order by 1") == [
        {"symbol": "BTCUSDT"},
        {"symbol": "ETHUSDT"},
    ]
    assert [filters for _, filters in stored.reads] == [[("date", "IN", "2026-11-21,2026-11-22")]]


@pytest.mark.parametrize(
    ("condition", "read"),
    [
        ("event_time >= timestamptz '2026-11-22' - interval '1' day", "2026-11-21,2026-11-22"),
        ("event_time < timestamptz '2026-11-21'", "2026-11-20"),
        ("event_time >= timestamptz '2026-11-21' and event_time < timestamptz '2026-11-22'", "2026-11-21"),
        ("event_time = timestamptz '2026-11-21' or quantity > 99", None),
        ("event_time is null", None),
        ("not (event_time >= timestamptz '2026-11-21')", "2026-11-20"),
    ],
)
def test_a_condition_on_the_time_spares_the_other_partitions(
    stored: InMemory, condition: str, read: str | None
) -> None:
    found = asked(stored, f"select symbol from bronze.trades where {condition} order by 1")
    [(_, filters)] = stored.reads
    assert filters == ([("date", "IN", read)] if read else [])
    plain = f"select symbol from (select *, 1 from bronze.trades) where ({condition}) is true order by 1"
    assert asked(stored, plain) == found


def test_a_row_without_a_time_lies_in_any_partition(stored: InMemory) -> None:
    stored.rows[0]["event_time"] = None
    for condition in (
        "event_time is null",
        "coalesce(event_time, timestamptz '2027-01-01') > timestamptz '2026-12-01'",
    ):
        sql = f"select symbol from bronze.trades where {condition}"
        assert asked(stored, sql) == [{"symbol": "BTCUSDT"}]


def test_a_partition_that_is_of_no_time_is_read_whenever() -> None:
    schema = pa.schema([("event_time", pa.timestamp("us", "UTC")), ("date", pa.string())])
    nowhen = [{"date": "__HIVE_DEFAULT_PARTITION__"}]
    condition = pc.field("event_time") >= datetime(2026, 11, 21, tzinfo=UTC)
    assert partitions_kept(nowhen, schema, condition, "event_time") == nowhen


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)))  # noqa: DTZ001
def test_a_moment_lies_in_the_span_of_its_partition(at: datetime) -> None:
    for partition in (
        {"month": f"{at:%Y-%m}"},
        {"date": f"{at:%Y-%m-%d}"},
        {"date": f"{at:%Y-%m-%d}", "hour": f"{at:%H}"},
    ):
        span = span_of(partition)
        assert span is not None
        assert span[0] <= at < span[1]
        assert span_of({**partition, "interval": "1m"}) == span
        assert f"{span[1] - timedelta(microseconds=1):%Y-%m-%d %H}".startswith(" ".join(partition.values()))
    assert span_of({"interval": "1m"}) is None


def test_a_condition_that_may_hold_anywhere_reads_every_partition(stored: InMemory) -> None:
    sql = "select price from bronze.trades where date = '2026-11-21' or quantity > 1.5 order by 1"
    assert asked(stored, sql) == [{"price": 3388.68}, {"price": 63000.12}]
    assert [filters for _, filters in stored.reads] == [[]]


def test_where_no_partition_fits_nothing_is_read(stored: InMemory) -> None:
    assert asked(stored, "select symbol from bronze.trades where date = '1999-01-01'") == []
    assert stored.reads == []


@pytest.mark.parametrize(
    ("condition", "files_of"),
    [
        ("symbol = 'BTCUSDT'", "BTCUSDT"),
        ("symbol = 'ETHUSDT' and quantity > 0", "ETHUSDT"),
        ("(symbol = 'ETHUSDT' or symbol = 'BTCUSDT') and quantity > 0", "BTCUSDT,ETHUSDT"),
        ("symbol = 'ETHUSDT' or quantity > 1", None),
        ("symbol <> 'ETHUSDT'", None),
        ("symbol > 'ETHUSDT'", None),
        ("symbol in ('BTCUSDT', 'ETHUSDT')", None),
        ("quantity > 0", None),
    ],
)
def test_a_condition_that_asks_for_some_symbols_reads_their_files(
    stored: InMemory, condition: str, files_of: str | None
) -> None:
    found = asked(stored, f"select symbol from bronze.trades where {condition}")
    [(_, filters)] = stored.reads
    assert [values for name, _, values in filters if name == "symbol"] == ([files_of] if files_of else [])
    stored.reads.clear()
    assert asked(stored, f"select symbol from (select *, 1 from bronze.trades) where ({condition}) is true") == found


def test_decimals_are_floats_so_that_any_arithmetic_works(stored: InMemory) -> None:
    sql = "select sum(price * quantity) / sum(quantity) as vwap from bronze.trades where symbol = 'BTCUSDT'"
    assert asked(stored, sql) == [{"vwap": pytest.approx((63000.12 * 2 + 63001) / 3)}]


def test_exact_decimals_are_those_of_the_table(stored: InMemory) -> None:
    found = asked(stored, "select price from bronze.trades where price > 63000.5", exact=True)
    assert found == [{"price": Decimal("63001")}]


def test_times_are_in_utc(stored: InMemory) -> None:
    found = asked(stored, "select event_time from bronze.trades where event_time < '2026-11-21 00:00:00'")
    assert found == [{"event_time": datetime(2026, 11, 20, tzinfo=UTC)}]


def test_a_join_of_a_table_with_itself_sees_one_snapshot(stored: InMemory) -> None:
    opened = []

    def open_once(table: Table) -> InMemory:
        opened.append(table.full_name)
        return stored

    with Lake({TRADES.full_name: TRADES}, {}, open_once) as session:
        session.query("select count(*) from bronze.trades a join bronze.trades b using (symbol)")
    assert opened == ["bronze.trades"]


def test_an_unknown_table_is_answered_with_the_tables_there_are(stored: InMemory) -> None:
    with pytest.raises(SqlError, match=r"no table bronze\.trade\. There are: bronze\.trades, "):
        asked(stored, "select * from bronze.trade")


def test_the_table_meant_comes_first_although_its_layer_is_missing() -> None:
    names = ["bronze.trades", "silver.ohlcv", "gold.market_overview"]
    assert no_such_table("ohlcv", names).startswith("There is no table ohlcv. There are: silver.ohlcv, ")


@pytest.mark.parametrize(
    ("sql", "message"),
    [("selec 1", "syntax error"), ("select nope from bronze.trades", "nope"), ("select nope(1)", "nope")],
)
def test_wrong_sql_is_answered_with_what_duckdb_says(stored: InMemory, sql: str, message: str) -> None:
    with pytest.raises(SqlError, match=message):
        asked(stored, sql)


def test_a_lake_that_cannot_be_read_says_so_in_its_own_words() -> None:
    def closed(table: Table) -> InMemory:
        raise LakeError(f"{table.full_name} is not there yet.")

    with (
        Lake({TRADES.full_name: TRADES}, {}, closed) as session,
        pytest.raises(LakeError, match=r"^bronze\.trades is not there yet\.$"),
    ):
        session.query("from bronze.trades")


def test_the_tables_there_are_can_be_asked_for(stored: InMemory) -> None:
    names = {(row["schema"], row["name"]) for row in asked(stored, "show all tables")}
    assert names == {("bronze", "trades"), ("silver", "ohlcv"), ("silver", "prices")}
