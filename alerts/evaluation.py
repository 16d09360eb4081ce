"""The rules of one file, evaluated from what the database has: so after a kill, a lost connection, another file."""

import logging
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

from alerts.asking import Answer, Asking, DigestDue
from alerts.book import Change, Fired
from alerts.kinds._kind import Rule, TradeRule
from alerts.metrics import Metrics
from alerts.rules import AlertsFile
from alerts.sources import Market
from alerts.store import Store
from alerts.stream import Stream
from alerts.watch import Watch

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
CHECKPOINT_SECONDS = 10.0
"""How often the place in Kafka is kept while nothing fires; after a kill so much is read again, to the same effect."""
TRIM_SECONDS = 3600.0
WAITING_SECONDS = 5.0


class Evaluation:
    """Its methods raise `psycopg2.Error` or `KafkaError`, after which it is to be made anew."""

    def __init__(
        self,
        file: AlertsFile,
        store: Store,
        stream: Stream,
        asking: Asking,
        seen: MutableMapping[Market, int],
        metrics: Metrics,
    ) -> None:
        self._file = file
        self._rules: Mapping[str, Rule] = {rule.name: rule for rule in file.rules}
        self._store = store
        self._stream = stream
        self._asking = asking
        self._seen = seen
        self._metrics = metrics
        self._book = store.book()
        on_trades: list[TradeRule[Any]] = [rule for rule in file.rules if isinstance(rule, TradeRule)]
        self._watch = Watch(on_trades, store.memories([rule.name for rule in on_trades]))
        self._changes: list[Change] = self._book.keep(file.rules, time.time_ns() // 1000)
        self._next_checkpoint = self._next_trim = self._next_waiting = 0.0

    def step(self) -> bool:
        """Take in what has come, and keep what it changes; whether there is something to send."""
        newest = self._see_trades()
        is_news = self._take_answers()
        if self._changes or time.monotonic() >= self._next_checkpoint:
            is_news |= self.commit()
        if newest:
            self._metrics.delay.observe(max(time.time() - newest / 1_000_000, 0))
        self._keep_house()
        return is_news

    def commit(self) -> bool:
        """Keep what changed, with the place in Kafka; whether something did."""
        changes, self._changes = self._changes, []
        self._store.commit(changes, self._stream.moved(), self._watch.changed())
        self._next_checkpoint = time.monotonic() + CHECKPOINT_SECONDS
        for change in changes:
            if isinstance(change, Fired):
                rule, finding = change
                self._metrics.fired.labels(rule.name, rule.severity).inc()
                log.warning("%s %s, %s: %s", rule.severity.upper(), rule.name, finding.subject, finding.text)
            else:
                log.info("resolved %s, %s: %s", change.key.rule, change.key.subject, change.text)
        self._metrics.active.set(len(self._book.active))
        return bool(changes)

    def _see_trades(self) -> int:
        """The time of the newest trade that came."""
        newest = 0
        for arrived in self._stream.poll(POLL_SECONDS):
            self._seen[arrived.exchange, arrived.symbol] = time.time_ns() // 1000
            if trade := arrived.trade():
                self._changes += self._watch.see(trade, self._book)
                newest = max(newest, trade.event_time)
        return newest

    def _take_answers(self) -> bool:
        """Take in what the asked rules found; whether a digest is to be sent."""
        is_digest = False
        while answer := self._asking.take():
            match answer:
                case Answer(rule, findings, at) if self._rules.get(rule.name) is rule:
                    self._changes += self._book.take_all(rule, findings, at)
                case DigestDue(day, body, destinations):
                    is_digest |= self._store.commit_digest(day, body, destinations)
        return is_digest

    def _keep_house(self) -> None:
        now = time.monotonic()
        self._metrics.failing.set(len(self._asking.failing))
        if now >= self._next_waiting:
            self._next_waiting = now + WAITING_SECONDS
            self._metrics.wait(self._store.waiting())
        if now >= self._next_trim:
            self._next_trim = now + TRIM_SECONDS
            self._store.trim(self._file.keep_days)
