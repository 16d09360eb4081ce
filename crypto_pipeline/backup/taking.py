"""How a backup is made, while everything goes on.

What is made of something is copied before that: PostgreSQL and gold first, then silver, bronze last. So the copy of a
table never lacks what the copy of another has followed of it, and all goes on from its own marks after a restore.
docs/decisions/backup.md says more.
"""

import fcntl
import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, Protocol

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from crypto_pipeline import catalog, kafka_source, monitoring
from crypto_pipeline.backup import databases, manifest
from crypto_pipeline.backup.manifest import BackupError, Entry, Manifest
from crypto_pipeline.backup.place import Place
from crypto_pipeline.hudi_files import Moment, moment
from crypto_pipeline.reader import LakeError, keys_refused, not_running
from deployment import probes
from deployment.probes import UnhealthyError
from shared.markers import BEGUN, UPGRADING
from shared.settings import Settings, env_files
from streaming.object_store import s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

AT_ONCE = 8
"""So many objects are copied side by side."""
_PASSES = 6
"""So often all is looked at again where what was to be copied went meanwhile."""
PATIENCE_SECONDS = 240
"""So long bronze may take to have what streaming had sent to Kafka: a run or two."""
_PIECE = 1 << 20
_LEFT_OUT = "staging/"
"""What an import has fetched and not written yet: it is fetched again."""


class Told(Protocol):
    """Who is told how far it is."""

    def says(self, line: str) -> None:
        """What is done now."""

    def expects(self, size: int) -> None:
        """So many bytes are to be copied in all."""

    def advance(self, size: int) -> None:
        """So many more are."""


class _Gone(Exception):  # noqa: N818 (no error: it is looked again)
    """An object is not there any more as it was listed."""


@dataclass
class _Object:
    key: str
    version: str
    size: int


@dataclass
class _Known:
    """What a place has already, with the checksums that are known."""

    sizes: dict[str, int]
    checksums: dict[str, str] = field(default_factory=dict)


