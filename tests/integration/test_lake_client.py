"""The client in Python on the deployed system: it gives what `crypto query` says, in each form."""

import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from crypto_pipeline import lake
from shared.settings import Settings, settings
from tests.queries import QUERIES, Query
from tests.system import PROJECT, SYMBOLS, System, wait_for

SYMBOL = "BTCUSDT"
PROVEN = "status in ('complete', 'repaired')"
NEVER_EMPTY = ("VWAP by hour", "Resampling", "As-of join of trades to quotes")
"""The queries of the docs that have an answer as soon as something was streamed."""
CANDLE = ("open", "high", "low", "close", "volume", "quote_volume", "vwap", "trade_count", "first_trade_id", "status")


class Stretch(NamedTuple):
    """Minutes that are over and proven."""

    start: datetime
    end: datetime

    @property
    def condition(self) -> str:
        return f"interval_start >= timestamptz '{self.start}' and interval_start < timestamptz '{self.end}'"


@pytest.fixture(scope="module", autouse=True)
def _its_settings(system: System) -> Iterator[None]:
    with system.its_environment():
        settings.cache_clear()
        yield
    settings.cache_clear()


@pytest.fixture(scope="module")
def stretch(system: System) -> Stretch:
    """The latest three proven minutes of the symbol that follow each other, and whose rows have come to rest."""
    three = f"""
        select min(interval_start) as start from (
            select interval_start, row_number() over (order by interval_start desc) as place
            from silver.ohlcv_1m where symbol = '{SYMBOL}' and {PROVEN})
        where place <= 3 having count(*) = 3 and max(interval_start) - min(interval_start) = interval 2 minutes"""
    [row] = wait_for("three proven minutes", lambda: system.query(three))
    start = datetime.fromisoformat(row["start"])
    return Stretch(start, start + timedelta(minutes=3))


