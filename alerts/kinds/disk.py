"""`disk`: the disk of the deployment's data fills."""

import shutil
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import AskedRule, Finding, SourceError, Sources


class Disk(AskedRule):
    """Fires where `percent` or more of the disk is used; `var/` lies on it."""

    kind: Literal["disk"]
    percent: Annotated[float, Field(gt=0, lt=100, allow_inf_nan=False)] = 90

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        folder = sources.settings.state
        try:
            disk = shutil.disk_usage(folder)
        except OSError as error:
            raise SourceError(f"the disk of {folder} cannot be looked at ({error.strerror})") from None
        percent = 100 * disk.used / (disk.used + disk.free)
        text = f"The disk of {folder} is {percent:.0f} % full; {disk.free / 1e9:,.1f} GB are free."
        yield Finding("disk", percent >= self.percent, now, percent, text)
