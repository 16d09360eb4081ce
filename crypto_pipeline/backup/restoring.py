"""How a backup becomes a deployment again: an empty one, of which only the stores run until it is whole."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from crypto_pipeline import ingest, reader
from crypto_pipeline.backup import databases, manifest
from crypto_pipeline.backup.manifest import BackupError, Entry, Manifest
from crypto_pipeline.backup.place import Place
from crypto_pipeline.backup.taking import Told, digest, side_by_side
from deployment import env_file, health, minio, ports, postgres, processes, supervise
from deployment.paths import set_environment
from deployment.services import Service, table
from deployment.stop import stop
from deployment.supervise import Supervisor
from shared.markers import BEGUN, KAFKA_LEFT
from shared.settings import Settings, home
from shared.tables import OFFSETS
from streaming.object_store import s3_client

_STORES = ("minio", "bucket", "postgres")
_PATIENCE_SECONDS = 120


def restore(place: Place, name: str, told: Told) -> tuple[Settings, Manifest, list[str]]:
    """Fill the empty deployment of this home from a backup, the newest where `name` is empty.

    Gives its settings, the manifest, and what there is to tell. A killed one goes on when it is asked for again;
    nothing else can be deployed there until it is whole. Raises `BackupError`, `PlaceError` or `SettingsError`.
    """
    found = manifest.read(place, name) if name else manifest.newest(place)
    told.says("looking whether it is whole")
    _check(place, found)
    set_environment({"CRYPTO_MODE": found.mode})
    notes = []
    with TemporaryDirectory(prefix="crypto-restore-") as folder:
        marker = Settings.load().state / BEGUN
        _check_nothing_is_deployed(Settings.load(), found, marker)
        notes += _secrets(place, found, Path(folder))
        _check_can_be_had(Settings.load(), found)
        env_file.ensure(found.mode)
        settings = Settings.load()
        settings.check()
        with stores(settings):
            if not marker.exists():
                _check_empty(settings)
                marker.write_text(json.dumps({"from": str(place), "backup": found.made_at}))
            shutil.rmtree(settings.memory, ignore_errors=True)  # of a lake that was here before
            told.expects(sum(one.size for one in found.objects))
            told.says("copying the tables")
            _put_objects(settings, place, found, told, Path(folder))
            for database in databases.databases(settings):
                told.says(f"PostgreSQL's database {database}")
                [entry] = [one for one in found.files if one.name == f"databases/{database}.dump"]
                databases.restore(settings, database, _fetched(place, entry, Path(folder)))
            (settings.state / KAFKA_LEFT).write_text(json.dumps(_topics(settings)))
        notes += _put_files(settings, place, found, Path(folder))
    marker.unlink()
    return settings, found, [*found.warnings, *notes]


def _check(place: Place, found: Manifest) -> None:
    """Raises `BackupError` where something that the manifest names is not there, or not whole."""
    there = {**place.names("objects/"), **place.names("files/")}
    wanted = [(manifest.object_name(one), one) for one in found.objects]
    wanted += [(manifest.file_name(one), one) for one in found.files]
    lacking = [one.name for name, one in wanted if there.get(name) != one.size]
    if lacking:
        raise BackupError(
            f"The backup {found.made_at} in {place} is not whole: {len(lacking)} of its files are missing or cut off, "
            f"{lacking[0]} for one. Take another: `crypto restore --backup NAME`."
        )


def _check_nothing_is_deployed(settings: Settings, found: Manifest, marker: Path) -> None:
    """Raises `BackupError` where something is here already, but for what the same restore has left."""
    if marker.exists():
        begun = json.loads(marker.read_text())
        if begun["backup"] != found.made_at:
            raise BackupError(
                f"A restore of the backup {begun['backup']} from {begun['from']} was begun here: end that with "
                f"`crypto restore --from {begun['from']} --backup {begun['backup']}`, or begin anew after ./cleanup.sh."
            )
    elif Supervisor(settings.state).running() or (settings.state / "minio" / settings.bucket).exists():
        raise _not_empty(settings, f"there is one in {settings.state}")


def _check_can_be_had(settings: Settings, found: Manifest) -> None:
    """Raises `BackupError` where this deployment cannot become that of the backup."""
    if settings.lake_buckets != found.lake_buckets:
        raise BackupError(
            f"LAKE_BUCKETS is {settings.lake_buckets} here and was {found.lake_buckets}: set it to that in "
            f"{home() / '.env'}."
        )
    if databases.version() < found.postgres:
        raise BackupError(
            f"The backup is of PostgreSQL {found.postgres} and here is {databases.version()}: install one that is not "
            "older."
        )
    if not settings.s3_endpoint and minio.program() is None:
        raise BackupError("MinIO is not installed here: `python3 -m deployment.install` installs it.")
    if postgres.binaries() is None:
        raise BackupError("PostgreSQL is not installed here: `python3 -m deployment.install` installs it.")


def _not_empty(settings: Settings, what: str) -> BackupError:
    return BackupError(
        f"A backup is restored into an empty deployment, and {what}: name another folder by CRYPTO_HOME, or remove "
        f"what is in {settings.state} with ./cleanup.sh first."
    )


@contextmanager
def stores(settings: Settings) -> Iterator[None]:
    """MinIO and PostgreSQL run, and nothing else does."""
    supervisor = Supervisor(settings.state)
    stop(settings.state, lambda _line: None)  # what a killed restore left
    wanted = [service for name, service in table(settings).items() if name in _STORES]
    ours = {process.pid for process in processes.ours(settings.state)}
    if faults := ports.busy(wanted, settings, ours):
        raise BackupError(faults[0])
    supervise.write(wanted, settings, supervisor)
    try:
        try:
            supervisor.start()
        except RuntimeError as error:
            raise BackupError(str(error)) from None
        _wait(settings, supervisor, wanted)
        yield
    finally:
        stop(settings.state, lambda _line: None)


def _wait(settings: Settings, supervisor: Supervisor, wanted: list[Service]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        known = supervisor.processes()
        ill = [one for one in (health.of(service, settings, known) for service in wanted) if not one.healthy]
        if not ill:
            return
        if time.monotonic() > deadline:
            raise BackupError(f"{ill[0].name} does not start: {ill[0].reason}. Its log is in {supervisor.logs}.")
        time.sleep(0.3)


def _check_empty(settings: Settings) -> None:
    if s3_client(settings).list_objects_v2(Bucket=settings.bucket, MaxKeys=1).get("Contents"):
        raise _not_empty(settings, f"the bucket {settings.bucket} at {settings.s3_url} holds something")
    for database in databases.databases(settings):
        if not databases.is_empty(settings, database):
            raise _not_empty(settings, f"the database {database} holds something")


def _topics(settings: Settings) -> dict[str, str]:
    """The ids of the topics that the restored bronze was made from."""
    known = {}
    for module in ingest.sources():
        with suppress(reader.NotThereYetError):
            known[module.TABLE.full_name] = reader.notes(module.TABLE, OFFSETS, settings)
    return {topic: one for place in ingest.places_by_notes(known).values() for topic, one in place.ids.items()}


def _fetched(place: Place, entry: Entry, folder: Path) -> Path:
    """A file of the backup. Raises `BackupError` where it is damaged."""
    return _get(place, manifest.file_name(entry), entry, folder / entry.version)


def fetched_object(place: Place, entry: Entry, path: Path) -> Path:
    """An object of the backup, as a file. Raises `BackupError` where it is damaged."""
    return _get(place, manifest.object_name(entry), entry, path)


def _get(place: Place, name: str, entry: Entry, path: Path) -> Path:
    try:
        place.get(name, path)
        is_whole = digest(path) == entry.sha256
    except FileNotFoundError:
        is_whole = False
    if not is_whole:
        raise BackupError(
            f"{entry.name} in {place} is not what was copied: its checksum is another. Take another backup: "
            "`crypto restore --backup NAME`, after ./cleanup.sh."
        )
    return path


def _put_objects(settings: Settings, place: Place, found: Manifest, told: Told, folder: Path) -> None:
    client = s3_client(settings)
    there: dict[str, int] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=settings.bucket):
        there |= {one["Key"]: one["Size"] for one in page.get("Contents", [])}

    def put(entry: Entry) -> None:
        if there.get(entry.name) != entry.size:
            with TemporaryDirectory(dir=folder) as its:
                path = fetched_object(place, entry, Path(its, "object"))
                client.upload_file(str(path), settings.bucket, entry.name)
        told.advance(entry.size)

    try:
        side_by_side(put, found.objects)
    except (ClientError, BotoCoreError, Boto3Error) as error:
        raise BackupError(f"{settings.s3_url} did not take an object: {error}. The same command goes on.") from None


def _secrets(place: Place, found: Manifest, folder: Path) -> list[str]:
    """Put `.env` where there is none, if the backup has one."""
    notes = []
    for entry in found.files:
        if entry.name.startswith("secrets/"):
            path = home() / Path(entry.name).name
            if path.exists():
                notes.append(f"{path} is as it was: the backup's own was left alone.")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            made = path.with_name(f"{path.name}.new")
            made.touch(mode=0o600)
            made.write_bytes(_fetched(place, entry, folder).read_bytes())
            made.rename(path)
    return notes


def _put_files(settings: Settings, place: Place, found: Manifest, folder: Path) -> list[str]:
    """What streaming and the simulator remember. Files of configuration that differ from those here are put beside."""
    used = {
        path.name: path
        for path in (
            settings.symbols_file, settings.indicators_file, settings.portfolio_file, settings.signals_file,
            settings.alerts_file, settings.retention_file,
        )
    }  # fmt: skip
    others = []
    for entry in found.files:
        kind, _, name = entry.name.partition("/")
        if kind in ("streaming", "simulator"):
            target = settings.state / kind / Path(name).name
        elif kind == "config":
            here = used.get(name, settings.portfolio_file.parent / name)
            if here.is_file() and digest(here) == entry.sha256:
                continue
            target = home() / "restored-config" / Path(name).name
            others.append(target.name)
        else:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_fetched(place, entry, folder).read_bytes())
    if not others:
        return []
    return [
        f"{', '.join(others)} differed from what is configured here: the backup's are in {home() / 'restored-config'}. "
        "Copy over what you want before ./deploy.sh."
    ]
