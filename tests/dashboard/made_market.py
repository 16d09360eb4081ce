"""A made market: its history as rows of the serving tables, and its present as events in Kafka."""

import math
import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import psycopg
import talib
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from dashboard.api.data import COUNTS
from dashboard.bars import INTERVALS, MINUTE, Bar, rolled_up
from dashboard.minutes import SHOWN, Rows
from dashboard.minutes import TABLE as COMPLETENESS
from serving.migrate import migrate
from shared.events import AnyEvent, DepthSnapshot, Kline, Ticker, Trade, encode, message_key
from shared.settings import Settings
from shared.symbol_manager import topic

ONLY_LISTED = "DOGEUSDT"
"""The exchange has it, and nobody streams it."""
PAIRS = {
    "BTCUSDT": ("BTC", 100_000.0, "0.01"),
    "ETHUSDT": ("ETH", 3_400.0, "0.01"),
    "BNBUSDT": ("BNB", 880.0, "0.1"),
    "SOLUSDT": ("SOL", 203.0, "0.01"),
    "XRPUSDT": ("XRP", 2.8, "0.0001"),
}
"""By symbol the base asset, a price, and the tick size."""
OUTAGE = range(20, 27)
"""The minutes of an hour in which the stream was down once: repaired."""

BEGAN = (datetime.now(UTC) - timedelta(hours=41)).replace(minute=25, second=0, microsecond=0)
"""When BNBUSDT and ETHUSDT began to stream. Of the two days before it nobody asked for BNBUSDT; of ETHUSDT the exchange
gave its klines later."""
LOST = datetime.now(UTC) - timedelta(hours=1)
"""The hour, each ninth day back from then, in which some of SOLUSDT's minutes are not whole."""
DOWN = datetime.now(UTC) - timedelta(hours=2)
"""The hour, each half day back from then, in which BTCUSDT's stream was down: what was missed was fetched."""


def tick(symbol: str, price: float) -> Decimal:
    """A price as the market quotes it."""
    return Decimal(str(price)).quantize(Decimal(PAIRS[symbol][2]))


def price_at(symbol: str, seconds: float) -> float:
    """The price at a time: the same whenever it is asked for."""
    seed = 1 + list(PAIRS).index(symbol)
    wave = sum(math.sin(seconds * 2 * math.pi / period + seed * period) * size for period, size in _WAVES)
    common = sum(math.sin(seconds * 2 * math.pi / (period * 1.3)) * size for period, size in _WAVES)
    return PAIRS[symbol][1] * math.exp(0.5 * wave + 0.7 * common)


_WAVES = ((71, 0.0002), (340, 0.0005), (1900, 0.0011), (11_000, 0.004), (63_000, 0.01), (410_000, 0.03))


def minute_bar(symbol: str, start: int, until: float = 60) -> Bar:
    """The candle of a minute, of its first `until` seconds; `start` in microseconds."""
    at = start / 1_000_000
    prices = [tick(symbol, price_at(symbol, at + second)) for second in range(0, max(int(until), 1), 4)]
    volume = Decimal(str(round(0.02 * len(prices) * (1 + abs(math.sin(at / 900)) * 3), 5)))
    closes = prices[-1]
    return Bar(start, prices[0], max(prices), min(prices), closes, volume, volume * closes, len(prices), until >= 60)


def moment(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1_000_000, UTC)


def candle_row(symbol: str, interval: str, bar: Bar, **changes: Any) -> dict[str, Any]:
    """A row of `silver.fact_ohlcv`."""
    span = INTERVALS[interval]
    fields: dict[str, Any] = {
        "exchange": "binance",
        "symbol": symbol,
        "base_asset": PAIRS[symbol][0],
        "quote_asset": "USDT",
        "interval": interval,
        "interval_seconds": span,
        "interval_start": moment(bar.start),
        "interval_end": moment(bar.start + span * 1_000_000),
        "vwap": bar.close,
        "taker_buy_volume": bar.volume / 2,
        "taker_buy_quote_volume": bar.quote_volume / 2,
        "status": "complete",
        "proof": "trade_ids",
        "source": "websocket",
        "minutes_present": span // 60,
        "minutes_expected": span // 60,
        "revision": 1,
        "known_at": moment(bar.start + span * 1_000_000),
        "ingestion_ts": moment(bar.start + span * 1_000_000),
    }
    return fields | {name: value for name, value in bar._asdict().items() if name != "start"} | changes


