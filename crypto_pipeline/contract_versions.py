"""The version of the contracts, which each commit in the lake bears, and what may change with which version."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crypto_pipeline.contracts import Contracts
from shared.tables import Table

VERSION = "1.1"
"""Raised with each change of a table: the second number where what was there stays, the first where it does not."""
FILE = Path(__file__).with_name("contract_versions.json")
"""The tables of each version. `crypto docs` adds this one; what stands there is never changed."""

Structure = Mapping[str, Mapping[str, Any]]
"""By full name of a table its `columns` with their types, `key`, `partitions` and `buckets`."""


def parsed(version: str) -> tuple[int, int]:
    """The two numbers, which compare."""
    major, minor = version.split(".")
    return int(major), int(minor)


def is_newer(version: str) -> bool:
    """Is it that of a newer code than this?"""
    return parsed(version) > parsed(VERSION)


def structure(contracts: Contracts) -> Structure:
    """What of the contracts lies in the lake, but for the indicators that each deployment names for itself."""
    return {
        name: {
            "columns": {one.name: one.type for one in table.columns if one.name not in contracts.indicators},
            "key": list(table.key),
            "partitions": list(table.partitions),
            "buckets": table.buckets,
        }
        for name, table in contracts.tables.items()
    }


def versions() -> dict[str, Structure]:
    """The tables of each version, the oldest first."""
    known: dict[str, Structure] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return known


def encoded(known: Mapping[str, Structure]) -> str:
    """What `FILE` holds: a line for each table."""
    parts = []
    for version, tables in known.items():
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(table)}" for name, table in tables.items())
        parts.append(f"{json.dumps(version)}: {{\n{lines}\n}}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def breaking(before: Structure, after: Structure) -> Iterator[str]:
    """What someone who reads or fills the tables of before would miss, in words."""
    for name, table in before.items():
        if name not in after:
            yield f"{name} is gone"
            continue
        for column, kind in table["columns"].items():
            now = after[name]["columns"].get(column)
            if now is None:
                yield f"{name}.{column} is gone"
            elif now != kind and not is_wider(now, kind):
                yield f"{name}.{column} was {kind} and is {now}"
        if table["key"] != after[name]["key"]:
            yield f"{name} has another key"


def is_wider(kind: str, than: str) -> bool:
    """Does one type of Spark SQL hold every value of the other, exactly?"""
    if (than, kind) in {("int", "bigint"), ("int", "double"), ("float", "double"), ("date", "timestamp")}:
        return True
    wide, narrow = (re.fullmatch(r"decimal\((\d+), ?(\d+)\)", one) for one in (kind, than))
    if not wide or not narrow:
        return False
    (digits, places), (fewer, their_places) = (map(int, one.groups()) for one in (wide, narrow))
    return places >= their_places and digits - places >= fewer - their_places


def fault(old: str, before: Structure, new: str, after: Structure) -> str:
    """Why a version cannot follow another; empty where it can."""
    if parsed(new) <= parsed(old):
        return f"{new} does not come after {old}"
    lost = list(breaking(before, after))
    if lost and parsed(new)[0] == parsed(old)[0]:
        return f"{'; '.join(lost)}: that needs the version {parsed(old)[0] + 1}.0, not {new}"
    return ""


def relaid(table: Table, version: str, buckets: int, wanted: int, known: Mapping[str, Structure]) -> list[str]:
    """Why the rows of a table, as a version wrote them in so many buckets, must be written anew; empty where not.

    A column that was added asks for nothing: it is null in the rows that were there.
    """
    reasons = [f"it lies in {buckets} buckets, and {wanted} are set"] if buckets != wanted else []
    before = known.get(version, {}).get(table.full_name)
    if before is None:
        return reasons
    for column in table.columns:
        kind = before["columns"].get(column.name, column.type)
        if kind != column.type:
            reasons.append(f"{column.name} is {kind}, and {column.type} is wanted")
    for what, now in (("partitions", table.partitions), ("key", table.key)):
        if tuple(before[what]) != now:
            reasons.append(f"its {what} are {', '.join(before[what]) or 'none'}, and {', '.join(now) or 'none'} wanted")
    return reasons
