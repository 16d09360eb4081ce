"""`disk`: the disk of the deployment's data fills."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import AskedRule, Finding, SourceError, Sources
from shared.disk import disk_of, imports_wait


class Disk(AskedRule):
    """Fires where `percent` or more of the disk is used; `var/` lies on it."""

    kind: Literal["disk"]
    percent: Annotated[float, Field(gt=0, lt=100, allow_inf_nan=False)] = 90

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        folder = sources.settings.state
        try:
            disk = disk_of(folder)
        except OSError as error:
            raise SourceError(f"the disk of {folder} cannot be looked at ({error.strerror})") from None
        text = f"The disk of {folder} is {disk.percent:.0f} % full; {disk.free / 1e9:,.1f} GB are free."
        if imports_wait(sources.settings):
            text += " Imports wait until there is room: `crypto du` says what takes it."
        yield Finding("disk", disk.percent >= self.percent, now, disk.percent, text)
