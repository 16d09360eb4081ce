"""`crypto upgrade`: tables whose rows lie otherwise than the contracts say now are written anew.

There is a backup before anything is changed. What fails is put back from it, and so is what was killed, by the next
call. The stores run meanwhile, and nothing else does: Spark is one of our own, in this process.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline import contract_versions
from crypto_pipeline.backup import manifest
from crypto_pipeline.backup.manifest import BackupError
from crypto_pipeline.backup.place import Place, place_of
from crypto_pipeline.backup.restoring import fetched_object
from crypto_pipeline.backup.taking import Told, back_up
from crypto_pipeline.catalog import LAYERS
from crypto_pipeline.connect_server import spark_properties, write_defaults
from crypto_pipeline.contract_versions import Structure, relaid
from crypto_pipeline.lakehouse import Lakehouse, NewerLakeError, check_version
from crypto_pipeline.reader import LakeError, NotThereYetError, open_table
from deployment import jars
from deployment.paths import set_environment
from shared.markers import UPGRADING
from shared.settings import Settings
from shared.tables import BUCKETS, CONTRACTS, Notes, Table
from streaming.object_store import s3_client

_STAGED = "staging/upgrade/"


@dataclass(frozen=True)
class Change:
    """A table that is to be written anew."""

    table: Table
    reasons: list[str]
    notes: Notes
    types: Mapping[str, str]
    """Of its columns as they are."""


def plan(settings: Settings, tables: Mapping[str, Table], known: Mapping[str, Structure]) -> list[Change]:
    """What is to be written anew. Raises `BackupError` where the lake is of a newer code, or of an unknown one."""
    changes = []
    for name, table in tables.items():
        try:
            notes = open_table(table, settings).notes(BUCKETS)
        except NotThereYetError:
            continue
        if notes is None:
            continue
        version = notes.values.get(CONTRACTS, next(iter(known)))
        try:
            check_version(table, version)
        except NewerLakeError as error:
            raise BackupError(str(error)) from None
        buckets = table.buckets or settings.lake_buckets
        if reasons := relaid(table, version, int(notes.values[BUCKETS]), buckets, known):
            types = known.get(version, {}).get(name, {}).get("columns", {})
            _check_known(table, types)
            changes.append(Change(table, reasons, notes, types))
    return changes


def _check_known(table: Table, types: Mapping[str, str]) -> None:
    for column in table.columns:
        kind = types.get(column.name, column.type)
        if kind != column.type and not contract_versions.is_wider(column.type, kind):
            raise BackupError(
                f"{table.full_name}.{column.name} is {kind} in the lake, and {column.type} in this code cannot hold "
                "every value of it: go back to the code that wrote it (docs/recipes/upgrade.md)."
            )


def upgrade(
    settings: Settings,
    address: str,
    told: Told,
    tables: Mapping[str, Table],
    known: Mapping[str, Structure],
) -> list[Change]:
    """Bring the lake to the contracts, and give what was written anew. Its stores run, and nothing else does.

    `address` is where the backup goes. Raises `BackupError`: then all is as it was, unless that says otherwise.
    """
    marker = settings.state / UPGRADING
    if marker.exists():
        told.says("putting back what an interrupted upgrade left")
        put_back(settings, marker)
    changes = plan(settings, tables, known)
    if not changes:
        return []
    place = place_of(address, settings)
    made = back_up(settings, place, told, keep=None, wait=0)
    marker.write_text(
        json.dumps({"place": str(place), "backup": made.made_at, "tables": [one.table.folder for one in changes]})
    )
    try:
        with _spark(settings) as lake:
            for change in changes:
                told.says(f"{change.table.full_name}: {'; '.join(change.reasons)}")
                _lay_anew(settings, lake, change)
    except (PySparkException, Py4JError, LakeError, ClientError, BotoCoreError, BackupError) as error:
        why = str(error).splitlines()[0][:300]
        put_back(settings, marker)
        raise BackupError(f"The upgrade failed, and all is as it was: {why}") from None
    marker.unlink()
    return changes


def put_back(settings: Settings, marker: Path) -> None:
    """Make the tables of an upgrade what they were before it, by its backup. May be repeated."""
    begun = json.loads(marker.read_text())
    place: Place = place_of(begun["place"], settings)
    found = manifest.read(place, begun["backup"])
    client = s3_client(settings)
    for folder in begun["tables"]:
        prefix = f"{folder}/"
        wanted = {one.name: one for one in found.objects if one.name.startswith(prefix)}
        there = _listed(client, settings.bucket, prefix)
        with TemporaryDirectory(prefix="crypto-upgrade-") as temporary:
            for name, entry in wanted.items():
                if there.get(name) != entry.version:
                    path = fetched_object(place, entry, Path(temporary, "object"))
                    client.upload_file(str(path), settings.bucket, name)
        _remove(client, settings.bucket, set(there) - set(wanted))
    _remove(client, settings.bucket, set(_listed(client, settings.bucket, _STAGED)))
    marker.unlink()


def _lay_anew(settings: Settings, lake: Lakehouse, change: Change) -> None:
    """Write a table's rows anew, beside it first. Raises `BackupError` where they are not the same then."""
    table, client = change.table, s3_client(settings)
    staged = f"s3a://{settings.bucket}/{_STAGED}{table.folder}"
    lake.stored(table, change.types).write.mode("overwrite").parquet(staged)
    before = _sum(lake.stored(table, change.types))
    lake.forget(table)
    _remove(client, settings.bucket, set(_listed(client, settings.bucket, f"{table.folder}/")))
    lake.create(table)
    rows = lake.spark.read.parquet(staged).select(table.column_names)
    lake.write(table, rows, change.notes.values, is_unique=True, into_empty=True)
    if before != _sum(lake.read(table)):
        raise BackupError(f"the rows of {table.full_name} were not the same afterwards.")
    _remove(client, settings.bucket, set(_listed(client, settings.bucket, f"{_STAGED}{table.folder}/")))


def _sum(rows: DataFrame) -> tuple[Any, ...]:
    """How many rows, and the sum of their hashes: the same for the same rows, in whatever order."""
    hashed = rows.select(F.xxhash64(*(F.col(name) for name in rows.columns)).cast("decimal(20,0)").alias("hash"))
    return tuple(hashed.agg(F.count("*"), F.sum("hash")).collect()[0])


def _listed(client: Any, bucket: str, prefix: str) -> dict[str, str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {one["Key"]: one["ETag"].strip('"') for page in pages for one in page.get("Contents", [])}


def _remove(client: Any, bucket: str, names: set[str]) -> None:
    for name in names:
        client.delete_object(Bucket=bucket, Key=name)


@contextmanager
def _spark(settings: Settings) -> Iterator[Lakehouse]:
    """A lakehouse by a Spark of our own, in this process."""
    folder = settings.state / "spark" / "upgrade"
    properties = dict(spark_properties(settings.model_copy(update={"spark_jars": jars.folder("spark")})))
    properties |= {"spark.master": "local[2]", "spark.driver.memory": "2g", "spark.ui.enabled": "false"}
    write_defaults(folder, properties)
    set_environment({"SPARK_CONF_DIR": str(folder), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable})
    spark = SparkSession.builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    lake = Lakehouse(spark, settings, settings.lake_buckets)
    for layer in LAYERS:
        lake.create_database(layer)
    try:
        yield lake
    finally:
        spark.stop()
