"""Binance's REST calls over a real port, answered from a tape that the test writes."""

import json
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

MINUTE = 60_000_000


class Asked(NamedTuple):
    """A request that came, and when."""

    at: float
    path: str
    query: dict[str, str]
    headers: dict[str, str]


class Refusal(NamedTuple):
    """What a call is answered instead, `times` times."""

    status: int
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    times: float = float("inf")


class RestVenue:
    """One pair is traded. A trade's time is `start` plus its id in milliseconds; two in a row are one merged fill."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.ids: set[int] = set()
        """Which trades REST has."""
        self.minutes: set[int] = set()
        """Which klines it has, by open time."""
        self.bad: set[int] = set()
        """Trades and minutes whose price is 0."""
        self.pairs: list[dict[str, Any]] = []
        self.turnovers: dict[str, str] = {}
        self.refusals: dict[str, Refusal] = {}
        """By the last part of the path."""
        self.asked: list[Asked] = []
        self.used: int | None = None
        """The weight that a reply names; the number of requests times 25 where none."""
        self.recent = 1000
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def count(self, call: str) -> int:
        """How often a call came."""
        return sum(asked.path.endswith(f"/{call}") for asked in self.asked)

    def time_of(self, number: int) -> int:
        """Of a trade, in microseconds."""
        return self.start + number * 1000

    def _answer(self, call: str, query: dict[str, str]) -> object:
        limit = int(query.get("limit", "500"))
        calls: dict[str, Callable[[], object]] = {
            "historicalTrades": lambda: [self._trade(n) for n in sorted(self.ids) if n >= int(query["fromId"])][:limit],
            "trades": lambda: [self._trade(n) for n in sorted(self.ids)[-min(limit, self.recent) :]],
            "aggTrades": lambda: [
                fill for fill in self._fills() if fill["T"] >= int(query["startTime"]) * 1000
            ][:limit],
            "klines": lambda: [
                self._kline(minute)
                for minute in sorted(self.minutes)
                if int(query["startTime"]) * 1000 <= minute <= int(query["endTime"]) * 1000
            ][:limit],
            "exchangeInfo": lambda: {"serverTime": time.time_ns() // 1000, "symbols": self.pairs},
            "24hr": lambda: [{"symbol": name, "quoteVolume": volume} for name, volume in self.turnovers.items()],
        }  # fmt: skip
        return calls[call]()

    def _trade(self, number: int) -> dict[str, Any]:
        return {
            "id": number, "price": "0" if number in self.bad else "2.50000000", "qty": "3.00000000", "quoteQty": "7.5",
            "time": self.time_of(number), "isBuyerMaker": number % 2 == 0, "isBestMatch": True,
        }  # fmt: skip

    def _fills(self) -> list[dict[str, Any]]:
        pairs = sorted({number // 2 for number in self.ids})
        return [
            {"a": pair, "p": "2.5", "q": "6", "f": 2 * pair, "l": 2 * pair + 1, "T": self.time_of(2 * pair), "m": True}
            for pair in pairs
        ]

    def _kline(self, minute: int) -> list[Any]:
        opens = "0" if minute in self.bad else "1"
        return [minute, opens, "2", "0.5", "1.5", "10", minute + MINUTE - 1, "15", 7, "4", "6", "0"]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        venue = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                address = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(address.query).items()}
                venue.asked.append(Asked(time.monotonic(), address.path, query, dict(self.headers)))
                call = address.path.rsplit("/", 1)[-1]
                refusal = venue.refusals.get(call)
                if refusal and refusal.times > 0:
                    venue.refusals[call] = refusal._replace(times=refusal.times - 1)
                    self._reply(refusal.status, refusal.body, refusal.headers)
                else:
                    self._reply(200, json.dumps(venue._answer(call, query)))

            def _reply(self, status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
                body = text.encode()
                self.send_response_only(status)
                self.send_header("Date", formatdate(usegmt=True))
                used = 25 * len(venue.asked) if venue.used is None else venue.used
                self.send_header("X-MBX-USED-WEIGHT-1M", str(used))
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
