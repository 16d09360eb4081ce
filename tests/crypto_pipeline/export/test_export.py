"""An export as a whole: which files there are of which rows, and what is left where it cannot be finished."""

import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from crypto_pipeline import lake
from crypto_pipeline.cli import app
from crypto_pipeline.export import _export, _reading, format_of, names
from crypto_pipeline.export._files import ExportError, whole
from crypto_pipeline.export._format import DATA, Range
from crypto_pipeline.export._reading import pieces, wanted
from shared.settings import PROJECT
from tests.crypto_pipeline.engines import minute
from tests.crypto_pipeline.export.conftest import TWO_DAYS, Exporting, half_hourly, trade
from tests.crypto_pipeline.stored_tables import Tables


def there(folder: Path) -> list[str]:
    """All files, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", names())
def test_every_format_writes_what_it_can_hold_into_its_files_and_nothing_else(
    name: str, exporting: Exporting, market: Tables, tmp_path: Path
) -> None:
    for data in format_of(name).data:
        form, asked = format_of(name), wanted("BTCUSDT", "binance", data, "5m", TWO_DAYS)
        done = exporting(name, data)
        files = [str(file.path) for file in form.files(asked)]
        assert (done.files, done.empty) == (len(files), 0)
        assert done.rows == {"candles": 96, "trades": 16, "depth": 16}[data] + 16 * len(form.beside)
        assert [file for file in there(tmp_path) if not file.endswith(".CHECKSUM")] == sorted(files)
        for file in there(tmp_path):
            (tmp_path / file).unlink()


def test_the_formats_are_the_modules() -> None:
    assert names() == ["backtesting.py", "csv", "freqtrade", "hftbacktest", "nautilus", "parquet"]


@given(
    st.timedeltas(timedelta(), timedelta(days=45)).map(lambda after: datetime(2024, 1, 20, tzinfo=UTC) + after),
    st.timedeltas(timedelta(microseconds=1), timedelta(days=45)),
    st.sampled_from(DATA),
)
def test_the_pieces_of_a_range_are_all_of_it_in_order_each_within_one_hour_or_month(
    start: datetime, length: timedelta, data: Any
) -> None:
    asked = Range(start, start + length)
    found = pieces(data, asked)
    assert (found[0].start, found[-1].end) == asked
    assert all(one.end == other.start for one, other in pairwise(found))
    form = "%Y-%m" if data == "candles" else "%Y-%m-%dT%H"
    assert all(f"{one.start:{form}}" == f"{one.end - timedelta(microseconds=1):{form}}" for one in found)


class TestWhatThereIs:
    def test_memory_holds_an_hour_of_trades_or_a_month_of_candles(self, exporting: Exporting, market: Tables) -> None:
        exporting("parquet", "trades")
        hours = [filters for _, filters in market.stored["bronze.trades"].reads]
        assert len(hours) == 46
        assert all(len(values.split(",")) == 1 for filters in hours for _, _, values in filters)

    def test_of_a_range_that_is_stored_in_part_that_part_is_exported_and_a_sentence_says_so(
        self, market: Tables, tmp_path: Path
    ) -> None:
        asked = Range(minute(-5000), minute(90_000))
        found = wanted("BTCUSDT", "binance", "trades", "1m", asked)
        assert _reading.missing(found) == (
            "Of BTCUSDT in bronze.trades from 2026-08-02T12:40:00Z to 2026-10-07T12:00:00Z the lake has what lies from "
            "2026-08-06T00:00:00Z to 2026-08-07T22:00:00Z, and that is exported."
        )
        assert _export.export("parquet", found, tmp_path).rows == 16
        assert _reading.missing(wanted("BTCUSDT", "binance", "trades", "1m", Range(minute(1), minute(9)))) == ""

    def test_of_a_range_that_has_expired_in_part_the_rest_is_exported_and_one_that_has_as_a_whole_is_refused(
        self, market: Tables
    ) -> None:
        gone = {"what": "bronze.depth", "exchange": "", "symbol": "", "day": "2026-08-06"}
        market.has("bronze.expired", [gone])
        market.has("bronze.depth", [row for row in market.stored["bronze.depth"].rows if row["date"] != gone["day"]])
        found = wanted("BTCUSDT", "binance", "depth", "1m", Range(minute(60), minute(2000)))
        assert _reading.missing(found) == (
            "Of BTCUSDT in bronze.depth from 2026-08-06T01:00:00Z to 2026-08-07T09:20:00Z the lake has what lies from "
            "2026-08-07T00:00:00Z to 2026-08-07T09:20:00Z, and that is exported, for what was before has expired by "
            "config/retention.yaml."
        )
        with pytest.raises(lake.NotStoredError, match="what is kept begins at 2026-08-07T00:00:00Z"):
            wanted("BTCUSDT", "binance", "depth", "1m", Range(minute(60), minute(120)))

    def test_a_day_without_rows_has_no_file_and_is_counted(self, market: Tables, tmp_path: Path) -> None:
        rows = [row for row in market.stored["bronze.trades"].rows if row["trade_id"] not in range(908, 915)]
        market.has("bronze.trades", [*rows, trade(24)])
        market.stored["silver.ohlcv"].rows = [
            *market.stored["silver.ohlcv"].rows,
            half_hourly(144, "1d"),
        ]
        done = _export.export(
            "parquet", wanted("BTCUSDT", "binance", "trades", "1m", Range(minute(0), minute(5760))), tmp_path
        )
        assert (done.files, done.empty) == (3, 1)
        assert "2026-08-08" not in " ".join(there(tmp_path))

    @pytest.mark.parametrize(
        ("symbol", "exchange", "days", "sentence"),
        [
            ("BTCUSD", "binance", (0, 1), r"^The lake has no symbol 'BTCUSD'\. It has: BTCUSDT, ETHUSDT\.$"),
            ("BTCUSDT", "kraken", (0, 1), r"^The lake has no exchange 'kraken'\. It has: binance\.$"),
            ("BTCUSDT", "binance", (-9, -8), r"nothing of BTCUSDT .* reaches from 2026-08-06T00:00:00Z to 2026-08-07T"),
            ("BTCUSDT", "binance", (2, 3), r"nothing of BTCUSDT in bronze\.trades from 2026-08-08T00:00:00Z to "),
        ],
    )
    def test_what_was_never_stored_is_one_sentence_that_names_what_is(
        self, market: Tables, symbol: str, exchange: str, days: tuple[int, int], sentence: str
    ) -> None:
        asked = Range(*(minute(1440 * day) for day in days))
        with pytest.raises(lake.NotStoredError, match=sentence):
            wanted(symbol, exchange, "trades", "1m", asked)

    def test_a_quiet_range_leaves_nothing(self, exporting: Exporting, tmp_path: Path) -> None:
        with pytest.raises(
            lake.NotStoredError, match=r"^There is nothing of BTCUSDT in bronze\.trades from 2026-08-06T00:"
        ):
            exporting("csv", "trades", asked=Range(minute(30), minute(60)))
        assert there(tmp_path) == []

    def test_candles_that_are_not_proven_are_left_out_and_counted(
        self, exporting: Exporting, market: Tables, tmp_path: Path
    ) -> None:
        rows = market.stored["silver.ohlcv"].rows
        market.has(
            "silver.ohlcv", [row if row["interval"] == "1d" else row | {"status": "repaired"} for row in rows[:-3]]
        )
        market.stored["silver.ohlcv"].rows[10]["status"] = "pending"  # type: ignore[index]
        market.stored["silver.ohlcv"].rows[11]["status"] = "partial"  # type: ignore[index]
        done = exporting("parquet")
        assert (done.rows, done.left_out) == (94, 2)
        assert set(pq.read_table(tmp_path / "BTCUSDT-5m-2026-08.parquet")["status"].to_pylist()) == {"repaired"}

    def test_where_none_is_proven_it_says_so(self, exporting: Exporting, market: Tables, tmp_path: Path) -> None:
        for row in market.stored["silver.ohlcv"].rows:
            row["status"] = "pending"
        with pytest.raises(lake.NotStoredError, match="there are only 96 candles that are not proven"):
            exporting("freqtrade")
        assert there(tmp_path) == []


class TestNothingIsHalfWritten:
    @pytest.fixture
    def asked(self, market: Tables) -> Any:
        return wanted("BTCUSDT", "binance", "trades", "1m", TWO_DAYS)

    def test_an_interrupted_export_goes_on_with_the_first_file_that_is_not_finished(
        self, asked: Any, market: Tables, tmp_path: Path
    ) -> None:
        steps = iter(range(30))

        def stop(_steps: int) -> None:
            if next(steps) == 29:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            _export.export("parquet", asked, tmp_path, did=stop)
        record, finished = there(tmp_path)
        assert (record[:18], finished) == (".unfinished-export", "BTCUSDT-trades-2026-08-06.parquet")
        market.stored["bronze.trades"].reads.clear()
        done = _export.export("parquet", asked, tmp_path)
        assert (done.earlier, done.files, done.rows) == (1, 1, 8)
        assert len(market.stored["bronze.trades"].reads) == 22
        assert there(tmp_path) == ["BTCUSDT-trades-2026-08-06.parquet", "BTCUSDT-trades-2026-08-07.parquet"]

    def test_a_killed_export_goes_on_too(self, asked: Any, tmp_path: Path) -> None:
        script = (
            "import os, sys\n"
            "from pathlib import Path\n"
            "from crypto_pipeline.export import _export, _reading\n"
            "from tests.crypto_pipeline.export.conftest import TWO_DAYS, trade\n"
            "from tests.crypto_pipeline.stored_tables import Tables\n"
            "tables = Tables()\n"
            "tables.has('bronze.trades', [trade(n) for n in range(16)])\n"
            "_reading.open_table = tables.open\n"
            "asked = _reading.Wanted('BTCUSDT', 'BTC', 'USDT', 'binance', 'trades', '1m', TWO_DAYS, TWO_DAYS)\n"
            "left = iter(range(30))\n"
            "die = lambda _steps: next(left, None) is None and os.kill(os.getpid(), 9)\n"
            "_export.export('csv', asked, Path(sys.argv[1]), did=die)\n"
        )
        killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=PROJECT, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        left = [name for name in there(tmp_path) if not name.startswith(".")]
        assert left == ["BTCUSDT-trades-2026-08-06.csv", "BTCUSDT-trades-2026-08-06.csv.CHECKSUM"]
        done = _export.export("csv", asked, tmp_path)
        assert (done.earlier, done.files) == (1, 1)
        assert [name for name in there(tmp_path) if name.startswith(".")] == []

    @pytest.mark.parametrize("name", names())
    def test_a_full_disk_leaves_no_file_and_is_one_sentence_after_which_the_same_command_goes_on(
        self, name: str, exporting: Exporting, tmp_path: Path
    ) -> None:
        data = format_of(name).data[-1]
        with (
            no_room(100),
            pytest.raises(ExportError, match=r"cannot be written \(.+\): make room, or name another --out; "),
        ):
            exporting(name, data)
        assert [file for file in there(tmp_path) if not file.startswith(".unfinished-export")] == []
        assert exporting(name, data).rows > 0

    def test_a_folder_that_cannot_be_made_is_one_sentence(self, asked: Any, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ExportError, match=r"folder cannot be written to \(Not a directory\): make room, or name "):
            _export.export("parquet", asked, tmp_path / "file" / "folder")

    def test_what_is_there_is_not_replaced_unless_one_says_so(self, asked: Any, tmp_path: Path) -> None:
        _export.export("parquet", asked, tmp_path)
        (tmp_path / "BTCUSDT-trades-2026-08-06.parquet").write_text("mine")
        (tmp_path / "BTCUSDT-trades-2026-08-07.parquet").unlink()
        with pytest.raises(
            ExportError, match=r"2026-08-06\.parquet is there already: name another --out, or --overwrite\.$"
        ):
            _export.export("parquet", asked, tmp_path)
        assert there(tmp_path) == ["BTCUSDT-trades-2026-08-06.parquet"]
        assert _export.export("parquet", asked, tmp_path, overwrite=True).files == 2

    def test_a_day_that_is_not_over_is_written_anew_by_the_one_that_goes_on(
        self, asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Then(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return minute(1000)

        monkeypatch.setattr(_export, "datetime", Then)
        monkeypatch.setattr(_export.Progress, "end", lambda self: None)
        _export.export("parquet", asked, tmp_path)
        assert _export.export("parquet", asked, tmp_path).earlier == 0

    def test_what_fails_takes_no_name(self, tmp_path: Path) -> None:
        def fail(place: Path) -> None:
            place.write_text("half")
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"), whole(tmp_path / "below" / "it") as place:
            fail(place)
        assert there(tmp_path) == []


@contextmanager
def no_room(size: int) -> Iterator[None]:
    """As on a full disk: no file can become larger than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestCommand:
    def run(self, *options: str) -> Result:
        return CliRunner().invoke(app, ["export", *options])

    def test_several_symbols_are_exported_and_what_is_not_stored_is_said(self, market: Tables, tmp_path: Path) -> None:
        span = ("--from", "2026-08-05", "--to", "2026-08-07")
        given = ("--format", "freqtrade", "--symbol", "btcusdt,ETHUSDT", "--timeframe", "5m", "--out", str(tmp_path))
        result = self.run(*given, *span)
        assert result.exit_code == 0, result.output
        assert there(tmp_path) == ["BTC_USDT-5m.feather", "ETH_USDT-5m.feather"]
        assert "51 rows in 2 files in" in result.stdout
        assert result.stderr.count("the lake has what lies from 2026-08-06T00:00:00Z to 2026-08-07T00:00:00Z") == 2
        again = self.run(*given, *span)
        assert (again.exit_code, "is there already" in again.stderr) == (1, True)

    @pytest.mark.parametrize(
        ("options", "code", "sentence"),
        [
            ({"--format": "feather"}, 2, "There is no format 'feather'. There are: backtesting.py, csv, freqtrade, "),
            ({"--format": "freqtrade", "--data": "depth"}, 2, "freqtrade holds candles or trades, not depth."),
            ({"--to": "2026-08-01"}, 2, "--to must be later than --from."),
            ({"--from": "yesterday"}, 2, "--from 'yesterday' is no time"),
            ({"--symbol": "BTCUSD"}, 1, "The lake has no symbol 'BTCUSD'. It has: BTCUSDT, ETHUSDT."),
        ],
    )
    def test_what_cannot_be_is_one_sentence_and_leaves_nothing(
        self, market: Tables, tmp_path: Path, options: dict[str, str], code: int, sentence: str
    ) -> None:
        usual = {"--format": "csv", "--symbol": "BTCUSDT", "--from": "2026-08-06", "--to": "2026-08-07"}
        given = [text for pair in (usual | options).items() for text in pair]
        result = self.run(*given, "--out", str(tmp_path))
        assert result.exit_code == code
        assert sentence in re.sub(r"[\s│]+", " ", result.stderr)
        assert there(tmp_path) == []

    def test_it_imports_no_spark(self) -> None:
        script = (
            "import sys\n"
            "from crypto_pipeline.export import _export, format_of, names\n"
            "print([format_of(name) for name in names()] and [n for n in ('pyspark', 'pandas') if n in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
