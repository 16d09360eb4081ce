"""Prometheus, which keeps the metrics and evaluates the rules of `config/prometheus/rules.yml`: Debian's packages.

Alertmanager comes with it. Where they cannot be had, the deployment goes on without both.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deployment import debian
from deployment.command import Command
from deployment.paths import PROJECT, cache, tool
from deployment.steps import InstallError, Shell, Step

if TYPE_CHECKING:
    from shared.settings import Settings

PACKAGES = ("prometheus", "prometheus-alertmanager")
CONFIG = PROJECT / "config" / "prometheus"
RETENTION = {"time": "15d", "size": "512MB"}
"""What is older goes, and the oldest of what is more."""
POLICY = Path("/usr/sbin/policy-rc.d")
UNITS = Path("/etc/systemd/system")


def program() -> str | None:
    """The server, or None."""
    return tool("prometheus")


def promtool() -> str | None:
    """What checks rules and configuration, or None."""
    return tool("promtool")


def alertmanager() -> str | None:
    """Alertmanager, or None: Debian gives it a longer name than its makers do."""
    return tool("prometheus-alertmanager") or tool("alertmanager")


def is_installed() -> bool:
    """Are both there?"""
    return program() is not None and alertmanager() is not None


def can_be_had() -> bool:
    """Are both there, or about to be?"""
    return is_installed() or (debian.can_install() and not _refused().exists())


def _refused() -> Path:
    """Exists where the last try to install them failed."""
    return cache() / "prometheus-refused"


def install(shell: Shell) -> None:
    """Install Debian's packages; the services that they would start, on ports of ours, stay off."""
    _refused().unlink(missing_ok=True)
    try:
        missing = [package for package in PACKAGES if tool(package) is None]  # each has the name of its program
        with services_off(missing, POLICY, UNITS):
            debian.install(shell, *missing)
    except (InstallError, OSError):
        cache().mkdir(parents=True, exist_ok=True)
        _refused().touch()
        raise


@contextmanager
def services_off(packages: Sequence[str], policy: Path, units: Path) -> Iterator[None]:
    """What is installed meanwhile is started by no init script, nor by systemd, then or later."""
    with ExitStack() as after:
        if not policy.exists():
            policy.write_text("#!/bin/sh\n# Written by crypto-lakehouse while it installs.\nexit 101\n")
            policy.chmod(0o755)
            after.callback(policy.unlink)
        for unit in (units / f"{package}.service" for package in packages):
            if units.is_dir() and not unit.exists() and not unit.is_symlink():
                unit.symlink_to("/dev/null")  # as `systemctl mask` does
        yield


STEP = Step(
    name="Prometheus",
    done=lambda: is_installed() or not debian.can_install(),
    run=install,
    cure=f"Try `apt-get install {' '.join(PACKAGES)}` by hand, then run ./deploy.sh again.",
    is_needed=False,
)


def configuration(settings: "Settings", template: str) -> str:
    """What is scraped, and where alerts go."""
    ports = {
        "streaming": settings.metrics_port,
        "alerts": settings.alerts_port,
        "monitoring": settings.monitoring_port,
        "spark-connect": settings.spark_ui_port,
        "prometheus": settings.prometheus_port,
        "alertmanager": settings.alertmanager_port,
    }
    places = {name.replace("-", "_"): f"{settings.host(name)}:{port}" for name, port in ports.items()}
    trades = f'"{settings.host("clickhouse-trades")}:{settings.clickhouse_trades_port}"'
    places["clickhouse_trades"] = trades if settings.has_clickhouse else ""
    return template.format(rules=CONFIG / "rules.yml", **places)


def command(settings: "Settings") -> Command:
    """Scrape, keep and evaluate."""
    program_ = _installed(program())
    folder = settings.state / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    template = (CONFIG / "prometheus.yml").read_text(encoding="utf-8")
    config.write_text(configuration(settings, template), encoding="utf-8")
    argv = (
        program_,
        f"--config.file={config}",
        *_log_format(settings),
        f"--storage.tsdb.path={folder / 'data'}",
        *(f"--storage.tsdb.retention.{name}={value}" for name, value in RETENTION.items()),
        f"--web.listen-address={settings.bind_address}:{settings.prometheus_port}",
    )
    return Command(argv, {"GOMEMLIMIT": "80MiB"})


def alertmanager_command(settings: "Settings") -> Command:
    """Group, silence and inhibit what Prometheus finds. It is alone: it looks for no others of its kind."""
    argv = (
        _installed(alertmanager()),
        f"--config.file={CONFIG / 'alertmanager.yml'}",
        *_log_format(settings),
        f"--storage.path={settings.state / 'alertmanager'}",
        f"--web.listen-address={settings.bind_address}:{settings.alertmanager_port}",
        "--cluster.listen-address=",
    )
    return Command(argv, {"GOMEMLIMIT": "24MiB"})


def _log_format(settings: "Settings") -> tuple[str, ...]:
    return ("--log.format=json",) if settings.log_format == "json" else ()


def _installed(found: str | None) -> str:
    if found is None:
        raise InstallError("Prometheus is not installed: run ./deploy.sh")
    return found