def back_up(
    settings: Settings,
    place: Place,
    told: Told,
    *,
    with_secrets: bool = False,
    keep: int | None = 7,
    wait: float = PATIENCE_SECONDS,
) -> Manifest:
    """Make a backup; what the place has already is not copied again. Gives its manifest.

    Of the backups there as many are kept, or all where `keep` is None. It waits for so many seconds at most until
    bronze has what Kafka has.

    A killed one goes on where it was, for what is copied stays. Raises `BackupError`, `PlaceError` or `LakeError`.
    """
    with _alone(settings):
        earlier, damaged = manifest.whole(place)
        if earlier and (earlier[0].mode, earlier[0].bucket) != (settings.mode, settings.bucket):
            raise BackupError(
                f"{place} has backups of the bucket {earlier[0].bucket} ({earlier[0].mode}), and this is "
                f"{settings.bucket} ({settings.mode}): name another place with --to."
            )
        told.says("looking what is there already")
        known = _Known({**place.names("objects/"), **place.names("files/")})
        for one in earlier:
            known.checksums |= {manifest.object_name(entry): entry.sha256 for entry in one.objects}
        with TemporaryDirectory(prefix="crypto-backup-") as folder:
            made = _made(settings, place, told, known, Path(folder), with_secrets=with_secrets, wait=wait)
        lost = [f"The manifest of the backup {name} is damaged: it cannot be restored." for name in damaged]
        made = msgspec.structs.replace(made, warnings=[*made.warnings, *lost])
        manifest.write(place, made)
        if keep is not None:
            _forget(place, keep)
        return made


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Raises `BackupError` beside another backup, and where the lake is half restored or half upgraded."""
    settings.state.mkdir(parents=True, exist_ok=True)
    for marker, what in ((BEGUN, "restore"), (UPGRADING, "upgrade")):
        if (settings.state / marker).exists():
            raise BackupError(f"A `crypto {what}` was begun here, and the lake is not whole until it is done: run it.")
    with (settings.state / "backup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BackupError("Another `crypto backup` of this deployment is under way: wait for it.") from None
        yield


def _made(
    settings: Settings, place: Place, told: Told, known: _Known, folder: Path, *, with_secrets: bool, wait: float
) -> Manifest:
    # What streaming remembers to have sent must be in bronze's copy: it is not fetched again.
    files = _files(settings, folder, with_secrets=with_secrets)
    sent = _sent(settings)
    for database in databases.databases(settings):
        told.says(f"PostgreSQL's database {database}")
        files[f"databases/{database}.dump"] = folder / f"{database}.dump"
        databases.dump(settings, database, files[f"databases/{database}.dump"])
    kept = [_keep_file(place, known, name, path) for name, path in files.items()]
    waiting = partial(_wait_for_bronze, settings, told, sent, wait)
    objects, warnings = _objects(settings, place, told, known, folder, waiting)
    return Manifest(
        made_at=datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
        mode=settings.mode,
        bucket=settings.bucket,
        lake_buckets=settings.lake_buckets,
        postgres=databases.version(),
        warnings=warnings,
        objects=objects,
        files=kept,
    )


def _files(settings: Settings, folder: Path, *, with_secrets: bool) -> dict[str, Path]:
    """What lies in no database and no bucket, by the name in the backup."""
    found: dict[str, Path] = {}
    chosen = (settings.symbols_file, settings.indicators_file, settings.portfolio_file, settings.signals_file)
    for path in (*chosen, settings.alerts_file, settings.retention_file, *settings.portfolio_file.parent.glob("*.csv")):
        if path.is_file():
            found[f"config/{path.name}"] = path
    if settings.mode == "demo":  # the exchange that the data are of
        for name in ("market.json", "sent.json"):
            if (settings.state / "simulator" / name).is_file():
                found[f"simulator/{name}"] = settings.state / "simulator" / name
    ledger = settings.state / "streaming" / "ledger.sqlite"
    if ledger.is_file():
        found["streaming/ledger.sqlite"] = folder / "ledger.sqlite"
        with sqlite3.connect(ledger) as source, sqlite3.connect(folder / "ledger.sqlite") as copy:
            source.backup(copy)
        source.close()
        copy.close()
    if with_secrets:
        found |= {f"secrets/{path.name}": path for path in env_files() if path.is_file()}
    return found


def _sent(settings: Settings) -> kafka_source.Offsets | None:
    """How far Kafka is; none where it does not answer."""
    from kafka.errors import KafkaError

    try:
        probes.kafka(settings)  # at once, where a client would try for half a minute
        return kafka_source.bounds(settings.broker, settings.kafka_topic)[1]
    except (KafkaError, UnhealthyError):
        return None


def _wait_for_bronze(settings: Settings, told: Told, sent: kafka_source.Offsets | None, patience: float) -> str:
    """Wait until bronze has what Kafka had when the backup began; gives a warning where it does not come to that."""
    deadline = time.monotonic() + patience
    why = "Kafka does not answer"
    while sent is not None:
        try:
            places = monitoring.taken_in_by_bronze(settings)
        except UnhealthyError as error:
            why = str(error)
            break
        left = kafka_source.waiting_messages(places, sent)
        if not any(count > 0 for counts in left.values() for count in counts.values()):
            return ""
        why = f"the pipeline did not take it in within {patience:.0f} s"
        if time.monotonic() > deadline:
            break
        told.says("waiting for the pipeline to take in what is in Kafka")
        time.sleep(2)
    return (
        f"What Kafka holds and bronze does not have yet is not in it ({why}). Where Kafka is lost too, "
        "`crypto backfill` fetches that time again."
    )


def _keep_file(place: Place, known: _Known, name: str, path: Path) -> Entry:
    checksum = digest(path)
    entry = Entry(name, checksum, path.stat().st_size, checksum)
    if known.sizes.get(manifest.file_name(entry)) != entry.size:
        place.put(manifest.file_name(entry), path)
    return entry


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _objects(
    settings: Settings,
    place: Place,
    told: Told,
    known: _Known,
    folder: Path,
    wait: Callable[[], str],
) -> tuple[list[Entry], list[str]]:
    """Copy the bucket. Where something went before it was copied, all is looked at again: by then little is new."""
    bucket = _Bucket(settings)
    for _ in range(_PASSES):
        told.says("looking at the tables")
        listed, warning = _listed(bucket, wait)
        told.expects(sum(one.size for one in listed))
        told.says("copying")
        try:
            return _copied(bucket, place, told, known, folder, listed), [warning] if warning else []
        except _Gone:
            continue
    raise BackupError(
        "The tables change more quickly than they can be copied: try again when no import and no rebuild is under way. "
        "What was copied stays."
    )


def _listed(bucket: "_Bucket", wait: Callable[[], str]) -> tuple[list[_Object], str]:
    """All objects that are to be copied: first the timelines, which change. What is made of a table comes before it."""
    folders = bucket.folders()
    order = {f"{table.replace('.', '/')}/": place for place, table in enumerate(_downstream_first())}
    tables = [one for one in folders if one.startswith(tuple(f"{layer}/" for layer in catalog.LAYERS))]
    tables.sort(key=lambda one: order.get(one, -1))
    moments: dict[str, tuple[Moment, list[_Object]]] = {}
    warning = None
    for table in tables:
        if table.startswith("bronze/") and warning is None:
            warning = wait()
        before = bucket.objects(f"{table}.hoodie/")
        if before:
            now = bucket.objects(f"{table}.hoodie/")
            seen = moment(*([one.key.removeprefix(table) for one in some] for some in (before, now)))
            moments[table] = seen, [one for one in now if seen.has(one.key.removeprefix(table))]
    listed = [one for _, of_timeline in moments.values() for one in of_timeline]
    for name in folders:
        seen_then = moments.get(name)
        for one in bucket.objects(name):
            path = one.key.removeprefix(name)
            if seen_then is None or (not path.startswith(".hoodie/") and seen_then[0].has(path)):
                listed.append(one)
    return listed, warning or ""


def _downstream_first() -> Sequence[str]:
    """The tables in such an order that those that are made of one come before it.

    What a run writes beside a table, such as its revisions, comes after that: it is written before.
    """
    derived = {layer: [module.TABLE.full_name for module in catalog.derived(layer)] for layer in catalog.LAYERS}
    ordered: list[str] = []
    for layer in reversed(catalog.LAYERS):
        ordered += reversed(derived[layer])
        ordered += [name for name in catalog.tables(layer) if name not in derived[layer]]
    return ordered


def _copied(
    bucket: "_Bucket", place: Place, told: Told, known: _Known, folder: Path, listed: Sequence[_Object]
) -> list[Entry]:
    def copy(one: _Object) -> Entry:
        entry = Entry(one.key, one.version, one.size, "")
        name = manifest.object_name(entry)
        if known.sizes.get(name) != one.size:
            with TemporaryDirectory(dir=folder) as its:
                path = Path(its, "object")
                checksum = bucket.get(one, path)
                place.put(name, path)
            known.sizes[name] = one.size
            known.checksums[name] = checksum
        elif name not in known.checksums:  # of a backup that was never finished
            with TemporaryDirectory(dir=folder) as its:
                path = Path(its, "object")
                place.get(name, path)
                known.checksums[name] = digest(path)
        told.advance(one.size)
        return Entry(one.key, one.version, one.size, known.checksums[name])

    return side_by_side(copy, listed)


def side_by_side(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """The results in order; at the first failure, or an interruption, what is not begun is not done."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _forget(place: Place, keep: int) -> None:
    """Keep so many backups, and of all else nothing; but all while one of them is damaged, whose files nobody knows."""
    for name in manifest.made(place)[keep:]:
        manifest.remove(place, name)
    kept, damaged = manifest.whole(place)
    if damaged:
        return
    needed = {name for one in kept for name in one.names()}
    for name in (*place.names("objects/"), *place.names("files/")):
        if name not in needed:
            place.remove(name)


