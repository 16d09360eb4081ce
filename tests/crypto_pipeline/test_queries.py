"""`docs/queries.md`: each query, as it stands there, gives the answer that was found by hand, on every engine."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import cycle, islice
from math import log, sqrt
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from crypto_pipeline import contracts, lake
from crypto_pipeline.reader import as_floats
from crypto_pipeline.silver.candles import INTERVALS
from serving import reader
from serving.migrate import migrate
from serving.tables import served
from serving.writer import connected, write
from shared.settings import Settings
from tests.crypto_pipeline.engines import Engine, Row, Spark, candle
from tests.queries import PAGE, QUERIES, Query
from tests.servers import PostgresServer
from tests.serving.rows import arrow

ENGINES = ("duckdb", "duckdb --exact", "spark", "postgres")
NOW = datetime.now(UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0)
BOOK = NOW + timedelta(hours=3)
"""When the first quote of the as-of join came: no sooner than an hour ago, however long other tests take before."""
DAY = (NOW - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
BTC = {"exchange": "binance", "symbol": "BTCUSDT"}
ETH = {"exchange": "binance", "symbol": "ETHUSDT"}
SOL = {"exchange": "binance", "symbol": "SOLUSDT"}
STEP = log(1.1)
"""By so much the made hourly prices rise or fall, or by twice as much, or not."""


def ago(hours: int, minute: int = 0) -> datetime:
    """So many minutes after the full hour that was so many hours ago."""
    return HOUR - timedelta(hours=hours) + timedelta(minutes=minute)


def bar(interval: str, start: datetime, symbol: str = "BTCUSDT", **values: Any) -> Row:
    end = start + timedelta(seconds=INTERVALS[interval])
    return candle(0, 1, interval) | {
        "symbol": symbol,
        "interval_start": start,
        "interval_end": end,
        "month": f"{start:%Y-%m}",
        **{
            name: Decimal(value) if isinstance(value, str) and value.isdigit() else value
            for name, value in values.items()
        },
    }


def prices(*values: int) -> dict[str, Decimal]:
    return dict(zip(("open", "high", "low", "close"), map(Decimal, values), strict=True))


MINUTES = [
    bar("1m", ago(2, 0), volume="2", quote_volume="204", trade_count=3, first_trade_id=10, last_trade_id=12),
    # The ids go on over the 28 minutes before the next: nothing traded in them.
    bar(
        "1m",
        ago(2, 29),
        volume="1",
        quote_volume="108",
        trade_count=2,
        first_trade_id=13,
        last_trade_id=14,
        status="repaired",
    ),
    bar(
        "1m",
        ago(2, 30),
        volume="1",
        quote_volume="109",
        trade_count=1,
        first_trade_id=15,
        last_trade_id=15,
        status="pending",
    ),
    bar("1m", ago(1, 5), volume="4", quote_volume="440", trade_count=2, first_trade_id=21, last_trade_id=22),
    bar("1m", ago(1, 7), volume="1", quote_volume="110", trade_count=1),
]
FIVE_MINUTES = [
    bar("5m", ago(2, 0), **prices(100, 105, 99, 104), volume="2", trade_count=3),
    bar("5m", ago(2, 25), **prices(104, 110, 103, 108), volume="1", trade_count=2),
    bar("5m", ago(2, 30), **prices(108, 109, 90, 95), volume="1", trade_count=1),
]


def hourly() -> Iterator[Row]:
    """25 closed hours of three symbols, the running one of two of them, and 26 of a fourth with a hole."""
    one = list(islice(cycle((100, 110)), 25))
    other = list(islice(cycle((100, 110, 121, 110)), 25))
    both = [a * b // 100 for a, b in zip(one, other, strict=True)]
    for symbol, closes in (("BTCUSDT", one), ("ETHUSDT", other), ("SOLUSDT", both)):
        for place, close in enumerate(closes):
            yield bar("1h", ago(25 - place), symbol, close=Decimal(close))
    for symbol in ("BTCUSDT", "ETHUSDT"):
        yield bar("1h", HOUR, symbol, close=Decimal(1), is_closed=False)
    for place in range(27):
        if place != 17:
            yield bar("1h", ago(27 - place), "XRPUSDT", close=Decimal(100 + place))


def trade(trade_id: int, second: int, price: int, of: Row = BTC, *, is_buyer_maker: bool) -> Row:
    at = BOOK + timedelta(seconds=second)
    values = {"price": Decimal(price), "quantity": Decimal(1), "is_buyer_maker": is_buyer_maker}
    return {**of, "event_time": at, "trade_id": trade_id, **values, "date": f"{at:%Y-%m-%d}", "hour": f"{at:%H}"}


def ticker(second: int, bid: int, ask: int, of: Row = BTC) -> Row:
    at = BOOK + timedelta(seconds=second)
    values = {"bid_price": Decimal(bid), "ask_price": Decimal(ask)}
    return {**of, "event_time": at, **values, "date": f"{at:%Y-%m-%d}", "hour": f"{at:%H}"}


def evidence(minute: int, status: str, of: Row = BTC, day: datetime = DAY, **values: Any) -> Row:
    at = day + timedelta(minutes=minute)
    return {**of, "interval_start": at, "status": status, "month": f"{at:%Y-%m}", "trades_missing": 0, **values}


def worth(days_ago: int, value: int | None, asset: str = "TOTAL", **values: Any) -> Row:
    day = DAY - timedelta(days=days_ago - 1)
    money = None if value is None else Decimal(value)
    row = {"portfolio": "core", "day": day, "asset": asset, "value": money, "month": f"{day:%Y-%m}", "is_closed": True}
    return row | values


ROWS: dict[str, list[Row]] = {
    "silver.ohlcv_1m": MINUTES,
    "silver.ohlcv": [*FIVE_MINUTES, *hourly()],
    "silver.order_book_1m": [
        {**BTC, "interval_start": at, "spread_bps": spread, "date": f"{at:%Y-%m-%d}"}
        for at, spread in ((ago(2, 0), 2.0), (ago(2, 29), 4.0), (ago(2, 30), None), (ago(2, 31), 9.0))
    ],
    "bronze.trades": [
        trade(1, -1, 100, is_buyer_maker=False),
        trade(2, 1, 101, is_buyer_maker=False),
        trade(3, 2, 101, is_buyer_maker=True),
        trade(4, 2, 100, is_buyer_maker=True),
        trade(5, 3, 1, ETH, is_buyer_maker=True),
    ],
    "bronze.tickers": [ticker(0, 99, 101), ticker(1, 1, 2, ETH), ticker(2, 100, 102), ticker(5, 1, 2)],
    "gold.market_overview": [
        {**BTC, "change_24h_percent": 1.5, "as_of": HOUR},
        {**ETH, "change_24h_percent": -3.25, "as_of": HOUR},
        {**SOL, "change_24h_percent": None, "as_of": HOUR, "reason": "too little history"},
    ],
    "gold.portfolio_performance": [
        worth(2, 110, invested=Decimal(100), profit=Decimal(10), return_day=0.02, return_since_start=0.1, drawdown=0.0),
        worth(2, 60, "BTC"),
        worth(
            1, 99, invested=Decimal(100), profit=Decimal(-1), return_day=-0.1, return_since_start=-0.01, drawdown=-0.1
        ),
        worth(3, None, reason="retracted"),
        worth(60, 100),
    ],
    "silver.completeness": [
        evidence(0, "complete"),
        evidence(1, "missing", reason="our_outage", trades_missing=4),
        evidence(2, "pending"),
        evidence(0, "complete", ETH, reason="no_trades"),
        evidence(0, "missing", ETH, DAY - timedelta(days=20), reason="our_outage"),
    ],
}

ANSWERS: dict[str, list[Row]] = {
    "VWAP by hour": [
        {
            **BTC,
            "hour_start": ago(2),
            "vwap": 105.25,
            "quote_volume": 421,
            "trades": 6,
            "minutes_proven": 2,
            "minutes": 3,
        },
        {**BTC, "hour_start": ago(1), "vwap": 110, "quote_volume": 550, "trades": 3, "minutes_proven": 2, "minutes": 2},
    ],
    "Resampling": [
        {**BTC, "half_hour": ago(2, 0), "open": 100, "high": 110, "low": 99, "close": 108, "volume": 3, "trades": 5},
        {**BTC, "half_hour": ago(2, 30), "open": 108, "high": 109, "low": 90, "close": 95, "volume": 1, "trades": 1},
    ],
    "As-of join of trades to quotes": [
        {
            **BTC,
            "event_time": BOOK + timedelta(seconds=second),
            "trade_id": trade_id,
            "price": price,
            "quantity": 1,
            "quoted_at": quoted and BOOK + timedelta(seconds=quoted[0]),
            "bid": quoted and quoted[1],
            "ask": quoted and quoted[2],
            "effective_spread_bps": spread,
        }
        for trade_id, second, price, quoted, spread in (
            (4, 2, 100, (2, 100, 102), 20_000 / 101),
            (3, 2, 101, (2, 100, 102), 0),
            (2, 1, 101, (0, 99, 101), 200),
            (1, -1, 100, None, None),
        )
    ],
    "Rolling volatility": [
        {**symbol, "interval_start": ago(1), "volatility": STEP * sqrt(squares / 23) * sqrt(24 * 365)}
        for symbol, squares in ((BTC, 24), (ETH, 24), (SOL, 48))
    ],
    "Top movers": [
        {
            **symbol,
            "last_price": None,
            "change_24h_percent": change,
            "change_1h_percent": None,
            "quote_volume_24h_usdt": None,
            "volatility_24h": None,
            "as_of": HOUR,
            "reason": reason,
        }
        for symbol, change, reason in ((ETH, -3.25, None), (BTC, 1.5, None), (SOL, None, "too little history"))
    ],
    "Gaps": [
        {**BTC, "gap_start": ago(2, 31), "gap_end": ago(1, 5), "trades_missing": 5},
        {**BTC, "gap_start": ago(1, 6), "gap_end": ago(1, 7), "trades_missing": None},
    ],
    "Spread cost": [
        {**BTC, "hour_start": ago(2), "spread_bps": 840 / 312, "takers_paid": 0.042, "quote_volume": 312},
    ],
    "Correlation": [
        {"exchange": "binance", "symbol_a": one, "symbol_b": other, "correlation": correlation, "hours": 24}
        for one, other, correlation in (
            ("BTCUSDT", "ETHUSDT", 0),
            ("BTCUSDT", "SOLUSDT", sqrt(0.5)),
            ("ETHUSDT", "SOLUSDT", sqrt(0.5)),
        )
    ],
    "Portfolio value": [
        {
            "portfolio": "core",
            "day": DAY - timedelta(days=days),
            "value": value,
            "invested": 100,
            "profit": value - 100,
            "return_day": of_day,
            "return_since_start": (value - 100) / 100,
            "drawdown": drawdown,
            "is_closed": True,
        }
        for days, value, of_day, drawdown in ((1, 110, 0.02, 0), (0, 99, -0.1, -0.1))
    ],
    "Completeness": [
        {**of, "day": DAY.date(), "condition": condition, "percent_proven": proven, **counts}
        for of, condition, proven, counts in (
            (
                BTC,
                "degraded",
                100 / 3,
                {"minutes_pending": 1, "minutes_lacking": 1, "minutes_no_trades": 0, "trades_missing": 4},
            ),
            (
                ETH,
                "available",
                100,
                {"minutes_pending": 0, "minutes_lacking": 0, "minutes_no_trades": 1, "trades_missing": 0},
            ),
        )
    ],
}


near = partial(pytest.approx, rel=1e-9, abs=1e-9)


def tables_of(query: Query) -> set[str]:
    return set(re.findall(r"\b(?:bronze|silver|gold)\.\w+", query.sql))


def is_served(query: Query) -> bool:
    return tables_of(query) <= set(served())


CASES = [
    pytest.param(engine, query, id=f"{engine}-{query.title}")
    for engine in ENGINES
    for query in QUERIES.values()
    if engine != "postgres" or is_served(query)
]


@pytest.fixture(scope="module")
def stored() -> Engine:
    made = Engine()
    for name, rows in ROWS.items():
        made.has(contracts.tables()[name], rows)
    return made


def by_duckdb(sql: str, stored: Engine, *, exact: bool = False) -> pa.Table:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake, "open_table", lambda table, settings: stored.stored(table))
        return lake.query(sql, Settings(), exact=exact)


@pytest.fixture(scope="module")
def postgres(postgres_server: PostgresServer, stored: Engine) -> Settings:
    """Of a PostgreSQL that has what the lake has of the tables that are served."""
    migrate(postgres_server.settings)
    with connected(postgres_server.settings) as connection:
        for name in sorted(set(served()) & set().union(*map(tables_of, QUERIES.values()))):
            table = served()[name]
            rows = by_duckdb(f"SELECT {', '.join(table.column_names)} FROM {name}", stored, exact=True)
            write(connection, table, [arrow(table, rows.to_pylist())], {}, whole=True)
    return postgres_server.settings


@pytest.fixture
def ask(request: pytest.FixtureRequest, stored: Engine) -> Callable[[Query], list[Row]]:
    """What `crypto query --engine` answers."""

    def duckdb(query: Query) -> list[Row]:
        rows: list[Row] = by_duckdb(query.sql, stored, exact=request.param.endswith("exact")).to_pylist()
        return rows

    def spark(query: Query) -> list[Row]:
        session: SparkSession = request.getfixturevalue("spark")
        views = [view for name, view in contracts.views().items() if name in tables_of(query)]
        read = tables_of(query).union(*(view.tables for view in views))
        tables = {name: table for name, table in stored.tables.items() if name in read}
        return Spark(tables, stored.rows, session).ask(query.sql, *views)

    def postgres(query: Query) -> list[Row]:
        rows: list[Row] = as_floats(reader.query(query.sql, request.getfixturevalue("postgres"))).to_pylist()
        return rows

    return {"spark": spark, "postgres": postgres}.get(request.param, duckdb)


@pytest.mark.parametrize(("ask", "query"), CASES, indirect=["ask"])
def test_the_answer_is_the_one_found_by_hand(ask: Callable[[Query], list[Row]], query: Query) -> None:
    answer, expected = ask(query), ANSWERS[query.title]
    assert len(answer) == len(expected)
    for row, wanted in zip(answer, expected, strict=True):
        plain = {name: float(value) if isinstance(value, Decimal) else value for name, value in row.items()}
        assert plain == {
            name: near(value) if isinstance(value, int | float) else value for name, value in wanted.items()
        }


def test_the_page_has_ten_and_none_that_is_not_tried() -> None:
    assert len(QUERIES) == PAGE.read_text().count("```sql") == 10


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_the_page_says_which_are_not_for_postgresql(query: Query) -> None:
    assert ("PostgreSQL has no" in " ".join(query.text.split())) is not is_served(query)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_it_can_stand_between_a_shells_double_quotes(query: Query) -> None:
    assert not set('"`$\\!') & set(query.sql)
