"""Past days from the simulated exchange, over HTTP: its archive and its REST tell the same."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from tenacity import wait_none

from crypto_pipeline.history import fetch
from crypto_pipeline.history.archives import ArchiveError
from crypto_pipeline.history.fetch import FetchError, Piece, Source
from crypto_pipeline.history.layouts import SAID, Kind
from shared.symbol_manager import Symbol
from streaming.exchange import Request
from streaming.exchanges.binance import Binance
from streaming.rest import Refused, RestClient
from streaming.simulator.server import Options, running
from tests.crypto_pipeline.history.conftest import BTC
from tests.servers import free_ports

QUIET = Symbol.model_validate({"symbol": "XRPUSDT", "name": "a quiet one"})
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
"""Or the day before it, where the tests run across midnight."""


@pytest.fixture(scope="module")
def venue() -> Iterator[Binance]:
    """The simulated exchange, open for two days and some hours."""
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    started: list[str] = []
    is_up = threading.Event()

    async def serve() -> None:
        async with running(Options(port=0, rate=0.5, history_hours=60)) as address:
            started.append(address)
            is_up.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert is_up.wait(60), "the simulator did not start"
    address = f"http://{started[0]}"
    yield Binance(rest_url=address, archive_url=address)
    loop.call_soon_threadsafe(ended.set)
    thread.join(30)
    loop.close()


@pytest.fixture
def source(venue: Binance, tmp_path: Path) -> Iterator[Source]:
    """Both of its ways."""
    with RestClient(venue) as rest:
        yield Source(venue, rest, tmp_path)


def piece(kind: Kind, symbol: Symbol = BTC, day: date = YESTERDAY) -> Piece:
    return Piece(kind, symbol, day, day + timedelta(days=1))


def said(source: Source, wanted: Piece, *, by_rest: bool) -> list[dict[str, object]]:
    """The rows without where they are from, the oldest first."""
    parts = list(source.by_rest(wanted) if by_rest else source.parts(wanted))
    rows = pa.concat_tables([part.rows for part in parts], promote_options="default").to_pylist()
    of_one_way = ("published_at", "received_at", "first_trade_id", "last_trade_id", SAID)
    unlike = ("source", "connection_id", *of_one_way)
    plain = [{name: value for name, value in row.items() if name not in unlike} for row in rows]
    return sorted(plain, key=lambda row: (row["event_time"], row.get("trade_id", 0), row.get("agg_trade_id", 0)))


@pytest.mark.parametrize("kind", ["klines", "trades", "agg-trades"])
def test_the_archive_and_rest_say_the_same(source: Source, kind: Kind) -> None:
    of_archive, of_rest = (said(source, piece(kind, QUIET), by_rest=way) for way in (False, True))
    assert len(of_archive) > 100
    assert of_archive == of_rest


def test_a_whole_day_of_klines_has_every_minute_once(source: Source) -> None:
    opens = [row["open_time"] for row in said(source, piece("klines"), by_rest=True)]
    assert len(opens) == len(set(opens)) == 1440


def test_today_comes_by_rest_without_the_minute_that_is_open(source: Source) -> None:
    today = datetime.now(UTC).date()
    (part,) = source.parts(piece("klines", day=today))
    assert set(part.rows["source"].to_pylist()) == {"rest"}
    assert max(part.rows["close_time"].to_pylist()) < datetime.now(UTC)


class _Slow:
    """A REST client whose every reply takes a minute, of a clock that it moves."""

    def __init__(self, rest: RestClient, now: datetime) -> None:
        self._rest = rest
        self.now = now

    def get(self, request: Request) -> bytes:
        self.now += timedelta(minutes=1)
        return self._rest.get(request)


@pytest.mark.parametrize(("second", "minutes"), [(9, 1), (11, 2)])
def test_a_kline_counts_as_closed_ten_seconds_after_its_minute_when_it_is_asked_for(
    venue: Binance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: int, minutes: int
) -> None:
    start = datetime(YESTERDAY.year, YESTERDAY.month, YESTERDAY.day, tzinfo=UTC)
    with RestClient(venue) as rest:
        slow = _Slow(rest, start + timedelta(minutes=2, seconds=second))
        monkeypatch.setattr(fetch, "_now", lambda: int(slow.now.timestamp()) * 1_000_000)
        first = next(Source(venue, slow, tmp_path)._klines(BTC, fetch._micros(YESTERDAY), fetch._now()))
    assert len(first) == minutes


def test_before_the_market_opened_there_is_nothing(source: Source) -> None:
    assert list(source.parts(piece("klines", day=YESTERDAY - timedelta(days=40)))) == []


def test_what_was_read_is_told_day_by_day(venue: Binance, tmp_path: Path) -> None:
    told: list[date] = []
    with RestClient(venue) as rest:
        source = Source(venue, rest, tmp_path, did=told.extend)
        list(source.parts(Piece("klines", BTC, YESTERDAY - timedelta(days=1), YESTERDAY + timedelta(days=1))))
    assert told == [YESTERDAY, YESTERDAY - timedelta(days=1)]
    assert list(tmp_path.iterdir()) == [], "files are removed once they are read"


class _NoSingleTrades:
    """A REST client to which the exchange refuses single trades, as some of its hosts do."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    def get(self, request: Request) -> bytes:
        if "historicalTrades" in request.url:
            raise Refused("It wants a key.", 401)
        return self._rest.get(request)


