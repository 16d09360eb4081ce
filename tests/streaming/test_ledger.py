"""What streaming remembers across a restart or a kill."""

import contextlib
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.events import Instrument
from shared.symbol_manager import Symbol
from streaming.gaps import Gaps
from streaming.ledger import Ledger, LedgerError
from streaming.series import Watermark
from tests.events import START, depth_event, gap_event, kline_event, ticker_event, trade_event

TRADES = ("binance", "BTCUSDT", "trade")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "streaming" / "ledger.sqlite"


def reopened(ledger: Ledger, path: Path) -> Ledger:
    ledger.close()
    return Ledger(path)


def test_what_was_safe_is_known_after_a_restart(path: Path) -> None:
    ledger = Ledger(path)
    for event in (trade_event(7), trade_event(5), kline_event(60_000_000), ticker_event(11), depth_event(12)):
        ledger.safe(event)
    ledger.safe(kline_event(120_000_000, is_closed=False))
    again = reopened(ledger, path)
    assert again.watermarks() == {
        TRADES: Watermark(7, trade_event(7).event_time),
        ("binance", "BTCUSDT", "kline_1m"): Watermark(60_000_000, 60_000_000),
        ("binance", "BTCUSDT", "ticker"): Watermark(11, 11),
        ("binance", "BTCUSDT", "depth5"): Watermark(12, 12),
    }
    again.close()


def test_a_gap_is_kept_until_its_settlement_is_safe(path: Path) -> None:
    gap = gap_event(6, 8)
    settled = replace(gap, status="repaired", missing=0, updated_at=gap.updated_at + 1)
    ledger = Ledger(path)
    ledger.note(gap)
    ledger = reopened(ledger, path)
    assert ledger.gaps() == [gap]
    ledger.note(settled)  # sent, not safe
    ledger.safe(gap)
    ledger = reopened(ledger, path)
    assert ledger.gaps() == [gap]
    ledger.safe(settled)
    ledger = reopened(ledger, path)
    assert ledger.gaps() == []
    ledger.close()


def test_a_gap_misses_less_only_once_what_filled_it_is_safe(path: Path) -> None:
    gap, less = gap_event(101, 3100), replace(gap_event(1101, 3100), first_missing=1101, updated_at=START + 1)
    shrunk = replace(less, first_missing=101, last_missing=3100, missing=2000)
    ledger = Ledger(path)
    ledger.note(gap)
    ledger.note(shrunk)  # REST brought half of it, and Kafka has none of that yet
    ledger = reopened(ledger, path)
    assert ledger.gaps() == [gap]
    ledger.note(shrunk)
    ledger.safe(shrunk)
    ledger = reopened(ledger, path)
    assert ledger.gaps() == [shrunk]
    ledger.close()


def test_a_gap_that_was_closed_is_not_opened_by_an_older_word_of_it(path: Path) -> None:
    opened, closed = gap_event(101, None), gap_event(101, 150, updated_at=START + 1)
    ledger = Ledger(path)
    ledger.note(opened)
    ledger.note(closed)
    ledger.safe(opened)
    ledger = reopened(ledger, path)
    assert ledger.gaps() == [closed]
    ledger.close()


def test_a_gap_that_opens_again_outlives_its_earlier_settlement(path: Path) -> None:
    gap = gap_event(6, 8)
    ledger = Ledger(path)
    ledger.note(gap)
    opened_again = replace(gap, updated_at=gap.updated_at + 2)
    ledger.note(opened_again)
    ledger.safe(replace(gap, status="repaired", updated_at=gap.updated_at + 1))
    ledger = reopened(ledger, path)
    assert ledger.gaps() == [opened_again]
    ledger.close()


def test_a_gap_that_waits_for_the_archive_is_no_longer_ours(path: Path) -> None:
    gap = gap_event(6, 8)
    ledger = Ledger(path)
    ledger.note(gap)
    ledger.safe(replace(gap, repaired_from="agg_trades", updated_at=gap.updated_at + 1))
    ledger = reopened(ledger, path)
    assert ledger.gaps() == []
    ledger.close()


def test_the_oldest_gap_comes_first(path: Path) -> None:
    gaps = [replace(gap_event(number, number), event_time=10 - number) for number in (1, 2, 3)]
    ledger = Ledger(path)
    for gap in gaps:
        ledger.note(gap)
    ledger = reopened(ledger, path)
    assert [gap.first_missing for gap in ledger.gaps()] == [3, 2, 1]
    ledger.close()


def test_a_series_that_nobody_wants_any_more_is_forgotten(path: Path) -> None:
    ledger = Ledger(path)
    ledger.keep([TRADES])
    ledger.safe(trade_event(7))
    ledger.commit()
    ledger.keep([])
    ledger.safe(trade_event(8))  # its last messages
    ledger = reopened(ledger, path)
    assert ledger.watermarks() == {}
    ledger.close()


