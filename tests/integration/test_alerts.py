"""Alerts of the deployed system, at a receiver of the test's own."""

import json
import os
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml

from alerts.store import login
from tests.system import PROJECT, SYMBOLS, System, wait_for

Message = tuple[float, dict[str, Any]]
"""When it came, in seconds since 1970, and what it was."""
RULES = PROJECT / "config" / "alerts.yaml"


class Told:
    """The messages that came, and the rules that are followed."""

    def __init__(self, system: System, port: int) -> None:
        self.messages: list[Message] = []
        self.system = system
        self._file = system.home / "alerts.yaml"
        self._hook = f"json://127.0.0.1:{port}/alerts"

    def follow(self, *rules: dict[str, Any]) -> None:
        """Write the rules, sent to the receiver, and wait until the service has taken them up."""
        named = [rule | {"destinations": ["hook"]} for rule in rules]
        self._file.write_text(yaml.safe_dump({"destinations": {"hook": {"url": self._hook}}, "rules": named}))
        log = self.system.home / "var" / "demo" / "log" / "alerts.log"
        before = log.read_text().count("is followed")
        wait_for("the rules are followed", lambda: log.read_text().count("is followed") > before, 10, every=0.1)

    def of(self, rule: str) -> list[Message]:
        """Of a rule, or of all whose names begin so."""
        return [message for message in self.messages if re.search(rf"\b{rule}\w*, ", message[1]["title"])]


@contextmanager
def receiving(system: System) -> Iterator[Told]:
    """A receiver of the system's alerts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.messages.append((time.time(), json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Told(system, server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    (system.home / "alerts.yaml").write_text(RULES.read_text())
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def told(system: System) -> Iterator[Told]:
    with receiving(system) as made:
        yield made


def rows(system: System, sql: str) -> list[tuple[Any, ...]]:
    connection = login(system.settings())
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())
    finally:
        connection.close()


def test_a_price_alert_is_at_the_receiver_within_two_seconds_of_its_trade(system: System, told: Told) -> None:
    """A level at which the price stands is crossed by its next steps, whichever way it goes."""
    asked = "select close from silver.ohlcv_1m where symbol = 'BTCUSDT' order by interval_start desc limit 1"
    price = wait_for("a candle", lambda: system.query(asked))[0]["close"]
    told.follow(
        *(
            {
                "name": f"level_{part + 20}", "kind": "price_crosses", "symbols": ["BTCUSDT"],
                "above": round(price * (1 + part / 10_000), 2), "cool_down_minutes": 0,
            }
            for part in range(-20, 21)
        )
    )  # fmt: skip
    wait_for("a price alert", lambda: told.of("level"), every=0.5)
    crossed = dict(rows(system, "select key::text, extract(epoch from happened_at) from alerts.outbox "
                                "join alerts.alerts on alerts.id = alert_id where about = 'fired'"))  # fmt: skip
    fired = [(at, message) for at, message in told.of("level") if message["about"] == "fired"]
    late = [at - float(crossed[message["key"]]) for at, message in fired]
    assert max(late) < 2, late


def test_a_gap_that_stays_open_is_told(system: System, told: Told) -> None:
    told.follow({"name": "hole", "kind": "gap", "minutes": 0, "cool_down_minutes": 0})
    error = system.simulator("/faults", {"kind": "rest_error", "seconds": 600})
    system.simulator("/faults", {"kind": "cut", "seconds": 20})
    try:
        wait_for("an alert of the gap", lambda: told.of("hole"))
    finally:
        system.simulator("/faults/end", {"id": error["id"]})


def test_a_killed_service_fires_nothing_twice(system: System, told: Told) -> None:
    def pid() -> int | None:
        return next(service.pid for service in system.services() if service.name == "alerts" and service.healthy)

    told.follow({"name": "silent", "kind": "price_crosses", "symbols": list(SYMBOLS), "above": 0.0001},
                {"name": "full", "kind": "disk", "percent": 0.001, "cool_down_minutes": 0})  # fmt: skip
    noted = (
        "select 1 from alerts.outbox join alerts.alerts on alerts.id = alert_id "
        "where rule = 'full' and delivered_at is not null"
    )
    wait_for("an alert of the disk is sent, and that is noted", lambda: rows(system, noted), seconds=30, every=0.5)
    first = pid()
    assert first
    os.kill(first, signal.SIGKILL)
    wait_for("it is back", lambda: any(s.name == "alerts" and s.healthy and s.pid != first for s in system.services()),
             seconds=60)  # fmt: skip
    health = f"http://127.0.0.1:{system.environment['ALERTS_PORT']}/health"
    wait_for("its rules are asked", lambda: json.load(urllib.request.urlopen(health, timeout=5))["faults"] == {}, 30)
    assert [message["about"] for _, message in told.of("full")] == ["fired"]
    assert told.of("silent") == []
    keys = [message["key"] for _, message in told.messages]
    assert len(keys) == len(set(keys))
    assert rows(system, "select rule, subject, occurrence from alerts.alerts where resolved_at is null "
                        "group by 1, 2, 3 having count(*) > 1") == []  # fmt: skip
