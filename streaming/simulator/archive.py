"""Public files of past days and months, as data.binance.vision serves them, made when they are first asked for.

`/data/spot/daily/trades/BTCUSDT/BTCUSDT-trades-2026-11-20.zip`, `.../daily/aggTrades/...`,
`.../daily/klines/BTCUSDT/1m/BTCUSDT-1m-2026-11-20.zip`, and `monthly` with `-2026-10`; each with a `.CHECKSUM` beside
it. A zip holds one CSV of the same name, without a header, times in microseconds. Source: the README of
github.com/binance/binance-public-data.
"""

import asyncio
import hashlib
import re
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from streaming.simulator.candles import minute_candles, spans
from streaming.simulator.clock import Clock
from streaming.simulator.market import MINUTE, Market, Tape
from streaming.simulator.messages import MICROSECOND, aggregate_csv, kline_row, trade_csv
from streaming.simulator.stage import ArchiveFaults

KEPT_BYTES = 400 * 1024 * 1024
"""How much the files that are kept may take together."""
_REMADE_AFTER = 10.0
"""Seconds after which the file of an unfinished day is made anew; within it, zip and checksum agree."""
_LEVEL = 1
"""Of compression: a day of a busy symbol is asked for while others wait."""
_ADDRESS = re.compile(
    r"(?P<period>daily|monthly)/(?P<what>trades|aggTrades|klines)/(?P<symbol>[^/]+)(?P<interval>/1m)?/"
    r"(?P=symbol)-(?P<name>trades|aggTrades|1m)-(?P<date>\d{4}-\d{2}(?:-\d{2})?)\.zip(?P<checksum>\.CHECKSUM)?"
)
_NOT_THERE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
)
_WRONG = "0" * 64


class _Wanted(NamedTuple):
    what: str
    tape: Tape
    start: int
    end: int
    """Of the period, in microseconds."""
    name: str
    """Without an ending."""
    is_checksum: bool


class Archive:
    """The files of one market, kept in a folder."""

    def __init__(self, market: Market, clock: Clock, faults: ArchiveFaults, folder: Path) -> None:
        self._market = market
        self._clock = clock
        self._faults = faults
        self._folder = folder
        self._making = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/data/spot/{address:.+}", self._file)]

    async def _file(self, request: web.Request) -> web.StreamResponse:
        wanted = self._wanted(request.match_info["address"])
        symbol = wanted.tape.instrument.symbol if wanted else ""
        fault = self._faults.of(symbol) if wanted else None
        if wanted is None or fault == "absent":
            return web.Response(status=404, text=_NOT_THERE, content_type="application/xml")
        path = await self._made(wanted)
        content = await asyncio.to_thread(_corrupted, path) if fault == "corrupt" else None
        if not wanted.is_checksum:
            return web.FileResponse(path) if content is None else web.Response(body=content)
        if fault == "checksum":
            digest = _WRONG
        elif content is None:
            digest = path.with_suffix(".sha256").read_text()
        else:
            digest = hashlib.sha256(content).hexdigest()
        return web.Response(text=f"{digest}  {wanted.name}.zip\n")

    def _wanted(self, address: str) -> _Wanted | None:
        """What an address asks for; none where there is no such file (yet)."""
        found = _ADDRESS.fullmatch(address)
        if not found or (found["what"] == "klines") != bool(found["interval"]):
            return None
        is_monthly = found["period"] == "monthly"
        if found["name"] != ("1m" if found["what"] == "klines" else found["what"]):
            return None
        try:
            day = datetime.strptime(found["date"], "%Y-%m" if is_monthly else "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            return None
        following = (day.replace(day=28) + timedelta(days=4)).replace(day=1) if is_monthly else day + timedelta(days=1)
        start, end = _micros(day), _micros(following)
        tape = self._market.tape(found["symbol"])
        if tape is None or end <= tape.opening or start >= self._clock():
            return None
        if end > self._clock() and (is_monthly or not self._faults.is_early(found["symbol"])):
            return None
        name = f"{found['symbol']}-{found['name']}-{found['date']}"
        return _Wanted(found["what"], tape, start, end, name, found["checksum"] is not None)

    async def _made(self, wanted: _Wanted) -> Path:
        """The finished file, with its checksum beside it."""
        path = self._folder / f"{wanted.name}.zip"
        async with self._making:
            if self._is_stale(wanted, path.with_suffix(".sha256")):
                await asyncio.to_thread(_make, wanted, min(wanted.end, self._clock()), path)
                self._forget_old(path)
        return path

    def _is_stale(self, wanted: _Wanted, marker: Path) -> bool:
        """Whether a file is not there, or was made before its day was over."""
        if not marker.exists():
            return True
        made = marker.stat().st_mtime
        return made * 1e6 < wanted.end and time.time() - made > _REMADE_AFTER

    def _forget_old(self, newest: Path) -> None:
        files = sorted(self._folder.glob("*.zip"), key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for path in files:
            total += path.stat().st_size
            if total > KEPT_BYTES and path != newest:
                path.with_suffix(".sha256").unlink(missing_ok=True)
                path.unlink()


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def _make(wanted: _Wanted, end: int, path: Path) -> None:
    """Writes the zip and its checksum: the same bytes whenever it is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tape = wanted.tape
    first = max(tape.minute_of(wanted.start), 0)
    last = tape.minute_of(end)
    entry = zipfile.ZipInfo(f"{wanted.name}.csv")
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    beside = path.with_suffix(".new")
    with (
        zipfile.ZipFile(beside, "w", compresslevel=_LEVEL) as packed,
        packed.open(entry, "w", force_zip64=True) as file,
    ):
        for begin, until in spans(tape, first, last):
            file.write(_LINES[wanted.what](tape, begin, until))
    with beside.open("rb") as made:
        digest = hashlib.file_digest(made, "sha256").hexdigest()
    beside.replace(path)
    path.with_suffix(".sha256").write_text(digest)


def _trade_lines(tape: Tape, begin: int, until: int) -> bytes:
    return trade_csv(tape.instrument, tape.trades_of_minutes(begin, until))


def _aggregate_lines(tape: Tape, begin: int, until: int) -> bytes:
    return aggregate_csv(tape.instrument, tape.trades_of_minutes(begin, until))


def _kline_lines(tape: Tape, begin: int, until: int) -> bytes:
    candles = minute_candles(tape, begin, until)
    candles = candles[tape.is_open(candles.minute)]
    rows = [
        kline_row(tape.instrument, tape.minute_start(minute), MINUTE, bar, MICROSECOND)
        for minute, bar in zip(candles.minute.tolist(), candles.rows(), strict=True)
    ]
    return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()


_LINES: dict[str, Callable[[Tape, int, int], bytes]] = {
    "trades": _trade_lines,
    "aggTrades": _aggregate_lines,
    "klines": _kline_lines,
}


def _corrupted(path: Path) -> bytes:
    """The file without its second half: no zip any more."""
    content = path.read_bytes()
    return content[: len(content) // 2]
