"""What there is that may go, as the bucket has it, and how it goes from there."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import BotoCoreError, ClientError

from crypto_pipeline import contracts
from crypto_pipeline.expired import RAW
from crypto_pipeline.reader import LakeError, NotThereYetError, keys_refused, not_running, open_table
from crypto_pipeline.retention.decision import Size, Unit
from shared.retention import Rules
from shared.settings import Settings
from streaming.archive import place
from streaming.object_store import s3_client

_ARCHIVED = re.compile(r"raw/exchange=([^/]+)/symbol=([^/]+)/date=(\d{4}-\d\d-\d\d)/hour=\d\d/[^/]+\.jsonl\.zst")
_OF_DAY = re.compile(r"date=(\d{4}-\d\d-\d\d)/")
_AT_ONCE = 1000
"""So many objects are removed by one request."""


def held(settings: Settings, rules: Rules) -> dict[Unit, Size]:
    """What is there of all that has an end by the rules. Raises `LakeError`."""
    found = _raw(settings) if rules.raw or any(rules.raw_by_symbol.values()) else {}
    for name, keep in rules.tables.items():
        if keep:
            found |= _days(settings, name)
    return found


def _raw(settings: Settings) -> dict[Unit, Size]:
    files, size = Counter[Unit](), Counter[Unit]()
    for key, length in _listed(settings, f"{RAW}/"):
        if named := _ARCHIVED.fullmatch(key):
            unit = Unit(RAW, named[1], unquote(named[2]), date.fromisoformat(named[3]))
            files[unit] += 1
            size[unit] += length
    return {unit: Size(files[unit], size[unit]) for unit in files}


def _days(settings: Settings, name: str) -> dict[Unit, Size]:
    """The days of a table of which a reader sees rows; files that cleaning has yet to remove are none."""
    table = contracts.tables()[name]
    try:
        there = {one["date"] for one in open_table(table, settings).partitions()}
    except NotThereYetError:
        return {}
    files, size = Counter[str](), Counter[str]()
    for key, length in _listed(settings, f"{table.folder}/date="):
        if (of_day := _OF_DAY.search(key)) and of_day[1] in there:
            files[of_day[1]] += 1
            size[of_day[1]] += length
    return {Unit(name, "", "", date.fromisoformat(day)): Size(files[day], size[day]) for day in there}


def partitions(settings: Settings, name: str, days: Sequence[date]) -> list[str]:
    """The partitions of these days of a table as Hudi names them. Raises `LakeError`."""
    wanted = {str(day) for day in days}
    found = open_table(contracts.tables()[name], settings).partitions()
    return ["/".join(f"{key}={value}" for key, value in one.items()) for one in found if one["date"] in wanted]


def remove(settings: Settings, units: Sequence[Unit]) -> None:
    """Remove these days of the raw archive; what is gone already is no fault. Raises `LakeError`."""
    keys = [
        key for unit in units for key, _ in _listed(settings, f"{RAW}/{_folder(unit)}/") if _ARCHIVED.fullmatch(key)
    ]
    client: Any = s3_client(settings)
    for first in range(0, len(keys), _AT_ONCE):
        some = [{"Key": key} for key in keys[first : first + _AT_ONCE]]
        with_faults = _asked(
            settings, lambda some=some: client.delete_objects(Bucket=settings.bucket, Delete={"Objects": some})
        )
        for fault in with_faults.get("Errors", ()):
            raise LakeError(f"{fault['Key']} cannot be removed ({fault['Code']}): {keys_refused(settings)}")


def _folder(unit: Unit) -> str:
    """Of a day, which lies above its hours."""
    return place(unit.exchange, unit.symbol, unit.day.toordinal() * 24 - _EPOCH).rpartition("/")[0]


_EPOCH = date(1970, 1, 1).toordinal() * 24


def _listed(settings: Settings, prefix: str) -> Iterator[tuple[str, int]]:
    client: Any = s3_client(settings)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=settings.bucket, Prefix=prefix)
    for page in _asked(settings, lambda: list(pages)):
        yield from ((str(one["Key"]), int(one["Size"])) for one in page.get("Contents", ()))


def _asked(settings: Settings, question: Any) -> Any:
    try:
        return question()
    except ClientError:
        raise LakeError(keys_refused(settings)) from None
    except BotoCoreError:
        raise LakeError(not_running(settings)) from None