def test_a_series_that_is_not_asked_for_soon_after_the_start_is_forgotten(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(path)
    ledger.safe(trade_event(7))
    ledger = reopened(ledger, path)
    ledger.keep([])
    ledger = reopened(ledger, path)
    assert TRADES in ledger.watermarks()
    monkeypatch.setattr("streaming.ledger.LINGER", -1)
    ledger = reopened(ledger, path)
    ledger.keep([])  # the exchange has not said yet what it lists
    ledger = reopened(ledger, path)
    assert TRADES in ledger.watermarks()
    ledger.linger()
    ledger.keep([])
    ledger = reopened(ledger, path)
    assert ledger.watermarks() == {}
    ledger.close()


def test_what_is_listed_is_kept_once_it_is_safe(path: Path) -> None:
    pair = Instrument(
        exchange="binance", symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT", event_time=1, source="rest",
        connection_id="rest", status="TRADING", tick_size=None, step_size=None, min_notional=None,
    )  # fmt: skip
    ledger = Ledger(path)
    ledger.safe(pair)
    ledger = reopened(ledger, path)
    assert ledger.instruments("binance") == {"BTCUSDT": pair}
    assert ledger.instruments("kraken") == {}
    ledger.close()


def test_a_damaged_file_is_put_aside_and_streaming_goes_on(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)
    ledger = Ledger(path)
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "cannot be read" in record.message
    assert len(list(path.parent.glob("ledger.sqlite.damaged-*"))) == 1
    ledger.safe(trade_event(7))
    ledger = reopened(ledger, path)
    assert ledger.watermarks()[TRADES].place == 7
    ledger.close()


def test_where_the_ids_begin_anew_the_mark_does_too(path: Path) -> None:
    ledger = Ledger(path)
    gaps = Gaps({"binance"}, {}, [])
    gaps.follow([Symbol(symbol="BTCUSDT", name="Bitcoin")], START)
    old, later = trade_event(3_000_002), START + 60_000_000
    for event in (old, *(trade_event(number, at=later) for number in range(5))):
        rows = gaps.saw(event)
        ledger.safe(event)
        for row in rows:
            ledger.note(row)
            ledger.safe(row)
    ledger.safe(trade_event(2_000_000, "rest"))  # of the old count, fetched now
    ledger = reopened(ledger, path)
    assert ledger.watermarks() == {TRADES: Watermark(4, later + 4)}
    ledger.close()


def test_a_mark_that_no_trade_can_have_stops_nobody(path: Path) -> None:
    ledger = Ledger(path)
    ledger.safe(replace(trade_event(7), trade_id=2**63 - 1))
    for gap in (gap_event(6, 2**63 - 2), gap_event(2**62, None)):
        ledger.note(gap)
    ledger = reopened(ledger, path)
    gaps = Gaps({"binance"}, ledger.watermarks(), ledger.gaps())
    for row in gaps.follow([Symbol(symbol="BTCUSDT", name="Bitcoin")], START):
        ledger.note(row)
    [row] = gaps.saw(trade_event(51))
    assert (row.first_missing, row.last_missing) == (6, 50)
    ledger.note(row)
    ledger.safe(trade_event(51))
    ledger = reopened(ledger, path)
    assert ledger.watermarks()[TRADES].place == 51
    assert row in ledger.gaps()
    ledger.close()


def filled(path: Path) -> None:
    ledger = Ledger(path)
    ledger.safe(trade_event(7))
    ledger.note(gap_event(5, 6))
    ledger.close()


def locked(path: Path) -> sqlite3.Connection:
    """Another process that keeps the file to itself."""
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    return holder


def test_the_log_of_a_damaged_file_is_kept_beside_it(path: Path) -> None:
    filled(path)
    path.write_bytes(b"no database" * 1000)
    log = path.with_name("ledger.sqlite-wal")
    log.write_bytes(b"its log")
    Ledger(path).close()
    [aside] = path.parent.glob("ledger.sqlite.damaged-*-wal")
    assert aside.read_bytes() == b"its log"


def test_a_row_that_is_damaged_is_damage(path: Path) -> None:
    filled(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("UPDATE gaps SET event = x'7b'")
    ledger = Ledger(path)
    assert list(path.parent.glob("ledger.sqlite.damaged-*"))
    assert ledger.gaps() == []
    ledger.close()


def test_a_file_that_is_locked_is_not_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.ledger.PATIENCE_SECONDS", 0)
    filled(path)
    with contextlib.closing(locked(path)), pytest.raises(LedgerError, match=r"ledger\.sqlite cannot be used .*locked"):
        Ledger(path)
    ledger = Ledger(path)
    assert ledger.watermarks()[TRADES].place == 7
    assert ledger.gaps() == [gap_event(5, 6)]
    assert list(path.parent.glob("*.damaged-*")) == []
    ledger.close()


def test_a_lock_that_goes_in_time_stops_nobody(
    path: Path, caplog: pytest.LogCaptureFixture, until: Callable[..., None]
) -> None:
    filled(path)
    holder = locked(path)

    def let_go() -> None:
        until(lambda: "it is tried again" in caplog.text)
        holder.close()

    letting = threading.Thread(target=let_go)
    letting.start()
    ledger = Ledger(path)
    letting.join()
    assert ledger.watermarks()[TRADES].place == 7
    ledger.close()


def test_a_file_that_cannot_be_made_is_named_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.ledger.PATIENCE_SECONDS", 0)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LedgerError, match=r"ledger\.sqlite cannot be used .*make it and its folder writable"):
        Ledger(tmp_path / "file" / "ledger.sqlite")
    (tmp_path / "ledger.sqlite").mkdir()
    with pytest.raises(LedgerError, match="unable to open"):
        Ledger(tmp_path / "ledger.sqlite")


def test_what_was_committed_survives_a_kill(path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from streaming.ledger import Ledger
from tests.events import gap_event, trade_event
ledger = Ledger(Path({str(path)!r}))
ledger.note(gap_event(6, 8))
ledger.safe(trade_event(9))
ledger.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, timeout=30)
    ledger = Ledger(path)
    assert ledger.watermarks()[TRADES].place == 9
    assert ledger.gaps() == [gap_event(6, 8)]
    ledger.close()