class _Bucket:
    """The lake's bucket. Raises `LakeError`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: S3Client = s3_client(settings)

    def folders(self) -> list[str]:
        """Each table, and each folder beside the layers; what is staged is left out."""
        tops = self._prefixes("")
        layers = [one for one in tops if one.rstrip("/") in catalog.LAYERS]
        others = [one for one in tops if one not in layers and one != _LEFT_OUT]
        return others + [one for layer in layers for one in self._prefixes(layer)]

    def _prefixes(self, prefix: str) -> list[str]:
        pages = self._pages(Prefix=prefix, Delimiter="/")
        return [str(one["Prefix"]) for page in pages for one in page.get("CommonPrefixes", [])]

    def objects(self, prefix: str) -> list[_Object]:
        """What is there now."""
        return [
            _Object(one["Key"], one["ETag"].strip('"'), one["Size"])
            for page in self._pages(Prefix=prefix)
            for one in page.get("Contents", [])
        ]

    def _pages(self, **asked: str) -> Iterator[Any]:
        paginator: Any = self._client.get_paginator("list_objects_v2")
        try:
            yield from paginator.paginate(Bucket=self._settings.bucket, **asked)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchBucket":
                raise LakeError(f"There is no bucket {self._settings.bucket} yet: ./deploy.sh makes it.") from None
            raise LakeError(keys_refused(self._settings)) from None
        except BotoCoreError:
            raise LakeError(not_running(self._settings)) from None

    def get(self, one: _Object, path: Path) -> str:
        """Copy it into a file; gives its checksum. Raises `_Gone` where it is not there any more as it was listed."""
        try:
            answer = self._client.get_object(Bucket=self._settings.bucket, Key=one.key, IfMatch=one.version)
            with path.open("wb") as file:
                return _streamed(answer["Body"], file)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "PreconditionFailed", "404", "412"):
                raise _Gone from None
            raise LakeError(keys_refused(self._settings)) from None
        except BotoCoreError:
            raise LakeError(not_running(self._settings)) from None


def _streamed(body: Any, file: IO[bytes]) -> str:
    checksum = hashlib.sha256()
    for piece in body.iter_chunks(_PIECE):
        checksum.update(piece)
        file.write(piece)
    return checksum.hexdigest()
