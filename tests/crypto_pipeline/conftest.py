"""A Spark session of this process for the pure transforms, and small ways to make what they read."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import lru_cache, partial
from tempfile import NamedTemporaryFile
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType, _parse_datatype_string

from crypto_pipeline import lake, lake_part, reader
from crypto_pipeline.export import _reading
from shared.events import AggTrade, AnyEvent, Kline, Trade, encode, exact_product
from tests.crypto_pipeline.engines import DuckDb, Engine, Spark, candle
from tests.crypto_pipeline.stored_tables import Tables

MINUTE = 60_000_000
START = 1_786_000_020_000_000
"""2026-08-06 07:07:00 UTC, in microseconds."""
KAFKA_TIME = datetime(2026, 8, 6, 7, 8, tzinfo=UTC)
EIGHTEEN_PLACES = Decimal("1e-18")
MESSAGE_COLUMNS = "value string, stream string, topic string, partition int, offset bigint, kafka_time timestamp"


parsed = lru_cache(maxsize=None)(_parse_datatype_string)  # Spark reads the text


def local_frame(session: SparkSession, otherwise: Callable[..., DataFrame], data: Any, schema: Any = None) -> DataFrame:
    """Rows in the plan itself, by Arrow, as a Connect client makes them.

    A classic session has a Python process unpickle and pickle them, whenever they are asked for.
    """
    if not isinstance(data, list) or not isinstance(schema, str | StructType):
        return otherwise(data, schema)
    struct = parsed(schema) if isinstance(schema, str) else schema
    fields = to_arrow_schema(struct)
    columns = zip(*data, strict=True) if data else [()] * len(fields)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)]
    with NamedTemporaryFile(suffix=".arrow") as file:
        with pa.ipc.new_stream(file.name, fields) as stream:
            stream.write_batch(pa.record_batch(arrays, schema=fields))
        utils = session.sparkContext._jvm.PythonSQLUtils
        batches = utils.readArrowStreamFromFile(file.name)
        return DataFrame(utils.toDataFrame(batches, struct.json(), session._jsparkSession), session)


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """Spark in this process, set as the Connect server is."""
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.driver.extraJavaOptions", "-Duser.timezone=UTC")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        # Compiling a plan costs more than running it over a few rows; the integration tests run what is compiled.
        .config("spark.sql.codegen.wholeStage", "false")
        .config("spark.sql.codegen.factoryMode", "NO_CODEGEN")
        .config("spark.sql.adaptive.enabled", "false")  # to plan again costs more than it gains, for the same reason
        .config("spark.sql.decimalOperations.allowPrecisionLoss", "false")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    jvm = session.sparkContext._jvm
    jvm.functions = jvm.functions  # else every use looks for it in all archives
    session.createDataFrame = partial(local_frame, session, session.createDataFrame)  # type: ignore[method-assign]
    yield session
    session.stop()


@pytest.fixture(params=["duckdb", "spark"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine that reads the lake's SQL, without rows."""
    return DuckDb() if request.param == "duckdb" else Spark(spark=request.getfixturevalue("spark"))


@pytest.fixture(scope="session")
def as_messages(spark: SparkSession) -> Callable[[Iterable[AnyEvent]], DataFrame]:
    """Events as the frame that Kafka's messages make."""

    def make(events: Iterable[AnyEvent]) -> DataFrame:
        rows = [
            (encode(event).decode(), event.__struct_config__.tag, "crypto_raw_btcusdt", 0, offset, KAFKA_TIME)
            for offset, event in enumerate(events)
        ]
        return spark.createDataFrame(rows, MESSAGE_COLUMNS)

    return make


@lru_cache(maxsize=64)
def _in_bronze(
    module: ModuleType, events: tuple[AnyEvent, ...], as_messages: Callable[[Iterable[AnyEvent]], DataFrame]
) -> DataFrame:
    return module.build(as_messages(events)).localCheckpoint()


