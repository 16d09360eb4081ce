"""`prometheus`: a rule of Prometheus fires."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import AskedRule, Finding, Sources, listed

_TOLD_OTHERWISE = ("alertname", "severity", "instance", "job")
"""Labels that say nothing more of the subject."""


class Prometheus(AskedRule):
    """Fires where an alert of `config/prometheus/rules.yml` does, and Alertmanager neither silences nor inhibits it."""

    kind: Literal["prometheus"]
    alerts: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all"

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        for alert in sources.firing():
            labels = alert["labels"]
            name = labels["alertname"]
            if listed(self.alerts, name):
                about = [value for label, value in sorted(labels.items()) if label not in _TOLD_OTHERWISE]
                yield Finding(" ".join([name, *about]), True, now, 1.0, alert["annotations"]["summary"])
