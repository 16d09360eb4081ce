"""Which alerts are active and when each fired last: what a finding changes. Pure; `alerts.store` keeps it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from alerts.kinds._kind import Finding, Rule


class Key(NamedTuple):
    """An alert that is active, of which there is one at most."""

    rule: str
    subject: str
    occurrence: str = ""


class Fired(NamedTuple):
    """An alert begins."""

    rule: Rule
    finding: Finding


class Resolved(NamedTuple):
    """An alert ends."""

    key: Key
    at: int
    text: str


Change = Fired | Resolved


class Book:
    """The active alerts. Each method that gives changes has taken them in."""

    def __init__(self, active: Iterable[Key] = (), last_fired: Iterable[tuple[str, str, int]] = ()) -> None:
        self.active = set(active)
        self._last_fired = {(rule, subject): at for rule, subject, at in last_fired}

    def changes(self, rule: Rule, subject: str, holds: bool | None, at: int, occurrence: str = "") -> bool:
        """Whether this makes an alert begin or end: cheap, for it is asked with each trade."""
        if holds is None or holds == (Key(rule.name, subject, occurrence) in self.active):
            return False
        return not holds or not self._cools_down(rule, subject, at)

    def _cools_down(self, rule: Rule, subject: str, at: int) -> bool:
        last = self._last_fired.get((rule.name, subject))
        return last is not None and abs(at - last) < rule.cool_down

    def take(self, rule: Rule, finding: Finding) -> Change | None:
        """The alert that begins or ends with a finding."""
        if not self.changes(rule, finding.subject, finding.holds, finding.at, finding.occurrence):
            return None
        key = Key(rule.name, finding.subject, finding.occurrence)
        if finding.holds:
            self.active.add(key)
            last = self._last_fired.get((rule.name, finding.subject), finding.at)
            self._last_fired[rule.name, finding.subject] = max(last, finding.at)
            return Fired(rule, finding)
        self.active.remove(key)
        return Resolved(key, finding.at, finding.text)

    def take_all(self, rule: Rule, findings: Sequence[Finding], now: int) -> list[Change]:
        """What changes with all that a rule found: an active alert that it does not name has ended.

        The earliest goes first, so that of several events of one subject the cool-down swallows the later ones.
        """
        ordered = sorted(findings, key=lambda finding: finding.at)
        changes = [change for finding in ordered if (change := self.take(rule, finding))]
        named = {Key(rule.name, finding.subject, finding.occurrence) for finding in findings}
        over = [key for key in self.active if key.rule == rule.name and key not in named]
        return [*changes, *self._end(over, now, "It is over.")]

    def keep(self, rules: Iterable[Rule], now: int) -> list[Change]:
        """End the alerts of rules that are gone."""
        names = {rule.name for rule in rules}
        gone = [key for key in self.active if key.rule not in names]
        return self._end(gone, now, "The rule is no longer in config/alerts.yaml.")

    def _end(self, keys: Sequence[Key], now: int, text: str) -> list[Change]:
        self.active.difference_update(keys)
        return [Resolved(key, now, text) for key in sorted(keys)]
