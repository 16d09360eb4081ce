"""The services, the memory and the disk: what supervisor and the probes say, and the system."""

from collections.abc import Iterator

import psutil
from prometheus_client.core import GaugeMetricFamily

from deployment import health
from shared.disk import disk_of, existing
from shared.settings import Settings


class MachineSource:
    """The same health as in `crypto status`."""

    name = "machine"
    every = 30.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def ask(self) -> Iterator[GaugeMetricFamily]:
        """Of each service whether it is healthy, how long it runs, and its memory; of the machine what is free."""
        healthy = _gauge("service_healthy", "1 where its probe answers.")
        memory = _gauge("service_memory_bytes", "Memory of its processes; shared pages count for each. Not in Docker.")
        uptime = _gauge("service_uptime_seconds", "How long its process runs. Not in Docker.")
        for one in health.services(self._settings):
            healthy.add_metric([one.name], one.healthy)
            if one.memory_bytes is not None and one.uptime_seconds is not None:
                memory.add_metric([one.name], one.memory_bytes)
                uptime.add_metric([one.name], one.uptime_seconds)
        yield from (healthy, memory, uptime)
        machine = psutil.virtual_memory()
        yield GaugeMetricFamily("memory_total_bytes", "Memory of the machine.", machine.total)
        yield GaugeMetricFamily("memory_available_bytes", "What programs can still get of it.", machine.available)
        disk = disk_of(existing(self._settings.state))
        yield GaugeMetricFamily("disk_total_bytes", "Size of the disk of the deployment's data.", disk.total)
        yield GaugeMetricFamily("disk_free_bytes", "What is free of it.", disk.free)
        yield GaugeMetricFamily("disk_used_share", "What is used of it, 0 to 1, as df counts.", disk.percent / 100)


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["service"])
