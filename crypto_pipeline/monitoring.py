"""How the whole deployment is now, for `crypto status`: services, streaming, Kafka, the lake and Dagster's assets.

`collect` asks all of them at once; what does not answer in time is left out and named among the reasons. `assemble`
makes the status of what they said.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from crypto_pipeline import ingest, kafka_source, reader
from crypto_pipeline.kafka_source import Offsets
from deployment import health, probes
from deployment.health import ServiceHealth
from deployment.supervise import Supervisor
from shared.disk import imports_wait, lake_disk
from shared.settings import Settings
from shared.symbol_manager import DEAD_LETTERS, topic
from shared.tables import OFFSETS

PATIENCE_SECONDS = 6.0
"""After so long the parts that have not answered are left out."""
SAMPLE_SECONDS = 1.0
"""Between the two readings of the counters that make a rate."""
_COUNTED = (
    "ingestor_messages_total", "ws_connected", "reading_paused", "gaps_open", "spool_messages", "archive_paused",
)  # fmt: skip
_ASSETS = (
    "{assetNodes{assetKey{path} jobNames assetMaterializations(limit:1)"
    "{timestamp metadataEntries{label ...on IntMetadataEntry{intValue}}}} "
    'runsOrError(filter:{pipelineName:"pipeline" statuses:[SUCCESS FAILURE CANCELED]} limit:1)'
    "{...on Runs{results{runId status startTime endTime}}}}"
)

_ASKING = "asks for the status"
"""The name of the threads that ask."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Cadence:
    """How often a job makes its assets by itself, and when that is overdue."""

    expected: str
    started_by: str
    stale_seconds: int
    """An asset that is older is a reason for alarm, once the services run for longer than that."""


def cadences(analytics_minutes: int) -> Mapping[str, Cadence]:
    """Of the jobs that make assets by themselves, by name. `analytics_minutes` as the setting `ANALYTICS_MINUTES`."""
    analytics = f"a run each {analytics_minutes} minutes"
    return {
        "pipeline": Cadence("a run a minute", "the sensor every_minute", 300),
        "evidence": Cadence("a run each five minutes", "the schedule every_five_minutes", 900),
        "analytics": Cadence(analytics, "the schedule analytics_when_due", analytics_minutes * 180),
        "training": Cadence("a run a day", "the schedule training_when_due", 26 * 3600),
    }


_JOBS = cadences(5).keys()


@dataclass(frozen=True)
class Topic:
    """A topic of events; what is not known is None."""

    topic: str
    messages_per_second: float | None
    """What streaming hands over now."""
    messages: int | None
    """What Kafka keeps."""
    lag: int | None
    """Messages that not every bronze table has taken in yet."""


@dataclass(frozen=True)
class Asset:
    """An asset of Dagster, as its last materialization and its last run have it."""

    asset: str
    job: str
    """That makes it by itself."""
    materialized_at: datetime | None
    age_seconds: float | None
    run_status: str | None
    """Of its latest run, which may be under way: STARTED, SUCCESS, FAILURE and so on."""
    rows_written: int | None


@dataclass(frozen=True)
class Run:
    """A finished run of the pipeline."""

    run_id: str
    status: str
    ended_at: datetime | None
    seconds: float | None


@dataclass(frozen=True)
class Status:
    """All of it; a list is empty and a value None where its source did not answer, and then `reasons` says so."""

    mode: Literal["demo", "live"]
    at: datetime
    healthy: bool
    reasons: list[str]
    """Why it is not healthy, one sentence each; empty where it is."""
    services: list[ServiceHealth]
    exchanges: dict[str, int]
    """The open connections to each exchange."""
    reading_paused: bool | None
    """Memory and spool are full and nothing is read from the exchanges."""
    open_gaps: int | None
    """Holes that are not repaired yet; `bronze.gaps` says what each waits for."""
    spooled: int | None
    """Messages on disk that wait for Kafka."""
    dead_letters: int | None
    """Messages in the topic of what could not be parsed."""
    topics: list[Topic]
    assets: list[Asset]
    last_run: Run | None
    disk_percent: float | None
    """How much of the disk that the lake fills is used; None where it lies in another object store."""


