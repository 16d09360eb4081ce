"""The rules that are asked, every few seconds, in a thread of their own: what answers slowly keeps no trade waiting."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple

from alerts import digest
from alerts.kinds._kind import AskedRule, Finding, SourceError
from alerts.rules import AlertsFile
from alerts.sources import Asked, Market
from shared.settings import Settings

log = logging.getLogger(__name__)

ASK_SECONDS = 5.0


class Answer(NamedTuple):
    """All that a rule found."""

    rule: AskedRule
    findings: Sequence[Finding]
    at: int


class DigestDue(NamedTuple):
    """The digest of a UTC day."""

    day: str
    body: str
    destinations: Sequence[str]


class Asking(threading.Thread):
    """Asks until `stop`; `take` gives what was answered."""

    def __init__(self, settings: Settings, seen: Mapping[Market, int]) -> None:
        super().__init__(name="asking", daemon=True)
        self._sources = Asked(settings, seen)
        self._file = AlertsFile()
        self._answers: SimpleQueue[Answer | DigestDue] = SimpleQueue()
        self._stopping = threading.Event()
        self._changed = threading.Event()
        self._told_of = ""
        self.failing: dict[str, str] = {}
        """By rule, why it could not be asked."""
        self.asked_at = 0.0
        """When all rules were asked last, by the monotonic clock."""

    def follow(self, file: AlertsFile) -> None:
        """From now on ask these rules."""
        self._file = file
        self._changed.set()

    def take(self) -> Answer | DigestDue | None:
        """The next answer, if there is one."""
        try:
            return self._answers.get_nowait()
        except Empty:
            return None

    def stop(self) -> None:
        """End soon."""
        self._stopping.set()
        self._changed.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            self._changed.clear()
            self._ask(self._file)
            self._changed.wait(ASK_SECONDS)
        self._sources.close()

    def _ask(self, file: AlertsFile) -> None:
        failing: dict[str, str] = {}
        for rule in file.rules:
            if not isinstance(rule, AskedRule):
                continue
            now = time.time_ns() // 1000
            try:
                self._answers.put(Answer(rule, list(rule.ask(self._sources, now)), now))
            except SourceError as error:
                failing[rule.name] = str(error)
            except Exception:  # one kind's fault is not that of the others
                log.exception("the rule %s cannot be asked", rule.name)
                failing[rule.name] = "it fails: see the log"
        for rule_name in failing.keys() - self.failing.keys():
            log.warning("the rule %s cannot be asked: %s", rule_name, failing[rule_name])
        self.failing = failing
        self.asked_at = time.monotonic()
        self._digest(file)

    def _digest(self, file: AlertsFile) -> None:
        now = time.time_ns() // 1000
        day = digest.due(now, file.digest.hour) if file.digest else ""
        if file.digest and day > self._told_of:
            try:
                body = digest.text(digest.read(self._sources, now))
            except SourceError as error:
                log.warning("the digest waits: %s", error)
                return
            self._answers.put(DigestDue(day, body, file.digest.destinations))
            self._told_of = day
