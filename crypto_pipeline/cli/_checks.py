"""The checks of `crypto doctor`. Each says what it found, and where that is wrong, how to mend it."""

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from alerts.rules import AlertsFileError
from alerts.rules import load as load_alerts
from crypto_pipeline.gold._portfolios import PortfolioFileError, chosen
from crypto_pipeline.gold._rules import SignalsFileError
from crypto_pipeline.gold._rules import load as load_rules
from crypto_pipeline.indicators._file import IndicatorsFileError
from crypto_pipeline.indicators._file import load as load_plan
from deployment import docker, health, ports, preflight, processes, services
from deployment.supervise import Supervisor
from shared.disk import WARNING_PERCENT, imports_wait, lake_disk
from shared.retention import load_rules as load_retention
from shared.settings import Settings, SettingsError
from shared.symbol_manager import Selector, Symbol, SymbolsFileError, load_watchlist
from shared.yaml_file import YamlFileError
from streaming.connection import explained
from streaming.exchange import Exchange, UnparsableMessage, check_exchanges, exchanges
from streaming.feed import addresses

PATIENCE_SECONDS = 3
CLOCK_WARNING_SECONDS = 1.0
MANY_TOPICS = 300
"""Above so many symbols one topic for all (`KAFKA_TOPIC`) costs much less than one for each."""


class Check(NamedTuple):
    """One finding."""

    state: Literal["ok", "warning", "fault"]
    what: str
    message: str


def checks() -> Iterator[Check]:
    """Every check, in the order in which one would mend them."""
    yield _python(sys.version_info[:2])
    try:
        settings = Settings.load()
    except SettingsError as error:
        yield Check("fault", "settings", str(error))
        return
    yield Check("ok", "settings", f"mode {settings.mode}, memory profile {settings.memory_profile}")
    yield from _machine(settings)
    yield from disk(settings)
    yield from _ports(settings)
    yield _indicators(settings)
    yield _retention(settings)
    yield from portfolios(settings)
    yield from signals(settings)
    yield alerts(settings)
    try:
        symbols, selectors, _ = load_watchlist(settings.symbols_file, settings.active_symbols)
        check_exchanges([*symbols, *selectors])
    except SymbolsFileError as error:
        yield Check("fault", "symbols", str(error))
    else:
        yield from limits(symbols, settings, selectors)
        for name in sorted({name for entry in (*symbols, *selectors) for name in entry.exchanges}):
            yield _exchange(exchanges()[name](*addresses(settings, name)), settings)
    yield from _services(settings)


def _python(version: tuple[int, ...]) -> Check:
    found = ".".join(str(part) for part in version)
    if (3, 11) <= version < (3, 13):
        return Check("ok", "python", found)
    return Check("fault", "python", f"This is Python {found}: 3.11 or 3.12 is needed.")


def _machine(settings: Settings) -> Iterator[Check]:
    machine = preflight.this_machine()
    faults = preflight.faults(settings.memory_profile, not docker.engine_runs(), machine)
    yield from (Check("fault", "machine", fault) for fault in faults)
    if not faults:
        gigabytes = machine.memory_bytes / preflight.GIB
        yield Check("ok", "machine", f"{gigabytes:.1f} GB of memory; disk and tools are there")


def disk(settings: Settings) -> Iterator[Check]:
    """How full the disk is that the lake fills, where there is one to ask."""
    found = lake_disk(settings)
    if found is None:
        return
    if waits := imports_wait(settings):
        yield Check("warning", "disk", waits)
    elif found.percent >= WARNING_PERCENT:
        yield Check("warning", "disk", f"It is {found.percent:.0f} % full: `crypto du` says what takes it.")
    else:
        yield Check("ok", "disk", f"{found.percent:.0f} % full")


def _ports(settings: Settings) -> Iterator[Check]:
    wanted = services.table(settings).values()
    ours = {process.pid for process in processes.ours(settings.state)}
    faults = ports.busy(wanted, settings, ours)
    yield from (Check("fault", "ports", fault) for fault in faults)
    if not faults:
        yield Check("ok", "ports", f"all {sum(len(service.ports) for service in wanted)} are free, or ours")


def _indicators(settings: Settings) -> Check:
    try:
        columns = load_plan(settings.indicators_file).comments()
    except IndicatorsFileError as error:
        return Check("fault", "indicators", str(error))
    return Check("ok", "indicators", f"{len(columns)} columns in {settings.indicators_file}")


def _retention(settings: Settings) -> Check:
    try:
        load_retention(settings)
    except YamlFileError as error:
        return Check("fault", "retention", str(error))
    return Check("ok", "retention", f"as {settings.retention_file} says")