@dataclass(frozen=True)
class Streaming:
    """What the streaming service's metrics say."""

    per_second: Mapping[str, float]
    """Messages by symbol."""
    connections: dict[str, int]
    reading_paused: bool = False
    open_gaps: int = 0
    spooled: int = 0
    archive_paused: bool = False


@dataclass(frozen=True)
class Facts:
    """What the sources said; None where one did not answer, and `failures` says why."""

    mode: Literal["demo", "live"]
    at: datetime
    analytics_minutes: int = 5
    """The setting `ANALYTICS_MINUTES`."""
    one_topic: str = ""
    """The setting `KAFKA_TOPIC`."""
    deployed: bool = True
    services: Sequence[ServiceHealth] | None = None
    streaming: Streaming | None = None
    kept: tuple[Offsets, Offsets] | None = None
    """The first and the next offset of every topic."""
    dead_letters: int | None = None
    taken_in: Offsets | None = None
    """The next offset that the slowest bronze table reads."""
    assets: Sequence[Asset] | None = None
    last_run: Run | None = None
    failures: Mapping[str, str] = field(default_factory=dict)
    """By the name of the source."""
    disk_percent: float | None = None
    """How much of the disk of the deployment's data is used; None where the lake lies in another object store."""
    imports_wait: str = ""
    """Why imports wait for room on it."""


