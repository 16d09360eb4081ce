"""The exchange's view of a minute beside ours."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import agg_trades, klines, trades
from crypto_pipeline.silver import instruments
from crypto_pipeline.silver import ohlcv_1m_reconciliation as reconciliation
from shared.events import AnyEvent, Kline, Trade
from shared.tables import Table
from tests.crypto_pipeline.conftest import MINUTE, START, agg_trade, by_hand, in_bronze, kline, trade

Messages = Callable[[Iterable[AnyEvent]], DataFrame]
MOMENT = datetime.fromtimestamp(START / 1e6, UTC)
LATER = MOMENT + timedelta(days=1)
TAPE = tuple(trade(5 + n, START + n, price, "0.5") for n, price in enumerate(("2", "3.000000000001", "2.5")))


def kline_of(tape: Iterable[Trade], **changes: Any) -> Kline:
    """The kline of one minute's trades."""
    [(start, values)] = by_hand(list(tape), 60).items()
    del values["vwap"]
    first, last, count = (values.pop(name) for name in ("first_trade_id", "last_trade_id", "trade_count"))
    return kline(start, first, last, count, **{**values, **changes})  # type: ignore[arg-type]


def by_rest(one: Any, **changes: Any) -> Any:
    """The same by REST; a kline says no ids there."""
    values = {name: getattr(one, name) for name in one.__struct_fields__} | {"source": "rest", "received_at": None}
    if isinstance(one, Kline):
        values |= {"first_trade_id": None, "last_trade_id": None}
    return type(one)(**{**values, **changes})


def table(spark: SparkSession, contract: Table, rows: Iterable[dict[str, Any]] = ()) -> DataFrame:
    schema = ", ".join(f"{c.name} {c.type}" for c in contract.columns)
    return spark.createDataFrame([tuple(row.get(c.name) for c in contract.columns) for row in rows], schema)


class Reconciled:
    """What a first run makes of some events, and a second of more."""

    def __init__(self, spark: SparkSession, as_messages: Messages) -> None:
        self._spark = spark
        self._as_messages = as_messages
        self.current = table(spark, reconciliation.TABLE)

    def _sources(
        self, tape: Iterable[AnyEvent], view: Iterable[AnyEvent], merged: Iterable[AnyEvent], spans: list[Any]
    ) -> dict[str, DataFrame]:
        names = ("valid_from", "valid_to", "status")
        told = [{"exchange": "binance", "symbol": "BTCUSDT", **dict(zip(names, s, strict=True))} for s in spans]
        return {
            "bronze.trades": in_bronze(trades, tape, self._as_messages),
            "bronze.klines": in_bronze(klines, view, self._as_messages),
            "bronze.agg_trades": in_bronze(agg_trades, merged, self._as_messages),
            "silver.instruments": table(self._spark, instruments.TABLE, told),
        }

    def run(
        self,
        tape: Iterable[AnyEvent] = (),
        view: Iterable[AnyEvent] = (),
        merged: Iterable[AnyEvent] = (),
        spans: Iterable[Any] = (),
        now: datetime = LATER,
        new: dict[str, Iterable[Any]] | None = None,
    ) -> list[Any]:
        """The rows that a run writes; `new` names what of it is new, where not all is."""
        everything = {"tape": tape, "view": view, "merged": merged, "spans": list(spans)}
        sources = self._sources(**everything)  # type: ignore[arg-type]
        none: dict[str, Any] = {"tape": (), "view": (), "merged": (), "spans": []}
        changes = sources if new is None else self._sources(**{**none, **new})
        keys = reconciliation.touched(changes, self.current, now)
        self.current = reconciliation.build(keys, sources, self.current, now).localCheckpoint()
        rules = {name: F.expr(f"not coalesce({rule}, false)") for name, rule in reconciliation.TABLE.rules.items()}
        broken = self.current.select(*[F.count_if(rule).alias(name) for name, rule in rules.items()]).first()
        assert broken.asDict() == dict.fromkeys(rules, 0)
        rows: list[Any] = self.current.collect()
        return rows


@pytest.fixture
def reconciled(spark: SparkSession, as_messages: Messages) -> Reconciled:
    return Reconciled(spark, as_messages)


def test_both_views_stay_where_they_agree(reconciled: Reconciled) -> None:
    [row] = reconciled.run(TAPE, [kline_of(TAPE)])
    assert (row.agrees, row.explanation, row.exchange_source) == (True, None, "websocket")
    [expected] = by_hand(list(TAPE), 60).values()
    for name in reconciliation.FIELDS:
        assert (row[f"our_{name}"], row[f"exchange_{name}"], row[f"{name}_difference"]) == (
            expected[name],
            expected[name],
            0,
        ), name


def test_the_difference_of_every_field_is_exact(reconciled: Reconciled) -> None:
    off = {name: Decimal("0.000000000000000001") * n for n, name in enumerate(reconciliation.PRICES_AND_VOLUMES, 1)}
    off["low"] = -off["low"]  # so that it can be true
    [values] = by_hand(list(TAPE), 60).values()
    theirs = kline_of(TAPE, **{name: values[name] + by for name, by in off.items()})  # type: ignore[operator]
    [row] = reconciled.run(TAPE, [theirs])
    assert {name: row[f"{name}_difference"] for name in off} == {name: -by for name, by in off.items()}
    assert (row.agrees, row.explanation) == (False, "unexplained")