def test_where_single_trades_are_refused_it_says_when_they_can_be_had(venue: Binance, tmp_path: Path) -> None:
    with RestClient(venue) as rest:
        source = Source(venue, _NoSingleTrades(rest), tmp_path)
        with pytest.raises(FetchError, match="The archive has the file of a day on the next one"):
            list(source.parts(piece("trades", day=datetime.now(UTC).date())))


@pytest.fixture
def wrong_checksums(venue: Binance) -> Iterator[None]:
    """The exchange's checksums are wrong for a while."""
    with httpx.Client(base_url=str(venue.base_archive_url)) as simulator:
        fault = simulator.post("/faults", json={"kind": "archive_checksum", "seconds": 0}).raise_for_status().json()
        yield
        simulator.post("/faults/end", json={"id": fault["id"]}).raise_for_status()


@pytest.mark.usefixtures("wrong_checksums")
def test_candles_whose_file_is_refused_come_by_rest(venue: Binance, tmp_path: Path) -> None:
    warned: list[str] = []
    with RestClient(venue) as rest:
        parts = list(Source(venue, rest, tmp_path, warn=warned.append).parts(piece("klines")))
    assert sum(part.rows.num_rows for part in parts) == 1440
    assert {source for part in parts for source in part.rows["source"].to_pylist()} == {"rest"}
    assert "is not what" in warned[0]


@pytest.mark.usefixtures("wrong_checksums")
def test_single_trades_whose_file_is_refused_are_not_taken_from_it(source: Source) -> None:
    with pytest.raises(ArchiveError, match="download both again"):
        list(source.parts(piece("trades")))


@pytest.fixture
def unreachable(venue: Binance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """Its REST answers, and nobody listens where its archive was."""
    monkeypatch.setattr(fetch._downloaded.retry, "wait", wait_none())
    away = Binance(rest_url=venue.base_rest_url, archive_url=f"http://127.0.0.1:{free_ports(1)[0]}")
    with RestClient(away) as rest:
        yield Source(away, rest, tmp_path)


def test_candles_come_by_rest_where_the_archive_cannot_be_reached(unreachable: Source) -> None:
    warned: list[str] = []
    month = YESTERDAY.replace(day=1) - timedelta(days=1)
    days = (piece("klines"), Piece("klines", BTC, month.replace(day=1), YESTERDAY.replace(day=1)))
    parts = [part for days_of_it in days for part in replace(unreachable, warn=warned.append).parts(days_of_it)]
    assert sum(part.rows.num_rows for part in parts) >= 1440
    assert {source for part in parts for source in part.rows["source"].to_pylist()} == {"rest"}
    assert len(warned) == 2, "a month is not asked for again day by day"
    assert "cannot be had" in warned[0]


def test_single_trades_of_an_archive_that_cannot_be_reached_fail_in_one_sentence(unreachable: Source) -> None:
    with pytest.raises(FetchError, match=r"cannot be had \(.*refused.*\): run the same again later"):
        list(unreachable.parts(piece("trades")))