def collect(settings: Settings) -> Status:
    """Ask every source at once. Takes `PATIENCE_SECONDS` at most."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    services = _Part(lambda: health.services(settings))
    streaming = _Part(lambda: _streaming(settings))
    kept = _Part(lambda: kafka_source.bounds(settings.broker, settings.kafka_topic))
    letters = _Part(lambda: _messages(*kafka_source.bounds(settings.broker, DEAD_LETTERS)))
    taken_in = _Part(lambda: taken_in_by_bronze(settings))
    pipeline = _Part(lambda: _pipeline(settings))
    parts: Mapping[str, _Part[Any]] = {
        "the services": services,
        "streaming": streaming,
        "Kafka": kept,
        "the dead letters": letters,
        "the lake": taken_in,
        "Dagster": pipeline,
    }
    for part in parts.values():
        part.wait(deadline)
    assets, last_run = pipeline.result or (None, None)
    disk = lake_disk(settings)
    return assemble(
        Facts(
            mode=settings.mode,
            at=datetime.now(UTC),
            analytics_minutes=int(settings.analytics_minutes),
            one_topic=settings.kafka_topic,
            deployed=settings.containers or Supervisor(settings.state).running(),
            services=services.result,
            streaming=streaming.result,
            kept=kept.result,
            dead_letters=letters.result,
            taken_in=taken_in.result,
            assets=assets,
            last_run=last_run,
            failures={name: part.failure for name, part in parts.items() if part.failure},
            disk_percent=round(disk.percent, 1) if disk else None,
            imports_wait=imports_wait(settings),
        )
    )


def still_asking() -> bool:
    """Is a source that was left out still being asked, in a thread that nobody can stop?"""
    return any(thread.name == _ASKING for thread in threading.enumerate())


def assemble(facts: Facts) -> Status:
    """The status that follows from the facts."""
    assets = sorted(facts.assets or (), key=lambda asset: asset.asset)
    streaming = facts.streaming
    reasons = list(_reasons(facts))
    return Status(
        mode=facts.mode,
        at=facts.at,
        healthy=not reasons,
        reasons=reasons,
        services=list(facts.services or ()),
        exchanges=streaming.connections if streaming else {},
        reading_paused=streaming.reading_paused if streaming else None,
        open_gaps=streaming.open_gaps if streaming else None,
        spooled=streaming.spooled if streaming else None,
        dead_letters=facts.dead_letters,
        topics=_topics(facts),
        assets=assets,
        last_run=facts.last_run,
        disk_percent=facts.disk_percent,
    )


def _reasons(facts: Facts) -> Iterable[str]:
    if not facts.deployed:
        yield "Nothing is deployed here: ./deploy.sh starts it."
        return
    for service in facts.services or ():
        if not service.healthy:
            yield f"{service.name} is not healthy: {service.reason}."
    for source, why in facts.failures.items():
        yield f"{source} did not say how it is: {why}."
    if facts.streaming:
        if not facts.streaming.connections:
            yield "No exchange is connected."
        for exchange, connections in facts.streaming.connections.items():
            if not connections:
                yield f"{exchange} is not connected."
        if facts.streaming.reading_paused:
            yield "Reading from the exchanges is paused: Kafka takes nothing, and memory and spool are full."
        if facts.streaming.archive_paused:
            yield "Frames are not archived: less than 1 GB is free on the disk."
    if facts.imports_wait:
        yield facts.imports_wait
    if facts.last_run and facts.last_run.status != "SUCCESS":
        yield f"The last run of the pipeline, {facts.last_run.run_id[:8]}, ended with {facts.last_run.status}."
    uptimes = [service.uptime_seconds for service in facts.services or () if service.uptime_seconds is not None]
    for asset in facts.assets or ():
        cadence = cadences(facts.analytics_minutes)[asset.job]
        if min(uptimes, default=float("inf")) <= cadence.stale_seconds:
            continue
        if asset.age_seconds is None:
            yield f"{asset.asset} was never made: is {cadence.started_by} switched on?"
        elif asset.age_seconds > cadence.stale_seconds:
            yield f"{asset.asset} was made {asset.age_seconds:.0f} s ago: {cadence.expected} is expected."


def _topics(facts: Facts) -> list[Topic]:
    first, end = facts.kept or ({}, {})
    rates: dict[str, float] = {}
    for symbol, per_second in (facts.streaming.per_second if facts.streaming else {}).items():
        name = facts.one_topic or topic(symbol)
        rates[name] = rates.get(name, 0.0) + per_second
    topics = []
    for name in sorted({*end, *rates}):
        rate = round(rates.get(name, 0.0), 1) if facts.streaming else None
        messages = lag = None
        if name in end:
            messages = _messages({name: first[name]}, {name: end[name]})
            if facts.taken_in is not None:
                # What no table has taken in counts from the first message that is there.
                place = {**first[name], **facts.taken_in.get(name, {})}
                lag = sum(max(last - place[partition], 0) for partition, last in end[name].items())
        topics.append(Topic(name, rate, messages, lag))
    return topics


def _messages(first: Offsets, end: Offsets) -> int:
    return sum(n for counts in kafka_source.waiting_messages(first, end).values() for n in counts.values())


def counted(exposition: str) -> Streaming:
    """What Prometheus reads, with the messages so far in the place of those a second."""
    ours = "\n".join(line for line in exposition.splitlines() if line.startswith(_COUNTED))
    messages: dict[str, float] = {}
    connections: dict[str, int] = {}
    others: dict[str, float] = {}
    for family in text_string_to_metric_families(ours + "\n"):
        for sample in family.samples:
            if sample.name == "ingestor_messages_total":
                symbol = sample.labels["symbol"]
                messages[symbol] = messages.get(symbol, 0.0) + sample.value
            elif sample.name == "ws_connected":
                connections[sample.labels["exchange"]] = int(sample.value)
            else:
                others[sample.name] = sample.value
    return Streaming(
        messages,
        connections,
        bool(others.get("reading_paused")),
        int(others.get("gaps_open", 0)),
        int(others.get("spool_messages", 0)),
        bool(others.get("archive_paused")),
    )


def _streaming(settings: Settings) -> Streaming:
    url = f"http://{settings.host('streaming')}:{settings.metrics_port}/metrics"
    before = counted(probes.get(url).decode()).per_second
    began = time.monotonic()
    time.sleep(SAMPLE_SECONDS)
    now = counted(probes.get(url).decode())
    seconds = time.monotonic() - began
    # A counter that fell belongs to a service that was started anew meanwhile.
    rates = {symbol: max(count - before.get(symbol, 0.0), 0.0) / seconds for symbol, count in now.per_second.items()}
    return replace(now, per_second=rates)


def taken_in_by_bronze(settings: Settings) -> Offsets:
    """The smallest of the places of the bronze tables that are made from Kafka."""
    parts = {
        module.TABLE.full_name: _Part(partial(reader.notes, module.TABLE, OFFSETS, settings))
        for module in ingest.sources()
    }
    deadline = time.monotonic() + PATIENCE_SECONDS
    for part in parts.values():
        part.wait(deadline)
        if part.failure:
            raise probes.UnhealthyError(part.failure)
    places = ingest.places_by_notes({name: part.result for name, part in parts.items()})
    return kafka_source.smallest([place.offsets for place in places.values()])


def _pipeline(settings: Settings) -> tuple[list[Asset], Run | None]:
    found = probes.graphql(settings, _ASSETS)
    # What is of none of these jobs is a view, follows others into PostgreSQL, or is made when someone asks for it.
    nodes = [node for node in found["assetNodes"] if _JOBS & set(node["jobNames"])]
    keys = " ".join(f"{{path:{json.dumps(node['assetKey']['path'])}}}" for node in nodes)
    latest = probes.graphql(
        settings, f"{{assetsLatestInfo(assetKeys:[{keys}]){{assetKey{{path}} latestRun{{status}}}}}}"
    )["assetsLatestInfo"]
    runs = {tuple(info["assetKey"]["path"]): (info["latestRun"] or {}).get("status") for info in latest}
    now = time.time()
    assets = [asset(node, runs.get(tuple(node["assetKey"]["path"])), now) for node in nodes]
    finished = found["runsOrError"].get("results") or [None]
    return assets, finished_run(finished[0])


def asset(node: Mapping[str, Any], run_status: str | None, now: float) -> Asset:
    """An asset from its node in Dagster's GraphQL; `now` in seconds since 1970."""
    name = ".".join(node["assetKey"]["path"])
    [job] = _JOBS & set(node["jobNames"])
    if not node["assetMaterializations"]:
        return Asset(name, job, None, None, run_status, None)
    made = node["assetMaterializations"][0]
    seconds = int(made["timestamp"]) / 1000
    rows = [entry.get("intValue") for entry in made["metadataEntries"] if entry["label"] == "rows_written"]
    age = round(max(now - seconds, 0.0), 1)
    return Asset(name, job, datetime.fromtimestamp(seconds, UTC), age, run_status, rows[0] if rows else None)


def finished_run(run: Mapping[str, Any] | None) -> Run | None:
    """A run from its entry in Dagster's GraphQL. One that never began has no duration."""
    if run is None:
        return None
    start, end = run["startTime"], run["endTime"]
    return Run(
        run["runId"],
        run["status"],
        datetime.fromtimestamp(end, UTC) if end else None,
        round(end - start, 1) if start and end else None,
    )


class _Part(Generic[Result]):
    """One source, asked in a thread that nobody has to wait for."""

    def __init__(self, ask: Callable[[], Result]) -> None:
        self.result: Result | None = None
        self.failure = "no answer in time"
        self._ask = ask
        self._thread = threading.Thread(target=self._run, daemon=True, name=_ASKING)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._ask()
            self.failure = ""
        except Exception as error:  # noqa: BLE001 (whatever stops one part must not stop the others)
            text = str(error).strip() or type(error).__name__
            self.failure = text.splitlines()[0].removesuffix(".")

    def wait(self, deadline: float) -> None:
        self._thread.join(max(deadline - time.monotonic(), 0.0))