def portfolios(settings: Settings) -> Iterator[Check]:
    """Whether the portfolios are right; those that are refused, one by one. What the data has against one shows in the
    check of their table.
    """
    try:
        found = chosen(settings)
    except PortfolioFileError as error:
        yield Check("warning", "portfolios", str(error))
        return
    yield from (Check("warning", "portfolios", one.why) for one in found.refused)
    if not found.refused:
        yield Check("ok", "portfolios", f"{len(found.accepted)} in {settings.portfolio_file}")


def signals(settings: Settings) -> Iterator[Check]:
    """Whether the rules are right; those that are refused, one by one."""
    try:
        rules = load_rules(settings.signals_file, load_plan(settings.indicators_file))
    except IndicatorsFileError:
        return  # said already
    except SignalsFileError as error:
        yield Check("fault", "signals", str(error))
        return
    yield from (Check("warning", "signals", refused) for refused in rules.refused)
    if not rules.refused:
        yield Check("ok", "signals", f"{len(rules.rules)} rules in {settings.signals_file}")


def alerts(settings: Settings) -> Check:
    """Whether the rules of alerts are right."""
    try:
        file = load_alerts(settings.alerts_file)
    except AlertsFileError as error:
        return Check("fault", "alerts", str(error))
    if not file.destinations:
        return Check("ok", "alerts", f"{len(file.rules)} rules in {settings.alerts_file}, without a destination")
    return Check("ok", "alerts", f"{len(file.rules)} rules in {settings.alerts_file}; `crypto alerts test` tries one")


def limits(symbols: Sequence[Symbol], settings: Settings, selectors: Sequence[Selector] = ()) -> Iterator[Check]:
    """Whether the exchanges allow what is to be streamed, if all that selectors choose is chosen by one alone."""
    count = len(symbols) + sum(selector.top for selector in selectors)
    if count > MANY_TOPICS and not settings.kafka_topic:
        yield Check("warning", "symbols", f"{count} topics cost much: set KAFKA_TOPIC to send all to one.")
    else:
        yield Check("ok", "symbols", f"{'up to ' * bool(selectors)}{count} in {settings.symbols_file}")
    for name in sorted({name for entry in (*symbols, *selectors) for name in entry.exchanges}):
        venue = exchanges()[name]
        streams = sum(len(symbol.streams) for symbol in symbols if name in symbol.exchanges)
        streams += sum(selector.top * len(selector.streams) for selector in selectors if name in selector.exchanges)
        connections = -(-streams // venue.channels_per_connection)
        message = (
            f"{streams:,} streams on {connections} connection{'s' * (connections > 1)}; it allows "
            f"{venue.channels_per_connection:,} on each, and {venue.connections_per_5_minutes} new ones in 5 minutes"
        )
        if connections > venue.connections_per_5_minutes:
            yield Check("fault", name, f"{message}: disable symbols or streams in {settings.symbols_file}.")
        else:
            yield Check("ok", name, message)


def _exchange(exchange: Exchange, settings: Settings) -> Check:
    address = exchange.clock_address()
    cure = (
        "`crypto simulate` or `./deploy.sh --demo` starts the simulator"
        if settings.mode == "demo"
        else "`./deploy.sh --demo` works without it"
    )
    try:
        before = time.time_ns() // 1000
        with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as reply:  # noqa: S310 (an address of ours)
            body = reply.read()
        after = time.time_ns() // 1000
        offset = (exchange.clock(body) - (before + after) / 2) / 1_000_000
    except urllib.error.HTTPError as error:
        refused = "it refuses this place" if error.code in (403, 451) else "it does not serve"
        return Check("warning", exchange.name, f"{address} answers HTTP {error.code}: {refused}; {cure}.")
    except (OSError, UnparsableMessage) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        why = explained(reason if isinstance(reason, Exception) else error, exchange.base_rest_url)
        return Check("warning", exchange.name, f"cannot be reached: {why}; {cure}.")
    clock = f"our clock is {-offset:+.3f} s off its clock"
    if abs(offset) > CLOCK_WARNING_SECONDS:
        return Check("warning", exchange.name, f"{clock}: turn on time synchronization (NTP).")
    return Check("ok", exchange.name, f"answers in {(after - before) / 1000:.0f} ms; {clock}")


def _services(settings: Settings) -> Iterator[Check]:
    if not Supervisor(settings.state).running():
        yield Check("ok", "services", "not deployed; ./deploy.sh starts them")
        return
    states = health.services(settings)
    for state in states:
        if not state.healthy:
            yield Check("fault", state.name, f"{state.reason}; its log is in {settings.state / 'log'}")
    if all(state.healthy for state in states):
        yield Check("ok", "services", f"all {len(states)} are healthy")
