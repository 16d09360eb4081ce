"""A seeded campaign against a deployed system: each fault alone, then faults and kills mixed, then calm until all is
settled.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.facts import MINUTE, Disturbance
from tests.chaos.plan import Fault, Plan
from tests.chaos.settling import STARTED_WITHIN, TICK, now, unsettled_after, wait_for_a_clean_minute
from tests.chaos.victims import kill
from tests.system import SYMBOLS, System

SETTLED_WITHIN = 600.0
OVER_WITHIN = 60.0
"""Seconds that are granted at most."""
SETTLED_A_MINUTE = 200.0
"""To settle, a long campaign is granted so many seconds for each of its minutes: of ten, at 2,000 messages a second and
with a kill every twenty seconds, hardly a run comes to its end, and all of it is a backlog while as much comes anew."""
PAUSE = 0.3
"""Between two faults that come alone."""
SILENCE_NOTICED = 20_000_000
"""Microseconds. A shorter silence is found by what is missing, and in tickers and snapshots nothing is counted."""
HABIT = 45_000_000
"""Microseconds in which a new service learns how long each stream is used to be silent."""


@dataclass
class Campaign:
    """What was done, and how it ended."""

    system: System
    plan: Plan
    say: Callable[[str], None]
    kills: list[Disturbance] = field(default_factory=list)
    until: int = 0
    """The end of what is judged, a whole minute."""
    mixed_from: int = 0
    """When the mixture began: before it each fault had its own time, and nothing was killed."""
    unsettled: str = ""
    """What was not settled in time; empty where all was."""

    def run(self) -> None:
        """All of it. Takes the plan's time, and a few minutes more."""
        wait_for_a_clean_minute(self.system, self.say)
        self._refuse()
        for fault in self.plan.slow:
            self._ask(fault)
        for step in self.plan.alone:
            self._until_over([self._ask(fault) for fault in step])
        self.say(f"a mixture of faults and {len(self.plan.kills)} kills for {self.plan.minutes:g} minutes")
        self.mixed_from = now()
        self._ask(self.plan.mixture)
        self._kill()
        self.system.simulator("/faults/end", {})
        self._settle()

    def done(self) -> list[Disturbance]:
        """All that was done, by the simulator's own account and ours."""
        notes = self.system.simulator("/truth/faults")["faults"]
        restarts = [one.start for one in self.kills if one.kind == "kill of streaming"]
        return [*self.kills, *(_disturbance(note, restarts) for note in notes)]

    @property
    def granted(self) -> float:
        """Seconds in which all is to settle."""
        return max(SETTLED_WITHIN, SETTLED_A_MINUTE * self.plan.minutes)

    def failed(self) -> list[Any]:
        """The faults that the simulator could not bring about."""
        return [note for note in self.system.simulator("/truth/faults")["faults"] if "failed" in note["details"]]

    def _ask(self, fault: Fault) -> Any:
        self.say(f"fault {dict(fault)}")
        return self.system.simulator("/faults", fault)

    def _refuse(self) -> None:
        """A hole that only merged fills can cover. A new service asks for single trades again."""
        self._until_over([self._ask(fault) for fault in self.plan.refused])
        deadline = time.monotonic() + OVER_WITHIN
        while self.system.metric("gaps_open"):
            assert time.monotonic() < deadline, "merged fills do not cover the hole"
            time.sleep(TICK)
        killed = self._kill_one("streaming")
        assert killed, "the streaming service does not run"
        deadline = time.monotonic() + STARTED_WITHIN
        while not self._runs_anew("streaming", killed):
            assert time.monotonic() < deadline, "the streaming service does not come back"
            time.sleep(TICK)
        before = self._last_sent()
        while not all(last > known for last, known in zip(self._last_sent(), before, strict=True)):
            assert time.monotonic() < deadline, "the streaming service does not subscribe to every symbol"
            time.sleep(TICK)

    def _runs_anew(self, service: str, killed: int) -> bool:
        known = self.system.supervisor().processes()[service]
        return known["statename"] == "RUNNING" and known["pid"] != killed

    def _last_sent(self) -> list[int]:
        """The last trade of each symbol that was sent."""
        return [self.system.simulator(f"/truth/sent?symbol={symbol}")["trade"][-1][1] for symbol in SYMBOLS]

    def _until_over(self, notes: list[Any]) -> None:
        numbers = {note["id"] for note in notes}
        deadline = time.monotonic() + OVER_WITHIN
        while any(
            note["id"] in numbers and note["to"] is None for note in self.system.simulator("/truth/faults")["faults"]
        ):
            assert time.monotonic() < deadline, f"the simulator does not end {notes}"
            time.sleep(TICK)
        time.sleep(PAUSE)

    def _kill(self) -> None:
        """The kills of the plan, each at its time, and when its victim is there."""
        waiting = list(self.plan.kills)
        began, seconds = time.monotonic(), self.plan.minutes * 60
        while (at := time.monotonic() - began) < seconds or waiting:
            for due in [one for one in waiting if one.at <= at]:
                if self._kill_one(due.victim):
                    waiting.remove(due)
            assert at < seconds + STARTED_WITHIN, f"never there to be killed: {waiting}"
            time.sleep(TICK)

    def _kill_one(self, victim: str) -> int | None:
        """The pid of what was killed; none where there is nothing to kill."""
        pid = kill(self.system, victim)
        if pid:
            self.kills.append(Disturbance(f"kill of {victim}", now(), now(), is_outage=victim == "streaming"))
            self.say(f"killed {victim} ({pid})")
        return pid

    def _settle(self) -> None:
        self.until = (now() // MINUTE + 1) * MINUTE
        self.unsettled = unsettled_after(self.system, self.until, self.granted, self.say, self._halted())

    def _halted(self) -> str:
        """The minutes in which a symbol was halted."""
        notes = self.system.simulator("/truth/faults")["faults"]
        spans = [note["details"]["minutes"] for note in notes if note["kind"] == "halt"]
        return ", ".join(str(minute) for start, stop in spans for minute in range(start, stop, MINUTE))


def _disturbance(note: Mapping[str, Any], restarts: Sequence[int]) -> Disturbance:
    """A fault by the simulator's account of it."""
    asked, start, stop = note["asked"], note["from"], note["to"] or now()
    is_whole = note["connections"] > 0 and asked.get("connections") == "all" and not asked.get("stream")
    is_known = stop - start > SILENCE_NOTICED and not any(start - HABIT < restart < stop for restart in restarts)
    return Disturbance(
        note["kind"],
        start,
        stop,
        tuple(sorted({stream.partition("@")[0].upper() for stream in note["streams"]})),
        is_outage=is_whole and (note["kind"] in ("cut", "rotate") or is_known),
        was_felt=note["connections"] > 0,
        detail=f"{ {name: value for name, value in asked.items() if value} } {note['details'] or ''}",
    )
