"""What a backup holds. Its manifest is written last, so that a backup is there as a whole or not at all."""

import gzip
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from crypto_pipeline.backup.place import Place

FORMAT = 1
_FOLDER = "manifests/"
_NAME = re.compile(r"manifests/(\d{8}T\d{6}Z)\.json\.gz")


class BackupError(Exception):
    """A backup cannot be made or used; the message says why, and the cure."""


class DamagedError(BackupError):
    """A manifest is not what was written."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A file of the backup, or an object of the bucket."""

    name: str
    """The object's key, or `databases/lake.dump`, `config/symbols.yaml`."""
    version: str
    """An object's ETag, which changes when it does; of a file its checksum."""
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One backup."""

    format: int = FORMAT
    made_at: str
    """UTC, `20261128T003713Z`: its name."""
    mode: str
    bucket: str
    lake_buckets: int
    """LAKE_BUCKETS: over how many files the large tables are spread."""
    postgres: int
    """The version of PostgreSQL whose `pg_dump` it was."""
    warnings: Sequence[str] = ()
    objects: Sequence[Entry]
    files: Sequence[Entry]

    def names(self) -> set[str]:
        """Under which names all of it lies."""
        return {object_name(one) for one in self.objects} | {file_name(one) for one in self.files}


def object_name(entry: Entry) -> str:
    """Under which name an object of the bucket lies. With its version: nothing is ever written over."""
    return f"objects/{entry.name}.{entry.version}"


def file_name(entry: Entry) -> str:
    """Under which name another file lies."""
    return f"files/{entry.name}.{entry.version}"


def made(place: Place) -> list[str]:
    """The backups that a place has, by name, the newest first."""
    found = (_NAME.fullmatch(name) for name in place.names(_FOLDER))
    return sorted((one[1] for one in found if one), reverse=True)


def write(place: Place, manifest: Manifest) -> None:
    """Make the backup valid."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "manifest")
        path.write_bytes(gzip.compress(msgspec.json.encode(manifest), 6))
        place.put(f"{_FOLDER}{manifest.made_at}.json.gz", path)


def read(place: Place, name: str) -> Manifest:
    """A backup by its name. Raises `BackupError` where it is not there, `DamagedError` where it is not as written."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "manifest")
        try:
            place.get(f"{_FOLDER}{name}.json.gz", path)
        except FileNotFoundError:
            there = made(place)
            has = f"it has {', '.join(there)}" if there else "no backup there was ever finished"
            raise BackupError(f"{place} has no backup {name}: {has}.") from None
        try:
            found = msgspec.json.decode(gzip.decompress(path.read_bytes()), type=Manifest)
        except (OSError, EOFError, msgspec.MsgspecError) as error:
            raise DamagedError(
                f"The manifest of the backup {name} in {place} is damaged ({error}): take another."
            ) from None
    if found.format != FORMAT:
        raise BackupError(f"The backup {name} in {place} was made by a newer version of this project: update it first.")
    return found


def whole(place: Place) -> tuple[list[Manifest], list[str]]:
    """The backups whose manifests can be read, the newest first, and the names of the others."""
    found, damaged = [], []
    for name in made(place):
        try:
            found.append(read(place, name))
        except DamagedError:
            damaged.append(name)
    return found, damaged


def is_begun(place: Place) -> bool:
    """Something was copied there."""
    return bool(place.names("objects/") or place.names("files/"))


def newest(place: Place) -> Manifest:
    """The newest finished backup. Raises `BackupError` where there is none."""
    there = made(place)
    if there:
        return read(place, there[0])
    if is_begun(place):
        raise BackupError(
            f"The backup in {place} was never finished: run `crypto backup --to {place}` again, which goes on."
        )
    raise BackupError(f"There is no backup in {place}: `crypto backup --to {place}` makes one.")


def remove(place: Place, name: str) -> None:
    """Forget a backup; what it names stays."""
    place.remove(f"{_FOLDER}{name}.json.gz")
