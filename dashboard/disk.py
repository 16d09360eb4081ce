"""How full the disk is, and when it will be full at the pace of the last week."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from shared.disk import existing

SAMPLE_SECONDS = 600
KEPT = 7 * 24 * 3600 // SAMPLE_SECONDS
SHORTEST_HOURS = 1.0
"""Of less, no pace can be told."""


@dataclass(frozen=True)
class Disk:
    """Bytes; `days_until_full` is None while the pace is not known or nothing grows."""

    used: int
    total: int
    free: int
    bytes_a_day: float | None
    days_until_full: float | None


class DiskLog:
    """Keeps what was used, every ten minutes for a week, in a small file, so that a new start knows the pace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "dashboard" / "disk.jsonl"

    def sample(self) -> None:
        """Note what is used now."""
        usage = shutil.disk_usage(existing(self._folder))
        lines = [*self._lines(), json.dumps([int(time.time()), usage.used])][-KEPT:]
        self._file.parent.mkdir(parents=True, exist_ok=True)
        written = self._file.with_suffix(".new")
        written.write_text("\n".join(lines) + "\n", encoding="utf-8")
        written.replace(self._file)

    def now(self) -> Disk:
        """How it stands."""
        usage = shutil.disk_usage(existing(self._folder))
        samples = [(float(at), float(used)) for at, used in map(json.loads, self._lines())]
        pace = pace_of([*samples, (time.time(), float(usage.used))])
        days = usage.free / pace if pace and pace > 0 else None
        return Disk(usage.used, usage.total, usage.free, pace, days)

    def _lines(self) -> list[str]:
        return self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []


def pace_of(samples: list[tuple[float, float]]) -> float | None:
    """Bytes a day by which the use grows, the slope of the line of least squares; None where too little is known."""
    if not samples or samples[-1][0] - samples[0][0] < SHORTEST_HOURS * 3600:
        return None
    times = [at for at, _ in samples]
    used = [value for _, value in samples]
    middle, mean = sum(times) / len(times), sum(used) / len(used)
    spread = sum((at - middle) ** 2 for at in times)
    slope = sum((at - middle) * (value - mean) for at, value in samples) / spread
    return slope * 86_400
