"""Knows how long each series is used to be silent, and says which one is silent for longer.

Every message notes its time in `heard`, nothing else; the rest is done once a second.
"""

from streaming.coverage import Key

SECOND = 1_000_000

FLOOR_SECONDS = {"trade": 30, "ticker": 10, "kline_1m": 15, "depth5": 10}
"""No series is called silent sooner."""
CEILING_SECONDS = {"trade": 3600, "ticker": 300, "kline_1m": 300, "depth5": 300}
"""No known series is left silent for longer."""
UNKNOWN_SECONDS = {"ticker": 60, "kline_1m": 90, "depth5": 60}
"""For a series whose habit is not known yet. Trades have none then: a quiet symbol may trade once a day."""
TIMES_THE_LONGEST = 4
"""Silence is out of habit when it is so much longer than the longest lately. Where trades come at random, one a minute
on average, that is wrong about once in five months."""
KNOWN_AFTER = 30
"""Seconds in which something came, before there is a habit."""
LATELY_SECONDS = 1800
"""A habit is that of the last one or two such spans."""
STALL_SECONDS = 10
"""Where this was not asked for so long, the process stood still and not the market."""


class _Habit:
    """Of one series. Times are microseconds."""

    __slots__ = ("alarms", "count", "count_before", "longest", "longest_before", "silence", "since", "upto")

    def __init__(self) -> None:
        self.since = self.upto = self.silence = 0
        self.longest = self.longest_before = self.count = self.count_before = 0
        self.alarms = 0


class Watchdog:
    """The habits of the series that connections carry."""

    def __init__(self) -> None:
        self.heard: dict[tuple[str, str, str], int] = {}
        """When each series was last heard, in microseconds."""
        self._habits: dict[Key, _Habit] = {}
        self._watched: dict[Key, _Habit] = {}
        self._asked = self._turned = self._stood_still_until = 0

    def cover(self, key: Key, at: int) -> None:
        """A connection has begun to carry it: silence counts from here."""
        habit = self._habits.setdefault(key, _Habit())
        habit.since = at
        self._watched[key] = habit

    def leave(self, key: Key) -> None:
        """Nobody carries it any more, so its silence says nothing. Its habit is remembered."""
        self._watched.pop(key, None)

    def tick(self, now: int) -> list[tuple[Key, int]]:
        """Those that are silent out of their habit, and since when.

        One that stays silent is named again after twice the time, four times, and so on: it may be halted, and a new
        connection every minute would not help it.
        """
        passed = now - self._asked if self._asked else SECOND
        if passed < -STALL_SECONDS * SECOND:
            self._clock_went_back(now)
        if passed < SECOND:
            return []
        self._asked = now
        if now - self._turned > LATELY_SECONDS * SECOND:
            self._turn(now)
        if passed > STALL_SECONDS * SECOND:
            self._stood_still_until = now
        return [
            (key, max(habit.upto, habit.since))
            for key, habit in self._watched.items()
            if self._is_silent(key, habit, now)
        ]

    def _clock_went_back(self, now: int) -> None:
        """What was heard lies in the future now: silence counts from here. How long it used to last is still known."""
        self._asked = self._turned = self._stood_still_until = now
        self.heard.clear()
        for habit in self._habits.values():
            habit.since = now
            habit.upto = habit.silence = habit.alarms = 0

    def _is_silent(self, key: Key, habit: _Habit, now: int) -> bool:
        upto = self.heard.get(key, 0)
        if upto > habit.upto:
            # Many messages may have come since the last look; the first of them ended a silence of at most a look more.
            silence = min(upto - max(habit.upto, habit.since), habit.silence + SECOND)
            habit.longest = max(habit.longest, silence)
            habit.count += 1
            habit.upto = upto
            habit.alarms = 0
        habit.silence = now - max(habit.upto, habit.since, self._stood_still_until)
        patience = _patience_seconds(key.stream, habit)
        if patience is None or habit.silence <= patience * SECOND * 2**habit.alarms:
            return False
        habit.alarms += 1
        return True

    def _turn(self, now: int) -> None:
        self._turned = now
        for habit in self._habits.values():
            habit.longest_before, habit.longest = habit.longest, 0
            habit.count_before, habit.count = habit.count, 0


def _patience_seconds(stream: str, habit: _Habit) -> float | None:
    if habit.count + habit.count_before < KNOWN_AFTER:
        return UNKNOWN_SECONDS.get(stream)
    longest = max(habit.longest, habit.longest_before) / SECOND
    return min(max(longest * TIMES_THE_LONGEST, FLOOR_SECONDS[stream]), CEILING_SECONDS[stream])
