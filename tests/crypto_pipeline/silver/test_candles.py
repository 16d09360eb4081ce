"""Candles against a plain loop, against another program's, and against themselves on another way."""

import gzip
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import agg_trades, klines, trades
from crypto_pipeline.silver import ohlcv, ohlcv_1m
from crypto_pipeline.silver.candle_frames import in_every_interval, interval_start
from crypto_pipeline.silver.candles import INTERVALS, LONGER
from shared.events import AggTrade, AnyEvent, Trade, exact_product
from tests.crypto_pipeline.conftest import MINUTE, START, agg_trade, by_hand, in_bronze, kline, trade

Messages = Callable[[Iterable[AnyEvent]], DataFrame]
LATER = datetime(2100, 1, 1, tzinfo=UTC)
FEW = settings(
    max_examples=5,  # each is several Spark jobs
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def minutes_of(
    tape: Iterable[AnyEvent],
    as_messages: Messages,
    view: Iterable[AnyEvent] = (),
    merged: Iterable[AnyEvent] = (),
    now: datetime = LATER,
) -> DataFrame:
    """The one-minute candles of some trades, klines and merged fills."""
    by_minute = ("interval_start", ohlcv_1m.minute_of("event_time"))
    ours = ohlcv_1m.from_fills(
        ohlcv_1m.fills(
            in_bronze(trades, tape, as_messages).withColumn(*by_minute),
            in_bronze(agg_trades, merged, as_messages).withColumn(*by_minute),
        )
    )
    theirs = ohlcv_1m.exchange_view(ohlcv_1m.closed_minutes(in_bronze(klines, view, as_messages)))
    return ohlcv_1m.chosen(ours, theirs, ours.limit(0), now).localCheckpoint()


def longer_of(
    minutes: DataFrame, as_messages: Messages, view: Iterable[AnyEvent] = (), now: datetime = LATER
) -> DataFrame:
    """The longer candles of some minutes, given the exchange's view of quiet ones."""
    closed = ohlcv_1m.closed_minutes(in_bronze(klines, view, as_messages)).filter("trade_count = 0")
    quiet = in_every_interval(closed.select("exchange", "symbol", "interval_start").distinct())
    return ohlcv.from_minutes(in_every_interval(minutes, ohlcv.SUMMED), quiet, now)


def found(candles: DataFrame, like: dict[int, dict[str, object]]) -> dict[int, dict[str, object]]:
    """The candles that Spark made, in the form of `by_hand`."""
    names = list(next(iter(like.values())))
    rows = candles.withColumn("start", F.unix_micros("interval_start")).collect()
    return {row.start: {name: row[name] for name in names} for row in rows}


prices = st.decimals(min_value="0.000000000001", max_value="1000000", places=12)
sizes = st.decimals(min_value="0.000001", max_value="1000000000000", places=6)
tapes = st.lists(
    st.tuples(st.integers(0, 3 * 86_400_000_000), prices, sizes), min_size=1, max_size=60, unique_by=lambda one: one[0]
)


@FEW
@given(tapes, st.randoms(use_true_random=False))
def test_candles_equal_a_plain_loop_whatever_the_order_of_arrival(as_messages: Messages, made, random) -> None:  # type: ignore[no-untyped-def]
    tape = [trade(i, START + at, str(p), str(q)) for i, (at, p, q) in enumerate(sorted(made), start=1)]
    shuffled = random.sample(tape, len(tape))
    minutes = minutes_of(shuffled, as_messages).cache()
    expected = by_hand(tape, 60)
    assert found(minutes, expected) == expected

    longer = longer_of(minutes, as_messages).cache()
    for name, seconds in LONGER.items():
        expected = by_hand(tape, seconds)
        assert found(longer.filter(F.col("interval") == name), expected) == expected, name

    every_rule = " and ".join(f"({rule})" for rule in ohlcv_1m.TABLE.rules.values())
    together = minutes.unionByName(longer, allowMissingColumns=True)
    assert together.filter(f"not coalesce({every_rule}, false)").count() == 0, "the low is the lowest, and so on"
    volumes = together.groupBy("interval").agg(F.sum("volume").alias("volume")).collect()
    assert {row.volume for row in volumes} == {sum((one.quantity for one in tape), Decimal(0))}, "nothing is lost above"


def test_the_edges_of_a_minute_belong_to_the_minute_that_starts(as_messages: Messages) -> None:
    tape = [trade(1, START - 1, "1", "1"), trade(2, START, "2", "1"), trade(3, START + MINUTE - 1, "3", "1")]
    rows = minutes_of(tape, as_messages).orderBy("interval_start").collect()
    assert [(row.open, row.close, row.trade_count) for row in rows] == [(1, 1, 1), (2, 3, 2)]


EDGES = {
    "MINUTE": "2026-08-06T07:08",
    "HOUR": "2026-08-06T09:00",
    "DAY": "2026-08-07",
    "MONTH": "2026-09-01",
    "LEAPDAY": "2028-02-29",
    "LEAPSECOND": "2017-01-01",  # 23:59:60 came before it: no time of an exchange names that second
}


def test_every_edge_belongs_to_the_interval_that_starts_there_in_microseconds_and_in_milliseconds(
    as_messages: Messages,
) -> None:
    at = {name: round(datetime.fromisoformat(edge).replace(tzinfo=UTC).timestamp()) for name, edge in EDGES.items()}
    steps = (-1000, -1, 0, 1000)
    tape = [
        trade(n, edge * 1_000_000 + step, "1", "1", symbol=name)
        for name, edge in at.items()
        for n, step in enumerate(steps, start=1)
    ]
    minutes = minutes_of(tape, as_messages).cache()
    rows = minutes.unionByName(longer_of(minutes, as_messages), allowMissingColumns=True)
    starts: dict[tuple[str, str], dict[int, tuple[int, str]]] = {}
    for row in rows.select("*", F.unix_seconds("interval_start").alias("start")).collect():
        starts.setdefault((row.symbol, row.interval), {})[row.start] = (row.trade_count, row.month)
    for name, edge in at.items():
        for interval, seconds in INTERVALS.items():
            before, after = (edge - 1) // seconds * seconds, edge // seconds * seconds
            counts = {before: 2, after: 2} if before != after else {after: 4}
            months = {start: datetime.fromtimestamp(start, UTC).strftime("%Y-%m") for start in counts}
            assert starts[name, interval] == {start: (n, months[start]) for start, n in counts.items()}, interval


def test_intervals_start_at_midnight_utc(as_messages: Messages, spark: SparkSession) -> None:
    times = spark.sql("select timestamp'2026-03-29 01:59:59.999999' as t")
    starts = {name: times.select(interval_start(F.col("t"), s).alias("s")).first().s for name, s in INTERVALS.items()}
    assert starts["1d"] == datetime(2026, 3, 29)  # noqa: DTZ001 (pyspark gives naive times of the session, UTC)
    assert starts["4h"] == datetime(2026, 3, 29)  # noqa: DTZ001
    assert starts["15m"] == datetime(2026, 3, 29, 1, 45)  # noqa: DTZ001


class TestProof:
    """The minute at START with the trades 5, 6 and 7, between 4 and 8 in the minutes around it."""

    TAPE = (trade(5, START, "1", "1"), trade(6, START + 1, "1", "1"), trade(7, START + 2, "1", "1"))
    AROUND = (trade(4, START - 1, "1", "1"), trade(8, START + MINUTE, "1", "1"))
    NOW = datetime.fromtimestamp(START / 1e6 + 90, UTC)

    def label(
        self,
        as_messages: Messages,
        tape: Iterable[AnyEvent],
        *view: AnyEvent,
        merged: Iterable[AnyEvent] = (),
        now: datetime = NOW,
    ) -> tuple[str, str, str, int]:
        rows = minutes_of(tape, as_messages, view, merged, now)
        row = rows.filter(F.unix_micros("interval_start") == START).first()
        return row.source, row.status, row.proof, row.trade_count

    def test_the_websockets_kline_makes_the_candle_and_our_ids_prove_it(self, as_messages: Messages) -> None:
        assert self.label(as_messages, self.TAPE, kline(START, 5, 7, 3)) == ("websocket", "complete", "trade_ids", 3)

    def test_a_minute_that_lacks_a_trade_rests_on_the_kline_alone(self, as_messages: Messages) -> None:
        for missing in self.TAPE:
            rest = [one for one in self.TAPE if one is not missing]
            label = self.label(as_messages, rest, kline(START, 5, 7, 3))
            assert label == ("websocket", "complete", "exchange_kline", 3)

    def test_ids_that_the_exchange_never_issued_leave_the_minute_as_sure(self, as_messages: Messages) -> None:
        tape = [self.TAPE[0], self.TAPE[2]]
        by_rest = kline(START, None, None, 2, source="rest", received_at=None)  # type: ignore[arg-type]
        assert self.label(as_messages, tape, kline(START, 5, 7, 2)) == ("websocket", "complete", "trade_ids", 2)
        assert self.label(as_messages, tape, by_rest) == ("trades", "complete", "trade_ids", 2)

    def test_a_trade_that_came_by_rest_makes_the_minute_repaired(self, as_messages: Messages) -> None:
        tape = [*self.TAPE[:2], trade(7, START + 2, "1", "1", source="rest", received_at=None)]
        assert self.label(as_messages, tape, kline(START, 5, 7, 3)) == ("websocket", "repaired", "trade_ids", 3)

    def test_a_trade_that_came_from_the_archive_beside_streamed_ones_makes_the_minute_repaired(
        self, as_messages: Messages
    ) -> None:
        archived = [trade(5 + n, START + n, "1", "1", source="archive", received_at=None) for n in range(3)]
        mixed = [*self.TAPE[:2], archived[2]]
        assert self.label(as_messages, mixed, kline(START, 5, 7, 3)) == ("websocket", "repaired", "trade_ids", 3)
        assert self.label(as_messages, archived, kline(START, 5, 7, 3)) == ("websocket", "complete", "trade_ids", 3)

    def test_without_a_kline_the_neighbouring_ids_prove_the_minute(self, as_messages: Messages) -> None:
        assert self.label(as_messages, [*self.TAPE, *self.AROUND]) == ("trades", "complete", "trade_ids", 3)

    def test_without_a_kline_and_a_neighbour_the_minute_is_pending_and_after_a_day_partial(
        self, as_messages: Messages
    ) -> None:
        for missing in self.AROUND:
            tape = [one for one in (*self.TAPE, *self.AROUND) if one is not missing]
            assert self.label(as_messages, tape) == ("trades", "pending", "none", 3)
            assert self.label(as_messages, tape, now=LATER) == ("trades", "partial", "none", 3)

    def test_a_minute_that_lacks_a_trade_within_is_not_proven_by_its_neighbours(self, as_messages: Messages) -> None:
        tape = [self.TAPE[0], self.TAPE[2], *self.AROUND]
        assert self.label(as_messages, tape) == ("trades", "pending", "none", 2)

    def test_the_websocket_goes_before_our_trades_and_these_before_rest_and_that_before_the_archive(
        self, as_messages: Messages
    ) -> None:
        live = kline(START, 5, 7, 3)
        rest = kline(START, None, None, 3, source="rest", received_at=None)  # type: ignore[arg-type]
        archive = kline(START, None, None, 3, source="archive", received_at=None)  # type: ignore[arg-type]
        assert self.label(as_messages, self.TAPE, live, rest, archive)[0] == "websocket"
        assert self.label(as_messages, self.TAPE, rest, archive) == ("trades", "complete", "trade_ids", 3)
        assert self.label(as_messages, self.TAPE[:2], rest, archive) == ("rest", "repaired", "exchange_kline", 3)
        assert self.label(as_messages, [], archive) == ("archive", "complete", "exchange_kline", 3)

    def test_merged_fills_stand_for_trades_that_are_missing_and_count_none_twice(self, as_messages: Messages) -> None:
        merged = [agg_trade(9, START, 5, 6), agg_trade(10, START + 2, 7, 7)]
        around = [self.TAPE[1], *self.AROUND]
        assert self.label(as_messages, around, merged=merged) == ("trades", "repaired", "agg", 3)
        assert self.label(as_messages, self.TAPE, kline(START, 5, 7, 3), merged=merged)[2] == "trade_ids"
        assert self.label(as_messages, self.TAPE[:1], kline(START, 5, 7, 3), merged=merged)[2] == "agg"

    def test_a_kline_that_cannot_be_true_is_as_good_as_none(self, as_messages: Messages) -> None:
        wrong = kline(START, 5, 7, 3, high=Decimal("0.5"))
        assert self.label(as_messages, self.TAPE, wrong) == ("trades", "pending", "none", 3)

    def test_a_quiet_minute_has_no_candle(self, as_messages: Messages) -> None:
        assert minutes_of([], as_messages, [kline(START, -1, -1, 0)]).count() == 0


def sources_of(tape: Iterable[AnyEvent], view: Iterable[AnyEvent], as_messages: Messages) -> dict[str, DataFrame]:
    """What the candles are built from."""
    return {
        "bronze.trades": in_bronze(trades, tape, as_messages),
        "bronze.klines": in_bronze(klines, view, as_messages),
        "bronze.agg_trades": in_bronze(agg_trades, [], as_messages),
    }


class TestRevision:
    def versions(self, spark: SparkSession, as_messages: Messages, tape: list[Trade], current: DataFrame) -> DataFrame:
        source = sources_of(tape, [], as_messages)
        keys = minutes_of(tape, as_messages).select(*ohlcv_1m.TABLE.key)
        return ohlcv_1m.build(keys, source, current, LATER).localCheckpoint()

    def nothing(self, spark: SparkSession) -> DataFrame:
        return spark.createDataFrame([], ", ".join(f"{c.name} {c.type}" for c in ohlcv_1m.TABLE.columns))

    def test_building_again_changes_nothing(self, spark: SparkSession, as_messages: Messages) -> None:
        tape = [trade(1, START, "1", "1"), trade(2, START + MINUTE, "2", "3")]
        first = self.versions(spark, as_messages, tape, self.nothing(spark))
        assert first.count() == 2
        assert self.versions(spark, as_messages, tape, first).count() == 0

    def test_a_late_trade_opens_its_candle_again_and_no_other(self, spark: SparkSession, as_messages: Messages) -> None:
        tape = [trade(1, START, "1", "1"), trade(3, START + MINUTE, "2", "3")]
        first = self.versions(spark, as_messages, tape, self.nothing(spark))
        late = [*tape, trade(2, START + 5, "9", "1")]
        again = self.versions(spark, as_messages, late, first).collect()
        assert [(row.high, row.revision) for row in again] == [(9, 2)]

    def test_what_comes_late_proves_the_minutes_beside_it_too(self, spark: SparkSession, as_messages: Messages) -> None:
        tape = [trade(3, START - MINUTE, "1", "1"), trade(4, START, "1", "1")]
        first = self.versions(spark, as_messages, tape, self.nothing(spark)).cache()
        assert {row.status for row in first.collect()} == {"partial"}
        late = trade(5, START + 2 * MINUTE, "1", "1")
        keys = minutes_of([late], as_messages).select(*ohlcv_1m.TABLE.key)
        again = ohlcv_1m.build(keys, sources_of([*tape, late], [], as_messages), first, LATER)
        assert {row.first_trade_id: row.status for row in again.collect()} == {4: "complete", 5: "partial"}

    def test_a_candle_that_was_open_is_not_a_new_revision(self, spark: SparkSession, as_messages: Messages) -> None:
        tape = [trade(1, START, "1", "1")]
        is_open = self.versions(spark, as_messages, tape, self.nothing(spark)).withColumn("is_closed", F.lit(False))
        again = self.versions(spark, as_messages, [*tape, trade(2, START + 5, "9", "1")], is_open).collect()
        assert [(row.high, row.revision, row.is_closed) for row in again] == [(9, 1, True)]

    def test_a_proof_that_comes_later_changes_neither_revision_nor_when_it_was_known(
        self, spark: SparkSession, as_messages: Messages
    ) -> None:
        tape = [trade(1, START, "1", "1")]
        first = self.versions(spark, as_messages, tape, self.nothing(spark)).cache()
        source = sources_of(tape, [kline(START, 1, 1, 1)], as_messages)
        row = ohlcv_1m.build(first.select(*ohlcv_1m.TABLE.key), source, first, LATER).first()
        assert (row.status, row.revision, row.known_at) == ("complete", 1, first.first().known_at)


def test_an_interval_of_one_price_whose_parts_the_exchange_rounded_breaks_no_rule(as_messages: Messages) -> None:
    price, size = "0.03456", "0.0123"  # 0.000425088, of which the exchange says 0.00042508
    tape = [trade(number, START + (number - 1) * MINUTE, price, size) for number in (1, 2, 3)]
    rounded = {"quote_volume": Decimal("0.00042508"), "volume": Decimal(size), "taker_buy_volume": Decimal(0)}
    prices = dict.fromkeys(("open", "high", "low", "close"), Decimal(price))
    minutes = minutes_of(tape, as_messages, [kline(START, 1, 1, 1, **prices, **rounded)])
    assert {row.source for row in minutes.collect()} == {"websocket", "trades"}
    for rule in ohlcv.TABLE.rules.values():
        assert longer_of(minutes, as_messages).filter(f"not ({rule})").count() == 0, rule


def test_an_interval_with_ids_missing_between_its_minutes_is_partial(as_messages: Messages) -> None:
    tape = [trade(1, START, "1", "1"), trade(3, START + MINUTE, "1", "1")]
    view = [kline(START, 1, 1, 1), kline(START + MINUTE, 3, 3, 1)]
    minutes = minutes_of(tape, as_messages, view)
    assert {row.status for row in minutes.collect()} == {"complete"}
    longer = longer_of(minutes, as_messages)
    assert {row.status for row in longer.collect()} == {"partial"}


class TestWholeness:
    """Five minutes from 07:05, of which START is the third."""

    FIRST = START - 2 * MINUTE

    def status(self, as_messages: Messages, minutes: list[int], quiet: list[int]) -> str:
        tape = [trade(i, self.FIRST + m * MINUTE, "1", "1") for i, m in enumerate(minutes, start=1)]
        view: list[AnyEvent] = [kline(self.FIRST + m * MINUTE, i, i, 1) for i, m in enumerate(minutes, start=1)]
        view += [kline(self.FIRST + m * MINUTE, -1, -1, 0) for m in quiet]
        row = longer_of(minutes_of(tape, as_messages, view), as_messages, view).filter("interval = '5m'").first()
        return str(row.status)

    def test_all_minutes_there_is_complete(self, as_messages: Messages) -> None:
        assert self.status(as_messages, [0, 1, 2, 3, 4], []) == "complete"

    def test_a_minute_that_the_exchange_says_was_quiet_is_accounted_for(self, as_messages: Messages) -> None:
        assert self.status(as_messages, [0, 1, 2], [3, 4]) == "complete"

    @pytest.mark.parametrize("minutes", [[1, 2, 3, 4], [0, 1, 2, 3], [0, 4]])
    def test_a_minute_of_which_nothing_is_known_is_partial_at_the_edges_too(
        self, as_messages: Messages, minutes: list[int]
    ) -> None:
        assert self.status(as_messages, minutes, []) == "partial"


def test_an_unfinished_interval_is_there_and_marked(as_messages: Messages) -> None:
    minutes = minutes_of([trade(1, START, "1", "1")], as_messages, [kline(START, 1, 1, 1)])
    now = datetime.fromtimestamp(START / 1e6 + 61, UTC)
    rows = longer_of(minutes, as_messages, now=now).collect()
    assert {(row.interval, row.is_closed, row.status) for row in rows} == {(name, False, "pending") for name in LONGER}


@pytest.mark.parametrize(("interval", "count"), [("1m", 2469), ("5m", 706)])
def test_candles_of_real_trades_equal_those_that_another_program_made(
    interval: str, count: int, recorded: Path, as_messages: Messages
) -> None:
    folder = recorded / "xrp-eth-trades-and-candles"
    raw = json.loads(gzip.decompress((folder / "XRP_ETH-trades.json.gz").read_bytes()), parse_float=str)
    tape = [
        trade(int(i), t * 1000, p, q, is_buyer_maker=side == "sell", symbol="XRPETH") for t, i, _, side, p, q, _ in raw
    ]
    minutes = minutes_of(tape, as_messages)
    made = minutes if interval == "1m" else longer_of(minutes, as_messages).filter(F.col("interval") == interval)
    ours = made.orderBy("interval_start").toPandas()
    theirs = pd.read_feather(folder / f"XRP_ETH-{interval}.feather")
    assert len(ours) == len(theirs) == count
    assert (ours["interval_start"].dt.tz_localize("UTC") == theirs["date"]).all()
    for name in ("open", "high", "low", "close", "volume"):
        assert (ours[name].astype(float) - theirs[name]).abs().max() < 1e-9, name


def test_recorded_klines_equal_the_fills_beside_them_wherever_their_ids_are_whole(
    recorded: Path, as_messages: Messages
) -> None:
    klines_of: dict[str, dict[str, str]] = {}
    fills_of: dict[str, list[AggTrade]] = {}
    with gzip.open(recorded / "venue-recordings" / "BINANCE.ws.1.0.gz", "rt") as lines:
        for line in lines:
            _, _, message = line.partition(": ")
            data = json.loads(message).get("data", {}) if message.startswith("{") else {}
            if data.get("e") == "kline":
                klines_of[data["s"]] = data["k"]
            elif data.get("e") == "aggTrade":
                price, size = Decimal(data["p"]), Decimal(data["q"])
                values = {"price": price, "quantity": size, "quote_quantity": exact_product(price, size)}
                values |= {"symbol": data["s"], "is_buyer_maker": data["m"]}
                fill = agg_trade(data["a"], data["T"] * 1000, data["f"], data["l"], **values)
                fills_of.setdefault(data["s"], []).append(fill)
    compared = 0
    for symbol, said in klines_of.items():
        ids = {one for fill in fills_of[symbol] for one in range(fill.first_trade_id, fill.last_trade_id + 1)}
        if ids != set(range(int(said["f"]), int(said["L"]) + 1)):
            continue
        row = minutes_of([], as_messages, merged=fills_of[symbol]).first()
        names = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "quote_volume": "q"}
        names |= {"taker_buy_volume": "V", "taker_buy_quote_volume": "Q", "trade_count": "n"}
        names |= {"first_trade_id": "f", "last_trade_id": "L"}
        assert {name: row[name] for name in names} == {name: Decimal(said[of]) for name, of in names.items()}
        assert row.proof == "none", "a kline that is not closed proves nothing"
        compared += 1
    assert (compared, len(klines_of)) == (1, 2), "of the other minute the recording has only the last fill"
