"""`prometheus`: a rule of Prometheus fires."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import AskedRule, Finding, Severity, Sources, listed

_TOLD_OTHERWISE = ("alertname", "severity", "instance", "job")
"""Labels that say nothing more of the subject."""


class Prometheus(AskedRule):
    """Fires where an alert of `config/prometheus/rules.yml` does, and Alertmanager neither silences nor inhibits it.

    `severities` are those that the alerts have there.
    """

    kind: Literal["prometheus"]
    severities: Literal["all"] | Annotated[tuple[Severity, ...], Field(min_length=1)] = "all"

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        for alert in sources.firing():
            labels = alert["labels"]
            if listed(self.severities, labels.get("severity", "")):
                about = [value for label, value in sorted(labels.items()) if label not in _TOLD_OTHERWISE]
                subject = " ".join([labels["alertname"], *about])
                yield Finding(subject, True, now, 1.0, alert["annotations"].get("summary", subject))