def test_ids_that_the_exchange_does_not_say_are_no_difference(reconciled: Reconciled) -> None:
    archive = by_rest(kline_of(TAPE), source="archive")
    [row] = reconciled.run(TAPE, [archive])
    assert (row.agrees, row.explanation, row.first_trade_id_difference) == (True, None, None)


def test_where_nothing_traded_and_we_have_nothing_they_agree(reconciled: Reconciled) -> None:
    [row] = reconciled.run([], [kline(START, -1, -1, 0)])
    assert (row.agrees, row.explanation, row.exchange_trade_count, row.our_trade_count) == (True, None, 0, None)


HALT = (MOMENT - timedelta(hours=1), MOMENT + timedelta(seconds=30), "HALT")
TINY = (trade(5, START, "0.03456", "0.0123"),)  # 0.000425088, of which the exchange says 0.00042508
ROUNDED = kline_of(TINY, quote_volume=Decimal("0.00042508"))
IMPOSSIBLE = kline_of(TAPE, high=Decimal(1))
OTHER = by_rest(kline_of(TAPE), source="archive", volume=Decimal(9))
MERGED = (agg_trade(9, START, 5, 6),)


@pytest.mark.parametrize(
    ("explanation", "agrees", "given"),
    [
        ("halt", False, {"tape": TAPE, "spans": [HALT]}),
        ("kline_impossible", False, {"tape": TAPE, "view": [IMPOSSIBLE]}),
        ("kline_missing", False, {"tape": TAPE}),
        ("tape_missing", False, {"view": [kline_of(TAPE)]}),
        ("partial_tape", False, {"tape": TAPE[:2], "view": [kline_of(TAPE)]}),
        ("late_trade", False, {"tape": TAPE, "view": [kline_of(TAPE[:2])]}),
        ("late_trade", False, {"tape": TAPE, "view": [kline(START, -1, -1, 0)]}),
        ("rounding", False, {"tape": TINY, "view": [ROUNDED]}),
        ("klines_differ", False, {"tape": TAPE, "view": [kline_of(TAPE, close=Decimal("2.1")), OTHER]}),
        ("klines_differ", True, {"tape": TAPE, "view": [kline_of(TAPE), OTHER]}),
        ("merged_fills", False, {"merged": MERGED, "view": [kline_of(TAPE[:2])]}),
        ("unexplained", False, {"tape": TAPE, "view": [kline_of(TAPE, close=Decimal("2.1"))]}),
        ("repaired", True, {"tape": [*TAPE[:2], by_rest(TAPE[2])], "view": [kline_of(TAPE)]}),
        ("repaired", True, {"tape": TAPE, "view": [by_rest(kline_of(TAPE))]}),
        ("not_over", None, {"tape": TAPE, "now": MOMENT + timedelta(seconds=59)}),
    ],
)
def test_a_difference_is_explained(
    reconciled: Reconciled, explanation: str, agrees: bool | None, given: dict[str, Any]
) -> None:
    [row] = reconciled.run(**given)
    assert (row.explanation, row.agrees) == (explanation, agrees)


def test_every_word_is_explained_in_the_text_of_the_table() -> None:
    for word in (*reconciliation._AGREEING, *reconciliation._DIFFERING, reconciliation.NOT_OVER):
        assert f"`{word}`: " in str(reconciliation.__doc__), word


def test_a_halt_explains_only_the_minutes_that_it_touches(reconciled: Reconciled) -> None:
    after = trade(9, START + MINUTE, "2", "1")
    rows = reconciled.run([*TAPE, after], spans=[HALT, (HALT[1], None, "TRADING")])
    assert {row.our_first_trade_id: row.explanation for row in rows} == {5: "halt", 9: "kline_missing"}


def test_a_late_trade_updates_its_minute_and_no_other(reconciled: Reconciled) -> None:
    beside = trade(9, START + MINUTE, "2", "1")
    view = [kline_of(TAPE), kline_of([beside])]
    first = reconciled.run([*TAPE[:2], beside], view)
    assert {row.our_last_trade_id: row.explanation for row in first} == {6: "partial_tape", 9: None}
    late = by_rest(TAPE[2])
    [row] = reconciled.run([*TAPE[:2], late, beside], view, new={"tape": [late]}, now=LATER + timedelta(days=3))
    assert (row.our_last_trade_id, row.agrees, row.explanation, row.our_tape_came_late) == (7, True, "repaired", True)


def test_building_again_changes_nothing(reconciled: Reconciled) -> None:
    given: dict[str, Any] = {"tape": TAPE, "view": [kline_of(TAPE[:2])], "merged": MERGED, "spans": [HALT]}
    assert len(reconciled.run(**given)) == 1
    assert reconciled.run(**given) == []


def test_a_minute_that_ended_is_looked_at_again_though_nothing_came(reconciled: Reconciled) -> None:
    reconciled.run(TAPE, now=MOMENT + timedelta(seconds=59))
    [row] = reconciled.run(TAPE, now=MOMENT + timedelta(seconds=60), new={})
    assert (row.agrees, row.explanation) == (False, "kline_missing")


def test_a_halt_that_is_told_later_explains_the_minutes_before(reconciled: Reconciled) -> None:
    reconciled.run(TAPE)
    [row] = reconciled.run(TAPE, spans=[HALT], new={"spans": [HALT]})
    assert row.explanation == "halt"
