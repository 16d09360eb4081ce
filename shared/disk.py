"""The disk of the deployment's data: how full it is, and when imports leave the rest of it to streaming.

Standard library only: `deployment/preflight.py` looks before anything is installed.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from shared.settings import Settings

WARNING_PERCENT = 80
"""From here on it is told; `DiskFills` in config/prometheus/rules.yml says the same."""


class Disk(NamedTuple):
    """Bytes. What the system keeps for itself is neither used nor free."""

    total: int
    used: int
    free: int

    @property
    def percent(self) -> float:
        """How much of it is used, as `df` counts."""
        return 100 * self.used / max(self.used + self.free, 1)


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def disk_of(folder: Path) -> Disk:
    """The disk that a folder lies on. Raises `OSError`."""
    return Disk(*shutil.disk_usage(folder))


def lake_disk(settings: "Settings") -> Disk | None:
    """The disk that the lake fills; none where it lies in another object store than ours."""
    return None if settings.s3_endpoint else disk_of(existing(settings.state))


def imports_wait(settings: "Settings") -> str:
    """Why imports wait now, and the cure; empty where they need not."""
    disk = lake_disk(settings)
    if disk is None or disk.percent < settings.imports_pause_percent:
        return ""
    return (
        f"Imports wait: the disk of {settings.state} is {disk.percent:.0f} % full, and from "
        f"IMPORTS_PAUSE_PERCENT={settings.imports_pause_percent} on the rest is kept for streaming; free some (`crypto "
        "du` says what takes it), and they go on by themselves."
    )
