"""Each promise broken once in a lake that keeps them all."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from crypto_pipeline.bronze import connections, depth, gaps, klines, tickers, trades
from crypto_pipeline.catalog import tables
from crypto_pipeline.reader import WRITTEN_BY
from crypto_pipeline.refresh import MARKS
from crypto_pipeline.silver import ohlcv, ohlcv_1m, quiet_intervals
from crypto_pipeline.verify import verdict as looking
from crypto_pipeline.verify.promises import CHECKS
from crypto_pipeline.verify.verdict import Found, Verdict, VerifyError, verify
from shared.tables import Column, Table
from tests.crypto_pipeline.verify.conftest import EARLY, LATE, MemoryTables, at

Rows = list[dict[str, Any]]
DAY = date(2026, 8, 6)


def moment(minute: int) -> datetime:
    return datetime.fromtimestamp(at(minute) / 1e6, UTC)


def looked(tables: MemoryTables, **wanted: Any) -> Verdict:
    return verify(tables, None, **wanted)


def broken(verdict: Verdict) -> dict[str, Found]:
    return {found.sentence: found for found in verdict.found if found.offenders}


def test_a_lake_that_keeps_its_promises_is_not_accused(lake: MemoryTables) -> None:
    verdict = looked(lake)
    assert broken(verdict) == {}
    assert verdict.broken == []
    assert (verdict.start, verdict.end) == (date(2026, 8, 4), DAY)
    assert verdict.as_of == datetime(2026, 8, 6, 7, 20, tzinfo=UTC)
    assert verdict.moving == 0


def test_all_that_was_there_was_looked_at(lake: MemoryTables) -> None:
    counts = {found.sentence: found.looked_at for found in looked(lake).found}
    assert counts["a trade stands once"] == 12
    assert counts["a minute in which something traded has a candle"] == 7
    assert counts["and equals them in every field"] == 8
    assert counts["the trades of a repaired hole are there"] == 1
    assert counts["the klines of a repaired hole are there"] == 1
    assert counts["a connection that was replaced ended after another had taken over"] == 1


def again(**changes: Any) -> Callable[[Rows], Rows]:
    """The last row once more, otherwise."""
    return lambda rows: [*rows, {**rows[-1], **changes}]


def without(**these: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [row for row in rows if any(row[name] != value for name, value in these.items())]


def changed(where: dict[str, Any], **changes: Any) -> Callable[[Rows], Rows]:
    def change(rows: Rows) -> Rows:
        found = [row for row in rows if all(row[name] == value for name, value in where.items())]
        assert found, where
        for row in found:
            row.update(changes)
        return rows

    return change


FIRST, IDS, QUIET, MENDED, MERGED, ALONE, UNPROVEN = ({"interval_start": moment(n)} for n in range(7))
FIVE = {"interval": "5m", "interval_start": moment(-2)}
ONE_CONNECTION = {"connection_id": "a", "source": "websocket"}

BREAKS: list[tuple[int, Table, Callable[[Rows], Rows], str]] = [
    (1, trades.TABLE, again(), "trade 19 stands 2 times"),
    (1, trades.TABLE, again(hour="09"), "trade 19 stands 2 times"),
    (1, trades.TABLE, again(date="2026-08-05", event_time=datetime(2026, 8, 5, 7, tzinfo=UTC), hour="07"), "also on"),
    (1, trades.TABLE, changed({"trade_id": 6}, hour="08"), "trade 6 lies in date=2026-08-06/hour=08"),
    (1, klines.TABLE, again(), "stands 2 times"),
    (2, ohlcv_1m.TABLE, again(), "its candle stands 2 times"),
    (2, ohlcv.TABLE, again(), "stands 2 times"),
    (2, ohlcv_1m.TABLE, without(**FIRST), "3 trades by websocket, and no candle"),
    (2, ohlcv_1m.TABLE, again(**QUIET, interval_end=moment(3)), "that bronze does not know"),
    (2, ohlcv_1m.TABLE, changed(FIRST, interval_end=moment(2)), "off the grid"),
    (2, ohlcv.TABLE, changed(FIVE, interval_start=moment(-1)), "off the grid"),
    (3, ohlcv_1m.TABLE, changed(FIRST, source="trades"), "made by trades, where there is websocket"),
    (3, ohlcv_1m.TABLE, changed(ALONE, source="websocket"), "made by websocket, where there is rest"),
    (4, trades.TABLE, without(trade_id=6), "says complete by trade_ids"),
    (4, trades.TABLE, without(trade_id=9), "says complete by trade_ids"),
    (4, ohlcv_1m.TABLE, changed(UNPROVEN, status="complete", proof="trade_ids"), "says complete by trade_ids"),
    (4, ohlcv_1m.TABLE, changed(MERGED, proof="trade_ids"), "says repaired by trade_ids"),
    (4, ohlcv_1m.TABLE, changed(UNPROVEN, status="complete", proof="exchange_kline"), "by exchange_kline"),
    (4, ohlcv_1m.TABLE, changed(UNPROVEN, status="complete"), "says complete with proof none"),
    (4, ohlcv.TABLE, changed(FIVE, status="complete", proof="trade_ids"), "5m says complete, and its minutes partial"),
    (5, ohlcv.TABLE, without(**FIVE), "5m is not there"),
    (5, ohlcv.TABLE, again(interval="5m", interval_start=moment(-7), interval_end=moment(-2)), "5m without a minute"),
    (5, ohlcv.TABLE, changed(FIVE, high=Decimal(99)), "5m has another high"),
    (5, ohlcv.TABLE, changed(FIVE, vwap=Decimal(2)), "5m has another vwap"),
    (5, ohlcv_1m.TABLE, changed(FIRST, revision=0), "is of revision 0"),
    (5, ohlcv.TABLE, changed(FIVE, known_at=None), "nobody knows since when"),
    (7, gaps.TABLE, changed({"status": "open"}, event_time=moment(-2 * 1440)), "trade open for 48 hours"),
    (7, trades.TABLE, without(trade_id=11), "1 of 1 trades from 11 on are missing"),
    (7, klines.TABLE, without(open_time=moment(3)), "no closed kline, and its hole is repaired"),
    (8, connections.TABLE, without(connection_id="b"), "and no other was open"),
    (8, connections.TABLE, changed({"connection_id": "b"}, opened_at=moment(5)), "and no other was open"),
    (8, connections.TABLE, changed({"connection_id": "a"}, opened_at=moment(-1500)), "lived for 25 hours"),
    (8, tickers.TABLE, again(), "the ticker stands 2 times"),
    (8, depth.TABLE, again(), "update 2 stands 2 times"),
    (10, ohlcv_1m.TABLE, changed(FIRST, volume=Decimal("7.6")), "another volume"),
    (10, ohlcv_1m.TABLE, changed(IDS, close=Decimal("0.1"), low=Decimal("0.1")), "another low, close"),
    (10, ohlcv_1m.TABLE, changed(FIRST, vwap=Decimal("2.333333333333333334")), "another vwap"),
    (10, ohlcv_1m.TABLE, changed(MENDED, status="complete"), "another status"),
    (10, ohlcv_1m.TABLE, changed(UNPROVEN, is_closed=False), "another is_closed"),
    (10, ohlcv_1m.TABLE, changed(UNPROVEN, status="partial"), "another status"),
    (10, ohlcv_1m.TABLE, changed(IDS, status="pending", proof="none"), "the ids around it prove it"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("promise", "table", "change", "says"), BREAKS, ids=lambda one: one if isinstance(one, str) else ""
)
def test_a_promise_that_is_broken_is_found(
    lake: MemoryTables, promise: int, table: Table, change: Callable[[Rows], Rows], says: str
) -> None:
    verdict = looked(lake.but(table, change))
    assert promise in verdict.broken
    told = [one["says"] for found in verdict.found if found.promise == promise for one in found.examples]
    assert any(says in one for one in told), told


def test_every_check_finds_something_in_these_tests() -> None:
    """Those of 6 and 9 are in tests of their own."""
    assert {check.promise for check in CHECKS} - {6, 9} == {promise for promise, *_ in BREAKS}


def test_ids_that_one_connection_left_out_must_be_on_record(lake: MemoryTables) -> None:
    unknown = lake.but(gaps.TABLE, without(gap_stream="trade"))
    assert looked(unknown).broken == [], "another connection brought what comes behind"
    verdict = looked(unknown.but(trades.TABLE, changed({"trade_id": 18}, connection_id="a")))
    [found] = broken(verdict).values()
    says = found.examples[0]["says"]
    assert (found.promise, says) == (6, "ids 14 to 17 are missing, and on no record")


def test_a_trade_that_was_refused_is_on_record(lake: MemoryTables) -> None:
    unknown = lake.but(gaps.TABLE, without(gap_stream="trade"))
    tables = unknown.but(trades.TABLE, changed({"trade_id": 18}, connection_id="a"))
    refused = [
        {
            "table_name": "bronze.trades",
            "rule": "quantity_is_positive",
            "row": json.dumps({"exchange": "binance", "symbol": "BTCUSDT", "trade_id": number, "quantity": 0}),
            WRITTEN_BY.name: EARLY,
        }
        for number in (14, 15, 16, 17)
    ]
    of_them = {n: replace(tables, rows={**tables.rows, "bronze.quarantine": refused[:n]}) for n in (3, 4)}
    assert 6 in looked(of_them[3]).broken
    assert 6 not in looked(of_them[4]).broken


class TestAbsence:
    """With a table that says of every minute how it is."""

    CONTRACT = Table(
        layer="silver",
        name="completeness",
        grain="One row per exchange, symbol and minute",
        columns=(
            *(Column(name, "string", name) for name in ("exchange", "symbol", "status", "reason", "month")),
            Column("interval_start", "timestamp", "the minute"),
        ),
        key=("exchange", "symbol", "interval_start"),
        partitions=("month",),
        time="interval_start",
    )

    @pytest.fixture
    def explained(self, lake: MemoryTables, monkeypatch: pytest.MonkeyPatch) -> MemoryTables:
        """Every minute of the last day up to the last one that silver has looked at."""
        name = self.CONTRACT.full_name
        monkeypatch.setattr(looking, "contracts", lambda: {**tables(), name: self.CONTRACT})
        candles = {row["interval_start"]: row["status"] for row in lake.rows["silver.ohlcv_1m"]}
        rows = [
            {
                "exchange": "binance",
                "symbol": "BTCUSDT",
                "interval_start": moment(minute),
                "status": candles.get(moment(minute), "complete" if minute == 2 else "pending"),
                "reason": "no_trades" if minute == 2 else None,
                "month": "2026-08",
                WRITTEN_BY.name: EARLY,
            }
            for minute in range(11)
        ]
        marks = json.dumps({"bronze.trades": EARLY, "bronze.klines": EARLY, "silver.ohlcv_1m": EARLY})
        noted = {**lake.noted, name: {MARKS: marks}}
        return MemoryTables({**lake.rows, name: rows}, noted, others={name: self.CONTRACT})

    def test_a_lake_that_explains_every_minute_is_not_accused(self, explained: MemoryTables) -> None:
        found = {one.sentence: one for one in looked(explained, start=DAY).found}
        assert not any(one.offenders for one in found.values())
        assert found["every minute of a symbol has a row that says how it is"].looked_at == 11
        assert found["where there is no candle, it says why"].looked_at == 5

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (without(**FIRST), "a candle, and no word on the minute"),
            (without(**QUIET), "no word on 1 minutes"),
            (changed(QUIET, reason=None), "no candle, complete, because of nothing"),
            (changed(QUIET, reason="a mood"), "no candle, complete, because of a mood"),
            (changed(FIRST, reason="no_trades"), "says complete (no_trades), and its candle complete"),
            (changed(UNPROVEN, status="complete"), "says complete, and its candle pending"),
        ],
    )
    def test_a_minute_that_is_not_explained_is_found(
        self, explained: MemoryTables, change: Callable[[Rows], Rows], says: str
    ) -> None:
        verdict = looked(explained.but(self.CONTRACT, change), start=DAY)
        assert verdict.broken == [6]
        assert any(says == one["says"] for found in verdict.found for one in found.examples)

    def test_a_minute_that_this_table_has_not_followed_is_not_judged(self, explained: MemoryTables) -> None:
        late = explained.but(ohlcv_1m.TABLE, changed(UNPROVEN, **{WRITTEN_BY.name: LATE}))
        assert looked(late.but(self.CONTRACT, changed(UNPROVEN, status="complete")), start=DAY).broken == []


class TestVersions:
    """With candles that keep their earlier versions."""

    @pytest.fixture
    def versioned(self, lake: MemoryTables, monkeypatch: pytest.MonkeyPatch) -> MemoryTables:
        """The first minute was revised once; `known_at` is when its present version was known."""
        kind = "array<struct<known_at:bigint,known_to:bigint>>"
        others = {}
        for module in (ohlcv_1m, ohlcv):
            kept = tuple(column for column in module.TABLE.columns if column.name != "superseded")
            contract = replace(module.TABLE, columns=(*kept, Column("superseded", kind, "earlier versions")))
            monkeypatch.setattr(module, "TABLE", contract)
            others[contract.full_name] = contract
        monkeypatch.setattr(looking, "contracts", lambda: {**tables(), **others})
        before = [{"known_at": at(1), "known_to": at(5)}]
        revised = changed(FIRST, revision=2, known_at=moment(5), superseded=before)
        return replace(lake, others=others).but(ohlcv_1m.TABLE, revised)

    def test_a_candle_that_keeps_its_versions_is_not_accused(self, versioned: MemoryTables) -> None:
        assert looked(versioned).broken == []

    @pytest.mark.parametrize(
        "change",
        [{"revision": 3}, {"superseded": None}, {"known_at": moment(6)}],
        ids=["one is lost", "all are lost", "a hole between them"],
    )
    def test_a_version_that_is_lost_is_found(self, versioned: MemoryTables, change: dict[str, Any]) -> None:
        assert looked(versioned.but(ohlcv_1m.TABLE, changed(FIRST, **change))).broken == [5]


def test_a_table_without_offsets_and_files_that_nobody_merges_are_found(lake: MemoryTables) -> None:
    notes = {name: values for name, values in lake.noted.items() if name != "bronze.trades"}
    verdict = looked(MemoryTables(lake.rows, notes, {"silver.ohlcv": 101}))
    assert set(broken(verdict)) == {
        "Kafka's offsets are in the table's commits",
        "no file has more than 100 log files that wait to be merged",
    }
    assert verdict.broken == [1, 9]


class TestMoving:
    """What silver has not followed yet is counted, and not judged."""

    @pytest.mark.parametrize(
        ("table", "row"),
        [(klines.TABLE, {"open_time": moment(2)}), (quiet_intervals.TABLE, {"interval": "1m", **QUIET})],
        ids=["its kline has come", "its kline is followed by the quiet minutes, and not yet by the candles"],
    )
    def test_a_longer_candle_does_not_know_of_a_quiet_minute_that_has_just_come(
        self, lake: MemoryTables, table: Table, row: dict[str, Any]
    ) -> None:
        wrong = lake.but(ohlcv.TABLE, changed(FIVE, high=Decimal(99)))
        assert looked(wrong).broken == [5]
        assert looked(wrong.but(table, changed(row, **{WRITTEN_BY.name: LATE}))).broken == []

    def test_a_minute_that_got_a_trade_since(self, lake: MemoryTables) -> None:
        late = {WRITTEN_BY.name: LATE, "trade_id": 20, "event_time": moment(6) + timedelta(seconds=5)}
        verdict = looked(lake.but(trades.TABLE, again(**late)))
        assert broken(verdict) == {}
        assert verdict.moving == 1
        followed = looked(lake.but(trades.TABLE, again(**{**late, WRITTEN_BY.name: EARLY})))
        assert followed.broken == [10]

    def test_a_longer_candle_whose_minute_was_made_anew_since(self, lake: MemoryTables) -> None:
        other = {"high": Decimal(99), WRITTEN_BY.name: LATE}
        verdict = looked(lake.but(ohlcv_1m.TABLE, changed(UNPROVEN, **other)))
        assert verdict.broken == [10]

    def test_what_is_younger_than_two_minutes_when_silver_looked(self, lake: MemoryTables) -> None:
        young = {"trade_id": 20, "event_time": moment(12), "connection_id": "b"}
        verdict = looked(lake.but(trades.TABLE, again(**young)))
        assert broken(verdict) == {}
        assert verdict.moving == 1


class TestRange:
    def test_days_without_anything_are_answered_with_those_there_are(self, lake: MemoryTables) -> None:
        with pytest.raises(
            VerifyError, match="nothing from 2026-01-01 to 2026-01-31: there is 2026-08-04 to 2026-08-06"
        ):
            looked(lake, start=date(2026, 1, 1), end=date(2026, 1, 31))

    def test_a_range_is_cut_to_what_there_is(self, lake: MemoryTables) -> None:
        verdict = looked(lake, start=date(2026, 8, 5), end=date(2027, 1, 1))
        assert (verdict.start, verdict.end) == (date(2026, 8, 5), DAY)

    def test_a_symbol_that_is_not_there_is_answered_with_those_there_are(self, lake: MemoryTables) -> None:
        with pytest.raises(VerifyError, match=r"nothing of DOGEUSDT .*; the lake has BTCUSDT\."):
            looked(lake, symbols=["DOGEUSDT"])

    def test_of_other_symbols_nothing_is_said(self, lake: MemoryTables) -> None:
        other = lake.but(ohlcv_1m.TABLE, again(symbol="ETHUSDT"))
        assert looked(other).broken == [2, 5]
        assert looked(other, symbols=["BTCUSDT"]).broken == []

    def test_an_empty_lake_says_when_there_will_be_something(self) -> None:
        with pytest.raises(VerifyError, match=r"nothing yet.*deploy\.sh"):
            looked(MemoryTables({}, {}))

    def test_progress_is_told_day_by_day_of_which_there_is_something_up_to_the_whole(self, lake: MemoryTables) -> None:
        told: list[tuple[str, float]] = []
        looked(lake, progress=lambda line, done: told.append((line, done)))
        assert [line for line, _ in told if "trades" in line] == [f"2026-08-0{n}: trades" for n in (4, 6)]
        assert [done for _, done in told] == sorted(done for _, done in told)
        assert told[-1][1] == 1.0


def test_only_a_few_examples_are_kept_and_all_are_counted(lake: MemoryTables) -> None:
    verdict = looked(lake.but(ohlcv_1m.TABLE, lambda rows: [{**row, "revision": 0} for row in rows]))
    found = broken(verdict)["revisions count from 1, each with when it was known"]
    assert (found.offenders, len(found.examples)) == (7, 5)
    assert found.examples[0] == {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "at": moment(-2 * 1440),
        "says": "its 1m is of revision 0",
    }
