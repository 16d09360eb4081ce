"""What test_upgrading.py runs in a process of its own: the other tests have another Spark, without Hudi."""

import json
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import patch

import pytest

from crypto_pipeline import contract_versions, lakehouse, upgrading
from crypto_pipeline.backup.manifest import BackupError
from crypto_pipeline.backup.place import place_of
from crypto_pipeline.backup.restoring import restore, stores
from crypto_pipeline.backup.taking import back_up
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.reader import notes, read
from crypto_pipeline.upgrading import upgrade
from deployment import env_file, postgres
from deployment.start import DeployError, _start
from deployment.supervise import Supervisor
from shared.markers import UPGRADING
from shared.settings import Settings, home
from shared.tables import Column, Table
from streaming.object_store import s3_client
from tests.servers import free_ports

OLD = Table(
    layer="gold",
    name="probe",
    grain="One row per symbol and number",
    columns=(
        Column("symbol", "string", "a symbol"),
        Column("number", "int", "a number"),
        Column("price", "decimal(20,8)", "a price"),
        Column("at", "timestamp", "a time"),
        Column("month", "string", "partition: a month"),
    ),
    key=("symbol", "number"),
    partitions=("month",),
    time="at",
    buckets=1,
)
NEW = replace(
    OLD,
    columns=(
        Column("symbol", "string", "a symbol"),
        Column("number", "bigint", "a number"),
        Column("price", "decimal(38,18)", "a price"),
        Column("at", "timestamp", "a time"),
        Column("added", "double", "a later thought"),
        Column("date", "string", "partition: a day"),
    ),
    partitions=("date",),
    buckets=2,
)
WIDENED = replace(OLD, name="other", columns=(OLD.columns[0], NEW.columns[1], *OLD.columns[2:]))
SAME = replace(OLD, name="same", key=("symbol", "number", "month"))
BEFORE = {"gold.probe": OLD, "gold.other": replace(OLD, name="other"), "gold.same": SAME}
AFTER = {"gold.probe": NEW, "gold.other": WIDENED, "gold.same": SAME}
MOVING = replace(OLD, name="moving", columns=(*OLD.columns[:2], OLD.columns[-1]), time=None)
TEN = 10
FIRST = datetime(2026, 10, 30, tzinfo=UTC)

ANCIENT, BEFORE_VERSION, AFTER_VERSION = "9.0", "9.1", "9.2"
"""Versions of the contracts as no code has them."""


class Killed(BaseException):
    """What ends an upgrade in its midst."""


class Told:
    """Ends it all when it hears of a table."""

    def __init__(self, until: str = "") -> None:
        self.until = until

    def says(self, line: str) -> None:
        if self.until and line.startswith(self.until):
            raise Killed

    def expects(self, size: int) -> None:
        pass

    def advance(self, size: int) -> None:
        pass


def structure(tables: dict[str, Table]) -> Any:
    """As contract_versions.json has it."""
    return {
        name: {
            "columns": {one.name: one.type for one in table.columns},
            "key": list(table.key),
            "partitions": list(table.partitions),
            "buckets": table.buckets,
        }
        for name, table in tables.items()
    }


def fill(lake: Lakehouse) -> None:
    """Each table as it was, with base files and log files."""
    for table in BEFORE.values():
        lake.create(table)
        for numbers in (range(60), range(40, 80)):
            rows = [
                (f"S{n % 3}", n, str(n), moment, moment.strftime("%Y-%m"))
                for n, moment in ((n, FIRST + timedelta(hours=n)) for n in numbers)
            ]
            frame = lake.spark.createDataFrame(
                rows, "symbol string, number int, price string, at timestamp, month string"
            )
            typed = frame.selectExpr("symbol", "number", "cast(price as decimal(20,8)) price", "at", "month")
            lake.write(table, typed, {"place": f"{numbers.stop}"})


def backed_up_while_written(settings: Settings, lake: Lakehouse) -> str:
    """Back up a table that is written to and merged all the while; gives the place of the backups."""
    lake.create(MOVING)
    written, is_over = [0], Event()

    def write_on() -> None:
        while not is_over.is_set():
            numbers = range(TEN * written[0], TEN * (written[0] + 1))
            of_one_month = [("BTCUSDT", number, "2026-10") for number in numbers]
            some = lake.spark.createDataFrame(of_one_month, "symbol string, number int, month string")
            written[0] += 1
            lake.write(MOVING, some, {"place": str(written[0])})
            if written[0] % 4 == 0:
                lake.compact(MOVING, FIRST, everywhere=True, log_files=2)

    place = str(home() / "moving")
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_on)
        try:
            while written[0] < 3 and not writing.done():
                time.sleep(0.2)
            for _ in range(3):
                back_up(settings, place_of(place, settings), Told(), wait=0)
        finally:
            is_over.set()
        writing.result()
    return place