def plain(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """As `crypto query --format json` prints them."""
    times = [pl.col(name).dt.epoch("us") for name, kind in rows.schema.items() if kind == pl.Datetime("us", "UTC")]
    exact = [name for name, kind in rows.schema.items() if kind.is_decimal()]
    return [
        {name: f"{value:f}" if name in exact and value is not None else value for name, value in row.items()}
        for row in rows.with_columns(times).to_dicts()
    ]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("interval", ["1m", "5m", "1h", "1d"])
def test_candles_are_those_of_fact_ohlcv(
    system: System, stretch: Stretch, interval: lake.Interval, exact: bool
) -> None:
    start = stretch.start.replace(hour=0, minute=0)
    sql = (
        f"select epoch_us(interval_start) as interval_start, {', '.join(CANDLE)} from silver.fact_ohlcv "
        f"where exchange = 'binance' and symbol = '{SYMBOL}' and interval = '{interval}' "
        f"and {Stretch(start, stretch.end).condition} order by 1"
    )
    columns = ["interval_start", *CANDLE]
    asked = lake.ohlcv(SYMBOL, interval, start, stretch.end, min_status="partial", columns=columns, exact=exact)
    wait_for(  # a candle may change between the two
        "the same candles", lambda: plain(asked.to_polars()) == system.query(sql, exact=exact) != [], seconds=60
    )


def test_pandas_and_polars_and_a_lazy_frame_have_the_same_rows(stretch: Stretch) -> None:
    rows = lake.ohlcv(SYMBOL, "1m", *stretch)
    frame = rows.to_polars()
    assert frame.height == 3
    assert pl.from_pandas(rows.to_pandas()).equals(frame)
    assert rows.lazy().select("close").collect().equals(frame.select("close"))


def test_the_trades_of_a_proven_minute_are_all_of_its_ids_in_order(system: System, stretch: Stretch) -> None:
    [candle] = lake.ohlcv(SYMBOL, "1m", stretch.start, stretch.start + timedelta(minutes=1)).to_arrow().to_pylist()
    trades = lake.trades(SYMBOL, candle["interval_start"], candle["interval_end"], exact=True)
    ids = trades.to_polars()["trade_id"].to_list()
    assert ids == list(range(candle["first_trade_id"], candle["last_trade_id"] + 1))
    prices = trades.to_pandas()["price"]
    digits = system.query(
        f"select price from bronze.trades where symbol = '{SYMBOL}' and trade_id between {ids[0]} and {ids[-1]} "
        "order by trade_id",
        exact=True,
    )
    assert [f"{price:f}" for price in prices] == [row["price"] for row in digits]


@pytest.mark.parametrize(
    ("rows", "table", "time"),
    [(lake.depth, "bronze.depth", "coalesce(event_time, received_at)"), (lake.tickers, "bronze.tickers", "event_time")],
)
def test_books_and_tickers_are_those_of_their_range(
    system: System, stretch: Stretch, rows: Any, table: str, time: str
) -> None:
    condition = stretch.condition.replace("interval_start", time)
    [counted] = system.query(f"select count(*) as n from {table} where symbol = '{SYMBOL}' and {condition}")
    asked = rows(SYMBOL, *stretch)
    assert asked.to_polars().height == len(asked.to_pandas()) == counted["n"] > 0


def test_indicators_stand_on_the_candles(stretch: Stretch) -> None:
    def agree() -> bool:  # they come after the candles, and a candle that was mended is read before its indicators are
        candles = lake.ohlcv(SYMBOL, "1m", *stretch).to_polars().select("interval_start", "close")
        try:
            indicators = lake.indicators(SYMBOL, "1m", *stretch).to_pandas()
        except lake.NotStoredError:
            return False
        return list(zip(indicators["interval_start"], indicators["close"], strict=True)) == candles.rows()

    wait_for("an indicator row for each candle, with its close", agree)


def test_min_status_leaves_out_what_is_worse(system: System, stretch: Stretch) -> None:
    start = stretch.start.replace(hour=0, minute=0)
    statuses: tuple[lake.Status, ...] = ("complete", "repaired", "pending", "partial")

    def agree() -> bool:
        counts = {
            row["status"]: row["n"]
            for row in system.query(
                f"select status, count(*) as n from silver.ohlcv_1m where symbol = '{SYMBOL}' "
                f"and {Stretch(start, stretch.end).condition} group by 1"
            )
        }
        return all(
            lake.ohlcv(SYMBOL, "1m", start, stretch.end, min_status=worst).to_arrow().num_rows
            == sum(counts.get(status, 0) for status in statuses[: place + 1])
            for place, worst in enumerate(statuses)
            if sum(counts.get(status, 0) for status in statuses[: place + 1])
        )

    wait_for("as many candles as query counts", agree, seconds=60)


def test_as_of_a_time_it_is_what_was_known_then(system: System, stretch: Stretch) -> None:
    [row] = system.query(
        f"select max(known_at) as t from silver.ohlcv_1m where symbol = '{SYMBOL}' and {stretch.condition}"
    )
    known = datetime.fromisoformat(row["t"])
    for moment in (known - timedelta(microseconds=1), known):
        sql = (
            f"select epoch_us(interval_start) as interval_start, close from silver.fact_ohlcv_as_of('{moment}') "
            f"where symbol = '{SYMBOL}' and interval = '1m' and {stretch.condition} order by 1"
        )
        asked = lake.ohlcv(
            SYMBOL, "1m", *stretch, as_of=moment, min_status="partial", columns=["interval_start", "close"]
        )
        theirs = system.query(sql)
        if theirs:
            assert plain(asked.to_polars()) == theirs
        else:
            with pytest.raises(lake.NotStoredError, match="nothing was known at"):
                asked.to_pandas()


def test_gold_is_given_by_symbol(system: System, stretch: Stretch) -> None:
    if not system.query("select 1 from gold.market_overview limit 1"):
        system.run("analytics", {}, {})
    asked = lake.gold("market_overview", symbol=SYMBOL)
    assert asked.to_pandas()["symbol"].tolist() == asked.to_polars()["symbol"].to_list() == [SYMBOL]
    assert set(lake.gold("market_overview").to_polars()["symbol"]) >= set(SYMBOLS)


def test_sql_is_answered_as_crypto_query_does(system: System, stretch: Stretch) -> None:
    sql = f"select symbol, high, low from silver.ohlcv_1m where {PROVEN} and {stretch.condition} order by 1, 2, 3"
    assert lake.sql(sql).to_polars().to_dicts() == system.query(sql) != []
    assert plain(lake.sql(sql, exact=True).lazy().collect()) == system.query(sql, exact=True)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.usefixtures("stretch")
def test_a_query_of_the_docs_is_answered(query: Query) -> None:
    assert lake.sql(query.sql).to_polars().height or query.title not in NEVER_EMPTY


def test_a_symbol_and_a_range_that_are_not_there_are_answered_with_what_there_is(stretch: Stretch) -> None:
    with pytest.raises(lake.NotStoredError, match=rf"no symbol 'BTCUSD'\. It has: {SYMBOL}, "):
        lake.ohlcv("BTCUSD", "1m", *stretch).to_pandas()
    for rows in (lake.ohlcv(SYMBOL, "1m", "2020-01-01", "2020-01-02"), lake.trades(SYMBOL, "2020-01-01", "2020-01-02")):
        with pytest.raises(lake.NotStoredError, match=r"what is there reaches from 20\d\d-"):
            rows.to_polars()


def test_elsewhere_the_address_and_a_key_that_may_only_read_are_enough(
    system: System, stretch: Stretch, tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        "from crypto_pipeline import lake\n"
        f"print(len(lake.ohlcv('{SYMBOL}', '1m', '{stretch.start}', '{stretch.end}').to_pandas()))\n"
        "print([name for name in ('pyspark', 'py4j', 'dagster') if name in sys.modules])\n"
    )
    here = system.settings()
    elsewhere = {
        **{name: value for name, value in system.environment.items() if name.lower() not in Settings.model_fields},
        "CRYPTO_HOME": str(tmp_path),
        "S3_ENDPOINT": here.s3_url,
        "S3_BUCKET": here.bucket,
        "S3_ACCESS_KEY": here.s3_reader_access_key,
        "S3_SECRET_KEY": here.s3_reader_secret_key.get_secret_value(),
    }
    elsewhere.pop("CRYPTO_MODE")
    command = [str(PROJECT / ".venv" / "bin" / "python"), "-c", script]
    done = subprocess.run(command, env=elsewhere, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (0, ["3", "[]"]), done.stderr