def create(settings: Settings) -> None:
    """The serving tables, empty, with the months that are filled."""
    migrate(settings)
    with psycopg.connect(settings.serving_owner_url) as owner:
        for back in range(3):
            owner.execute("SELECT serving.make_month(now() - %s * interval '1 month')", [back])


def writer(settings: Settings) -> psycopg.Connection:
    """Who fills them."""
    return psycopg.connect(settings.serving_writer_url, autocommit=True)


def put(connection: psycopg.Connection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows; columns that are not given are null."""
    rows = list(rows)
    if not rows:
        return
    names = list(rows[0])
    copy = SQL("COPY {} ({}) FROM STDIN").format(Identifier(*table.split(".")), SQL(", ").join(map(Identifier, names)))
    with connection.cursor() as cursor, cursor.copy(copy) as lines:
        for row in rows:
            lines.write_row([Jsonb(row[name]) if isinstance(row[name], list) else row[name] for name in names])


def replace_candle(connection: psycopg.Connection, row: Mapping[str, Any]) -> None:
    """Write one candle as the pipeline does: in the place of the one before."""
    connection.execute(
        'DELETE FROM silver.fact_ohlcv WHERE exchange = %s AND symbol = %s AND "interval" = %s AND interval_start = %s',
        [row["exchange"], row["symbol"], row["interval"], row["interval_start"]],
    )
    put(connection, "silver.fact_ohlcv", [row])


def fill_candles(connection: psycopg.Connection, end: int, minutes: int, symbols: Sequence[str] = tuple(PAIRS)) -> None:
    """Closed candles of every timeframe, and their indicators, up to `end` (microseconds, a whole minute)."""
    for symbol in symbols:
        bars = [minute_bar(symbol, end - back * MINUTE) for back in range(minutes, 0, -1)]
        for interval in INTERVALS:
            longer = bars if interval == "1m" else rolled_up(bars, interval, end)
            put(connection, "silver.fact_ohlcv", [candle_row(symbol, interval, bar) for bar in longer])
            put(connection, "silver.indicators", indicator_rows(symbol, interval, longer))


def indicator_rows(symbol: str, interval: str, bars: Sequence[Bar]) -> Iterator[dict[str, Any]]:
    closes = np.array([float(bar.close) for bar in bars])
    if len(closes) < 40:
        return
    upper, middle, lower = talib.BBANDS(closes, 20)
    macd, signal, hist = talib.MACD(closes)
    columns = {
        "sma_20": talib.SMA(closes, 20),
        "ema_50": talib.EMA(closes, 50),
        "rsi_14": talib.RSI(closes, 14),
        "macd_12_26_9": macd,
        "macd_signal_12_26_9": signal,
        "macd_hist_12_26_9": hist,
        "bb_upper_20_2": upper,
        "bb_middle_20_2": middle,
        "bb_lower_20_2": lower,
    }
    for place, bar in enumerate(bars):
        values = {name: None if math.isnan(series[place]) else float(series[place]) for name, series in columns.items()}
        yield {
            "exchange": "binance",
            "symbol": symbol,
            "interval": interval,
            "interval_start": moment(bar.start),
            "close": float(bar.close),
            "is_closed": bar.is_closed,
            "bridged": False,
            **values,
        }


def minute_status(symbol: str, at: datetime) -> dict[str, Any]:
    """What is known of a minute: an outage that was repaired, one that is not, and that streaming had not begun."""
    was_down = symbol == "BTCUSDT" and at.hour % 12 == DOWN.hour % 12 and at.minute in OUTAGE
    is_lost = (
        symbol == "SOLUSDT"
        and (at.toordinal() - LOST.toordinal()) % 9 == 0
        and at.hour == LOST.hour
        and at.minute in range(40, 44)
    )
    is_early = symbol in ("BNBUSDT", "ETHUSDT") and BEGAN - timedelta(days=2) <= at < BEGAN
    is_quiet = symbol == "XRPUSDT" and at.minute % 17 == 0
    row: dict[str, Any] = dict.fromkeys(SHOWN) | {
        "interval_start": at,
        "status": "complete",
        "proof": "trade_ids",
        "trades_expected": 86,
        "trades_received": 86,
        "trades_missing": 0,
        "trades_websocket": 86,
        "trades_rest": 0,
        "trades_archive": 0,
        "trades_merged": 0,
        "kline_source": "websocket",
        "depth_seconds": 60,
        "ticker_seconds": 60,
    }
    if is_quiet:
        row |= {"reason": "no_trades", "trades_expected": 0, "trades_received": 0, "trades_websocket": 0}
    if was_down:
        row |= {
            "status": "repaired",
            "reason": "our_outage",
            "trades_websocket": 9,
            "trades_rest": 77,
            "gap_cause": "disconnect",
            "gap_status": "repaired",
            "gap_repaired_from": "rest",
            "evidence": "the connection broke; 541 trades were asked for by REST, and all came",
        }
    if is_early:
        row |= {
            "reason": "not_collected",
            "trades_received": 0,
            "trades_websocket": 0,
            "depth_seconds": 0,
            "ticker_seconds": 0,
        }
    if is_early and symbol == "ETHUSDT":
        row |= {"status": "repaired", "proof": "exchange_kline", "trades_missing": 86, "kline_source": "rest"}
    if is_early and symbol == "BNBUSDT":
        row |= {"status": "missing", "proof": "none"}
        row |= dict.fromkeys(("trades_expected", "trades_missing", "kline_source"))
    if is_lost:
        row |= {
            "status": "partial",
            "reason": "our_outage",
            "proof": "none",
            "trades_received": 30,
            "trades_missing": 56,
            "trades_websocket": 30,
            "gap_cause": "id_jump",
            "gap_status": "open",
            "evidence": "ids 48120 to 48175 did not come; REST was asked twice, tomorrow's archive is next",
        }
    return row


def made_hour(_settings: Settings, _exchange: str, symbol: str, start: datetime, end: datetime) -> Rows:
    """In the place of what the lake knows of an hour."""
    columns = {column.name: column for column in COMPLETENESS.columns}
    found = [minute_status(symbol, start + timedelta(minutes=place)) for place in range(60)]
    rows = [tuple(row[name] for name in SHOWN) for row in found if row["interval_start"] < end]
    return [columns[name] for name in SHOWN], rows


def _counts(statuses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counts = dict.fromkeys(COUNTS, 0)
    for row in statuses:
        counts["minutes"] += 1
        counts["minutes_expected"] += 1
        counts[f"minutes_{row['status']}"] += 1
        if row["reason"]:
            counts[f"minutes_{row['reason']}"] += 1
        for name in ("trades_expected", "trades_received", "trades_missing", "trades_rest"):
            counts[name] += row[name] or 0
    whole = counts["minutes_complete"] + counts["minutes_repaired"]
    condition = "available" if whole == len(statuses) else "degraded" if whole else "missing"
    return counts | {"percent_proven": 100 * whole / len(statuses), "condition": condition}


def fill_quality(connection: psycopg.Connection, now: datetime, hours: int = 48, days: int = 90) -> None:
    """Completeness by hour and day, gaps, and latency."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    midnight = hour.replace(hour=0)
    hourly, daily, gaps, quality = [], [], [], []
    for symbol in PAIRS:
        key = {"exchange": "binance", "symbol": symbol}
        for back in range(hours, -1, -1):
            start = hour - timedelta(hours=back)
            statuses = [minute_status(symbol, start + timedelta(minutes=place)) for place in range(60)]
            hourly.append(key | {"hour_start": start} | _counts(statuses))
            down = [row for row in statuses if row["gap_cause"]]
            if down:
                gaps.append(_gap(symbol, down, start))
        for back in range(days, -1, -1):
            day = midnight - timedelta(days=back)
            statuses = [minute_status(symbol, day + timedelta(minutes=place)) for place in range(0, 1440, 10)]
            daily.append(key | {"day": day.date()} | _counts(statuses))
        for table, spread in (
            ("bronze.trades", 8),
            ("bronze.klines", 20),
            ("bronze.tickers", 12),
            ("silver.ohlcv_1m", 9000),
        ):
            stage = "silver" if table.startswith("silver") else "received"
            latency = {
                f"latency_{stage}_{point}_ms": spread * more
                for point, more in (("p50", 1.0), ("p95", 2.5), ("p99", 6.0))
            }
            quality.append(
                key
                | {"table_name": table, "day": midnight, "rows": 1000}
                | {
                    f"latency_{where}_{point}_ms": latency.get(f"latency_{where}_{point}_ms")
                    for where in ("received", "silver")
                    for point in ("p50", "p95", "p99")
                }
            )
    put(connection, "silver.completeness_hourly", hourly)
    put(connection, "silver.completeness_daily", daily)
    put(connection, "bronze.gaps", gaps)
    put(connection, "gold.data_quality", quality)


def _gap(symbol: str, down: Sequence[Mapping[str, Any]], start: datetime) -> dict[str, Any]:
    row, first = down[0], int(start.timestamp()) // 60
    return {
        "exchange": "binance",
        "symbol": symbol,
        "gap_stream": "trade",
        "event_time": row["interval_start"],
        "first_missing": first,
        "last_missing": first + 540,
        "missing": 0 if row["gap_status"] == "repaired" else 56,
        "cause": row["gap_cause"],
        "status": row["gap_status"],
        "repaired_from": row["gap_repaired_from"] or "",
        "detail": row["evidence"],
        "updated_at": start + timedelta(minutes=32),
    }


def fill_instruments(connection: psycopg.Connection, now: datetime) -> None:
    put(
        connection,
        "silver.instruments",
        [
            {
                "exchange": "binance",
                "symbol": symbol,
                "base_asset": base,
                "quote_asset": "USDT",
                "instrument_id": f"binance:{symbol}:1",
                "valid_from": now - timedelta(hours=5),
                "status": "TRADING",
                "tick_size": Decimal(step),
                "step_size": Decimal("0.00001"),
                "listed_at": now - timedelta(hours=5),
            }
            for symbol, (base, _, step) in {**PAIRS, ONLY_LISTED: ("DOGE", None, "0.00001")}.items()
        ],
    )


def fill_gold(connection: psycopg.Connection, now: datetime) -> None:
    """Portfolios, risk, correlations, forecasts, signals and anomalies."""
    chance = random.Random(7)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    hour = now.replace(minute=0, second=0, microsecond=0)
    for name, units in {
        "balanced": {"BTC": 0.05, "ETH": 0.8, "SOL": 7.0},
        "cold_wallet": {"BTC": 0.15, "XRP": 1000.0},
    }.items():
        put(connection, "gold.portfolio_performance", _portfolio(name, units, midnight))
    risk = []
    for subject in ("balanced", "cold_wallet", *PAIRS):
        for metric, window, value in (
            ("volatility", "30d", 0.55),
            ("value_at_risk", "90d", 0.031),
            ("sharpe", "90d", 1.21),
            ("max_drawdown", "365d", 0.18),
            ("beta", "90d", None),
        ):
            risk.append(
                {
                    "exchange": "binance",
                    "subject_kind": "symbol" if subject in PAIRS else "portfolio",
                    "subject": subject,
                    "as_of": midnight,
                    "metric": metric,
                    "return_interval": "1d",
                    "horizon": "1y",
                    "window_length": window,
                    "confidence": 95 if metric == "value_at_risk" else 0,
                    "value": value and value * chance.uniform(0.7, 1.4),
                    "reason": None if value else "too_little_history",
                    "fills_at": None if value else midnight + timedelta(days=9),
                }
            )
    put(connection, "gold.risk_metrics", risk)
    names = sorted(PAIRS)
    put(
        connection,
        "gold.correlations",
        [
            {
                "exchange": "binance",
                "symbol_a": one,
                "symbol_b": other,
                "quote_asset": "USDT",
                "return_interval": returns,
                "window_length": window,
                "confidence": 0.95,
                "as_of": hour,
                "observations": 700,
                "pearson": chance.uniform(0.2, 0.9) * (1 if (place + more) % 4 else -1),
            }
            for returns, window in (("1m", "24h"), ("1h", "30d"))
            for place, one in enumerate(names)
            for more, other in enumerate(names[place + 1 :])
        ],
    )
    inputs, forecasts = [], []
    for back in range(120, 0, -1):
        at = hour - timedelta(hours=back)
        came = 0.006 + 0.002 * math.sin(back / 9) + chance.uniform(-0.001, 0.001)
        inputs.append(
            {
                "exchange": "binance",
                "symbol": "BTCUSDT",
                "interval_start": at,
                "realised_variance": came**2,
                "is_closed": True,
            }
        )
        for model, error in (("har", 0.0006), ("last_hour", 0.0012)):
            forecasts.append(
                {
                    "exchange": "binance",
                    "symbol": "BTCUSDT",
                    "target": "volatility",
                    "horizon": "1h",
                    "model": model,
                    "is_baseline": model == "last_hour",
                    "interval_start": at,
                    "forecast": came + chance.uniform(-error, error),
                }
            )
    put(connection, "gold.forecast_inputs", inputs)
    put(connection, "gold.forecasts", forecasts)
    put(
        connection,
        "gold.forecast_scores",
        [
            {
                "exchange": "binance",
                "symbol": "BTCUSDT",
                "target": "volatility",
                "horizon": "1h",
                "model": "har",
                "loss": "qlike",
                "window_days": days,
                "baseline": "last_hour",
                "difference": -0.0421 * days / 7,
                "verdict": "har is better than last_hour: its mean qlike is lower by 0.042, surely below 0",
            }
            for days in (7, 30)
        ],
    )
    put(
        connection,
        "gold.signals",
        [
            {
                "exchange": "binance",
                "symbol": symbol,
                "interval": "1m",
                "interval_start": hour - timedelta(minutes=back),
                "rule": "ema_cross",
                "revision": 1,
                "is_retraction": False,
                "side": "buy" if back % 2 else "sell",
                "strength": 0.0021,
                "bridged": False,
            }
            for symbol in PAIRS
            for back in (5, 46, 101)
        ],
    )
    put(
        connection,
        "gold.anomalies",
        [
            {
                "exchange": "binance",
                "symbol": symbol,
                "interval": "1m",
                "interval_start": hour - timedelta(minutes=71),
                "kind": "volume",
                "score": 6.2,
                "explanation": "Volume of 9.1 is 6.2 robust deviations above the 1.3 that is usual at this hour.",
                "is_retracted": False,
            }
            for symbol in PAIRS
        ],
    )


def _portfolio(name: str, units: Mapping[str, float], midnight: datetime) -> list[dict[str, Any]]:
    rows, started = [], midnight - timedelta(days=120)
    first = {asset: price_at(f"{asset}USDT", started.timestamp()) for asset in units}
    put_in = sum(count * first[asset] for asset, count in units.items())
    peak, before, worst = 1.0, 1.0, 0.0
    for back in range(120, -1, -1):
        day = midnight - timedelta(days=back)
        prices = {asset: price_at(f"{asset}USDT", day.timestamp()) for asset in units}
        value = sum(count * prices[asset] for asset, count in units.items())
        growth = value / put_in
        peak = max(peak, growth)
        worst = min(worst, growth / peak - 1)
        common = {"portfolio": name, "day": day, "exchange": "binance", "started_on": started, "is_closed": back > 0}
        benchmark = prices["BTC"] / first["BTC"]
        rows.append(
            common
            | {
                "asset": "TOTAL",
                "units": None,
                "value": Decimal(f"{value:.6f}"),
                "weight": 1.0,
                "invested": Decimal(f"{put_in:.6f}"),
                "profit_day": Decimal(f"{put_in * (growth - before):.6f}"),
                "return_day": growth / before - 1,
                "return_month": 0.0213,
                "return_since_start": growth - 1,
                "growth": growth,
                "drawdown": growth / peak - 1,
                "max_drawdown": worst,
                "benchmark": "BTC",
                "benchmark_growth": benchmark,
                "excess_return": growth - benchmark,
                "contribution": None,
            }
        )
        before = growth
        for asset, count in units.items():
            worth = count * prices[asset]
            rows.append(
                dict.fromkeys(rows[0])
                | common
                | {
                    "asset": asset,
                    "units": Decimal(str(count)),
                    "value": Decimal(f"{worth:.6f}"),
                    "weight": worth / value,
                    "contribution": count * (prices[asset] - first[asset]) / put_in,
                }
            )
    return rows


def fill(connection: psycopg.Connection, now: datetime, minutes: int) -> None:
    """All of it, up to the last whole minute before `now`, less one: as the lake has it in mid-minute."""
    end = int(now.timestamp()) // 60 * MINUTE - MINUTE
    fill_instruments(connection, now)
    fill_candles(connection, end, minutes)
    fill_quality(connection, now)
    fill_gold(connection, now)


class Stream:
    """Sends events of the made market into Kafka, as the streaming service does."""

    def __init__(self, settings: Settings) -> None:
        admin = KafkaAdminClient(bootstrap_servers=settings.kafka)
        wanted = {topic(symbol) for symbol in PAIRS} - set(admin.list_topics())
        if wanted:
            # it says itself when they came
            one = {"num_partitions": 1, "replication_factor": 1, "configs": {"message.timestamp.type": "CreateTime"}}
            admin.create_topics(dict.fromkeys(wanted, one), wait_for_metadata=True)
        admin.close()
        self._producer = KafkaProducer(bootstrap_servers=settings.kafka, linger_ms=5, reconnect_backoff_max_ms=1000)
        self._ids: dict[str, int] = {}
        self._told: dict[str, int] = {}
        """By symbol the newest minute whose closed kline was sent."""
        self._stopping = threading.Event()

    def send(self, *events: AnyEvent, at_ms: int | None = None) -> None:
        """Send events; `at_ms` is when they came, now unless it is given."""
        for event in events:
            self._producer.send(
                topic(event.symbol),
                encode(event),
                message_key(event.exchange, event.stream),
                timestamp_ms=at_ms or int(time.time() * 1000),
            )
        self._producer.flush()

    def close(self) -> None:
        self._stopping.set()
        self._producer.close()

    def past(self, now: float, minutes: int, symbols: Iterable[str] = PAIRS) -> None:
        """The klines of the minutes before the present one, and its trades so far."""
        this = int(now) // 60 * MINUTE
        for symbol in symbols:
            for back in range(minutes, 0, -1):
                start = this - back * MINUTE
                bar = minute_bar(symbol, start)
                self.send(kline(symbol, bar, self._next(symbol, bar.trade_count)), at_ms=(start + MINUTE) // 1000)
                self._told[symbol] = start

    def second(self, symbol: str, now: float) -> None:
        """What comes in one second, and the closed klines of the minutes that ended since."""
        start, at = int(now) // 60 * MINUTE, int(now * 1_000_000)
        price = tick(symbol, price_at(symbol, now))
        identity = self._next(symbol, 1)
        step = Decimal(PAIRS[symbol][2])
        levels = [Decimal(str(round(0.1 + 0.37 * abs(math.sin(now + level)), 5))) for level in range(5)]
        self.send(
            Trade(
                **_common(symbol, at),
                trade_id=identity,
                price=price,
                quantity=levels[0],
                quote_quantity=price * levels[0],
                is_buyer_maker=identity % 3 == 0,
            ),
            DepthSnapshot(
                **_common(symbol, at),
                update_id=at,
                levels=5,
                bids=tuple((price - step * (level + 1), size) for level, size in enumerate(levels)),
                asks=tuple((price + step * (level + 1), size) for level, size in enumerate(reversed(levels))),
            ),
            ticker(symbol, price, at),
            kline(symbol, minute_bar(symbol, start, now % 60), identity),
        )
        for ended in range(self._told[symbol] + MINUTE, start, MINUTE):
            self.send(kline(symbol, minute_bar(symbol, ended), identity - 1))
            self._told[symbol] = ended

    def run(self) -> None:
        """Send until it is closed; in a thread of its own."""
        while not self._stopping.wait(1 - time.time() % 1):
            now = time.time()
            with suppress(KafkaError):  # it was killed; what comes later goes on
                for symbol in PAIRS:
                    self.second(symbol, now)

    def _next(self, symbol: str, count: int) -> int:
        self._ids[symbol] = self._ids.get(symbol, 1_000) + count
        return self._ids[symbol]


def _common(symbol: str, at: int) -> dict[str, Any]:
    return {
        "exchange": "binance",
        "symbol": symbol,
        "base_asset": PAIRS[symbol][0],
        "quote_asset": "USDT",
        "event_time": at,
        "received_at": at,
        "source": "websocket",
        "connection_id": "made",
    }


def trade(symbol: str, at: int, identity: int, price: str, quantity: str = "1") -> Trade:
    """One trade; `at` in microseconds."""
    paid, size = Decimal(price), Decimal(quantity)
    return Trade(
        **_common(symbol, at),
        trade_id=identity,
        price=paid,
        quantity=size,
        quote_quantity=paid * size,
        is_buyer_maker=False,
    )


def kline(symbol: str, bar: Bar, last_id: int) -> Kline:
    """The exchange's candle of a minute, whose last trade is `last_id`."""
    return Kline(
        **_common(symbol, bar.start + 30_000_000),
        interval="1m",
        open_time=bar.start,
        close_time=bar.start + MINUTE - 1,
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=bar.volume,
        quote_volume=bar.quote_volume,
        trade_count=bar.trade_count,
        taker_buy_volume=bar.volume,
        taker_buy_quote_volume=bar.quote_volume,
        first_trade_id=last_id - bar.trade_count + 1,
        last_trade_id=last_id,
        is_closed=bar.is_closed,
    )


def ticker(symbol: str, price: Decimal, at: int) -> Ticker:
    """The rolling 24 hours."""
    before = tick(symbol, price_at(symbol, at / 1e6 - 86_400))
    return Ticker(
        **_common(symbol, at),
        last_price=price,
        last_quantity=Decimal("0.1"),
        open_price=before,
        high_price=max(price, before),
        low_price=min(price, before),
        price_change=price - before,
        price_change_percent=round(100 * (price - before) / before, 3),
        weighted_average_price=price,
        volume=Decimal("18234.5"),
        quote_volume=Decimal("18234.5") * price,
        bid_price=price,
        bid_quantity=Decimal(1),
        ask_price=price,
        ask_quantity=Decimal(1),
        open_time=at - 86_400_000_000,
        close_time=at,
        first_trade_id=1,
        last_trade_id=2,
        trade_count=120_000,
    )