def in_bronze(
    module: ModuleType, events: Iterable[AnyEvent], as_messages: Callable[[Iterable[AnyEvent]], DataFrame]
) -> DataFrame:
    """The rows that a table of bronze makes of events, made once: else Spark parses them anew in whatever asks them."""
    return _in_bronze(module, tuple(events), as_messages)


def trade(trade_id: int, at: int, cost: str, size: str, **changes: object) -> Trade:
    """A trade of BTCUSDT; `at` in microseconds."""
    values: dict[str, object] = {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "event_time": at,
        "published_at": at + 1000,
        "received_at": at + 2000,
        "source": "websocket",
        "connection_id": "test",
        "trade_id": trade_id,
        "price": Decimal(cost),
        "quantity": Decimal(size),
        "quote_quantity": exact_product(Decimal(cost), Decimal(size)),
        "is_buyer_maker": trade_id % 2 == 0,
    }
    return Trade(**{**values, **changes})  # type: ignore[arg-type]


def agg_trade(agg_trade_id: int, at: int, first: int, last: int, **changes: object) -> AggTrade:
    """Trades `first` to `last` of BTCUSDT at a price of 1, one unit each, merged."""
    size = Decimal(last - first + 1)
    values: dict[str, object] = {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "event_time": at,
        "source": "rest",
        "connection_id": "rest",
        "agg_trade_id": agg_trade_id,
        "price": Decimal(1),
        "quantity": size,
        "quote_quantity": size,
        "first_trade_id": first,
        "last_trade_id": last,
        "is_buyer_maker": False,
    }
    return AggTrade(**{**values, **changes})  # type: ignore[arg-type]


def kline(start: int, first: int | None, last: int | None, count: int, **changes: object) -> Kline:
    """A closed kline of BTCUSDT that starts at `start` (microseconds) and says which trades it counts."""
    values: dict[str, object] = {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "event_time": start + MINUTE,
        "published_at": start + MINUTE,
        "received_at": start + MINUTE,
        "source": "websocket",
        "connection_id": "test",
        "interval": "1m",
        "open_time": start,
        "close_time": start + MINUTE - 1,
        "trade_count": count,
        "first_trade_id": first,
        "last_trade_id": last,
        "is_closed": True,
    }
    decimals = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    return Kline(**{**values, **dict.fromkeys(decimals, Decimal(1)), **changes})  # type: ignore[arg-type]


def by_hand(tape: list[Trade], seconds: int) -> dict[int, dict[str, object]]:
    """The candles of some trades by a plain loop, by start in microseconds."""
    candles: dict[int, dict[str, object]] = {}
    groups: dict[int, list[Trade]] = {}
    for one in tape:
        groups.setdefault(one.event_time // (seconds * 1_000_000) * seconds * 1_000_000, []).append(one)
    for start, group in groups.items():
        group.sort(key=lambda one: one.trade_id)
        bought = [one for one in group if not one.is_buyer_maker]
        with localcontext(prec=76):
            volume = sum((one.quantity for one in group), Decimal(0))
            quote = sum((one.quote_quantity for one in group), Decimal(0))
            candles[start] = {
                "open": group[0].price,
                "high": max(one.price for one in group),
                "low": min(one.price for one in group),
                "close": group[-1].price,
                "volume": volume,
                "quote_volume": quote,
                "trade_count": len(group),
                "vwap": (quote / volume).quantize(EIGHTEEN_PLACES, rounding=ROUND_HALF_UP),
                "taker_buy_volume": sum((one.quantity for one in bought), Decimal(0)),
                "taker_buy_quote_volume": sum((one.quote_quantity for one in bought), Decimal(0)),
                "first_trade_id": group[0].trade_id,
                "last_trade_id": group[-1].trade_id,
            }
    return candles


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Tables:
    """What a client of the lake opens. Of BTCUSDT and ETHUSDT there is a day of candles, and nothing else."""
    made = Tables()
    made.has("silver.ohlcv", [candle(0, 1, "1d", symbol=symbol) for symbol in ("BTCUSDT", "ETHUSDT")])
    for module in (lake, lake_part, reader, _reading):
        monkeypatch.setattr(module, "open_table", made.open)
    return made