def restored(place: str) -> dict[str, object]:
    """What the newest of these backups is in another home."""
    other = Path(tempfile.mkdtemp(prefix="crypto-lakehouse-test-"))
    other.chmod(0o755)
    ports = map(str, free_ports(3))
    names = ("MINIO_PORT", "MINIO_CONSOLE_PORT", "POSTGRES_PORT")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (("CRYPTO_HOME", str(other)), *zip(names, ports, strict=True)):
            patched.setenv(name, value)
        try:
            there, _, _ = restore(place_of(place, Settings.load()), "", Told())
            with stores(there):
                noted = notes(MOVING, "place", there)
                numbers = sorted(read(MOVING, there, ["number"])["number"].to_pylist())
        finally:
            shutil.rmtree(postgres.data_dir(other / "var" / "demo"), ignore_errors=True)
            shutil.rmtree(other)
    place_noted = int(noted.values["place"]) if noted else 0
    return {"writes": place_noted, "is_just_these": numbers == list(range(TEN * place_noted))}


def rows(settings: Settings, table: Table) -> list[list[str]]:
    """What both contracts have, in order."""
    found = read(table, settings, ["symbol", "number", "price", "at"]).to_pylist()
    return sorted([row["symbol"], row["number"], str(row["price"].normalize()), str(row["at"])] for row in found)


def main() -> dict[str, object]:
    env_file.ensure("demo")
    settings = Settings.load()
    marker = settings.state / UPGRADING
    place = str(home() / "backups")
    known = {BEFORE_VERSION: structure(BEFORE), AFTER_VERSION: structure(AFTER)}
    seen: dict[str, object] = {}
    with stores(settings), patch.object(lakehouse, "versions", lambda: known):
        with patch.object(lakehouse, "VERSION", BEFORE_VERSION), upgrading._spark(settings) as lake:
            fill(lake)
            place_of_moving = backed_up_while_written(settings, lake)
        seen["restored"] = restored(place_of_moving)
        before = {name: rows(settings, table) for name, table in BEFORE.items()}
        seen["rows"] = len(before["gold.probe"])

        def lies_by_day() -> bool:
            found = s3_client(settings).list_objects_v2(Bucket=settings.bucket, Prefix="gold/probe/date=")
            return bool(found["KeyCount"])

        def is_as_before() -> bool:
            return not lies_by_day() and before == {name: rows(settings, table) for name, table in BEFORE.items()}

        with patch.object(contract_versions, "VERSION", ANCIENT):
            try:
                upgrade(settings, place, Told(), BEFORE, known)
            except BackupError as error:
                seen["newer"] = str(error)
        with (
            patch.object(contract_versions, "VERSION", AFTER_VERSION),
            patch.object(lakehouse, "VERSION", AFTER_VERSION),
        ):
            try:
                upgrade(settings, place, Told(until="gold.other"), AFTER, known)
            except Killed:
                seen["killed_in_the_midst"] = lies_by_day() and marker.exists()
            try:
                _start(settings, Supervisor(settings.state))
            except DeployError as error:
                seen["deployed_meanwhile"] = str(error)
            with patch.object(upgrading, "_sum", side_effect=[1, 1, 1, 2]):
                try:
                    upgrade(settings, place, Told(), AFTER, known)
                except BackupError as error:
                    seen["failed"] = str(error)
            seen["rolled_back"] = is_as_before() and not marker.exists()
            changes = upgrade(settings, place, Told(), AFTER, known)
            seen["changed"] = {one.table.full_name: one.reasons for one in changes}
            seen["equal"] = before == {name: rows(settings, table) for name, table in AFTER.items()}
            seen["added"] = sorted({str(row) for row in read(NEW, settings, ["added"])["added"].to_pylist()})
            seen["days"] = sorted({row["date"] for row in read(NEW, settings, ["date"]).to_pylist()})
            noted = notes(NEW, "place", settings)
            seen["notes"] = noted.values if noted else None
            seen["again"] = len(upgrade(settings, place, Told(), AFTER, known))
    return seen


if __name__ == "__main__":
    print(json.dumps(main()))
