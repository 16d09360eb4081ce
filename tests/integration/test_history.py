"""Past days on the real lake: imported, fetched, made into candles, and there once however often they come."""

import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.system import System, wait_for

PAIR = "LTCUSDT"
"""One that symbols.yaml does not stream."""


@pytest.fixture(scope="module")
def day() -> str:
    """Yesterday, in UTC: the archive has it."""
    return str(datetime.now(UTC).date() - timedelta(days=1))


@pytest.fixture(scope="module")
def klines(system: System, day: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive's file of its klines, with its checksum, as a person downloads them."""
    name = f"{PAIR}-1m-{day}.zip"
    path = tmp_path_factory.mktemp("downloads") / name
    for suffix in ("", ".CHECKSUM"):
        address = f"http://127.0.0.1:{system.environment['SIMULATOR_PORT']}/data/spot/daily/klines/{PAIR}/1m/"
        with urllib.request.urlopen(f"{address}{name}{suffix}", timeout=60) as answer:
            path.with_name(name + suffix).write_bytes(answer.read())
    return path


@pytest.fixture(scope="module")
def imported(system: System, klines: Path) -> str:
    """What the first import says."""
    done = system.crypto("import", "klines", str(klines), "--symbol", PAIR)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.usefixtures("imported")
def test_an_imported_day_has_a_candle_for_every_minute_in_which_something_traded(system: System, day: str) -> None:
    sql = f"""
        select count(*) as minutes, count(c.interval_start) as candles, count(*) filter (c.volume <> k.volume
               or c.open <> k.open or c.high <> k.high or c.low <> k.low or c.close <> k.close) as differ
        from bronze.klines k left join silver.ohlcv_1m c on c.symbol = k.symbol and c.interval_start = k.open_time
        where k.symbol = '{PAIR}' and k.trade_count > 0"""
    [found] = system.query(sql)
    assert found["minutes"] == found["candles"] > 1000
    assert found["differ"] == 0
    labels = system.query(
        f"select distinct source, status, proof from silver.ohlcv_1m where symbol = '{PAIR}' and is_closed"
    )
    assert labels == [{"source": "archive", "status": "complete", "proof": "exchange_kline"}]
    [whole] = system.query(
        f"select interval_start::varchar as start, status from silver.ohlcv where symbol = '{PAIR}' and interval = '1d'"
    )
    assert whole["start"].startswith(day)
    assert whole["status"] == "complete"


def test_what_is_imported_again_is_there_already(system: System, klines: Path, imported: str) -> None:
    assert "1,440  rows new in bronze.klines" in imported
    again = system.crypto("import", "klines", str(klines), "--symbol", PAIR)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "0  rows new in bronze.klines" in again.stdout
    assert "1,440  already there" in again.stdout


@pytest.mark.parametrize(
    ("name", "symbol", "reason"),
    [("{}", "ETHUSDT", "is a file of LTCUSDT, not of ETHUSDT"), ("damaged.zip", PAIR, "is damaged")],
    ids=["of another symbol", "damaged"],
)
def test_a_file_that_is_wrong_is_refused_in_one_sentence(
    system: System, klines: Path, name: str, symbol: str, reason: str
) -> None:
    path = klines.with_name(name.format(klines.name))
    if not path.exists():
        path.write_bytes(klines.read_bytes()[:-2000])
    done = system.crypto("import", "klines", str(path), "--symbol", symbol)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("imported")
def test_single_trades_that_are_fetched_later_prove_the_minutes_that_were_imported(system: System, day: str) -> None:
    wanted = ("backfill", "--kind", "trades", "--symbol", PAIR, "--from", day, "--to", day, "--bronze-only")
    done = system.crypto(*wanted)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = f"select count(*) as n, count(distinct trade_id) as ids from bronze.trades where symbol = '{PAIR}'"
    [found] = system.query(counts)
    assert found["n"] == found["ids"] > 10_000
    unproven = f"select count(*) as n from silver.ohlcv_1m where symbol = '{PAIR}' and proof <> 'trade_ids'"
    wait_for("the pipeline has judged the day again", lambda: system.query(unproven)[0]["n"] == 0, 300, every=5)
    again = system.crypto(*wanted)
    assert "Every day of this is there" in again.stderr
    assert system.query(counts) == [found]


def test_a_month_is_fetched_by_its_partition_in_dagster(system: System, day: str) -> None:
    config = {"ops": {"fetch_history": {"config": {"symbols": "DOTUSDT"}}}}
    system.launch("history", config, {"dagster/partition": f"{day[:7]}-01"})
    sql = f"select count(*) as n from bronze.klines where symbol = 'DOTUSDT' and open_time::date = date '{day}'"
    wait_for("yesterday's klines", lambda: system.query(sql)[0]["n"] == 1440, every=5)


def test_nothing_is_left_where_rows_were_staged(system: System) -> None:
    staged = system.home / "var" / "demo" / "minio" / "datalake-demo" / "staging"
    wait_for("what was staged is removed", lambda: not staged.exists() or not list(staged.iterdir()), seconds=60)
