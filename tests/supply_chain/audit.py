"""Which known vulnerabilities the locked packages have (pip-audit asks), and which of them are accepted for now."""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from shared import yaml_file
from shared.yaml_file import YamlFileError

ACCEPTED = Path(__file__).with_name("accepted.yaml")
TIMEOUT_SECONDS = 10


class Accepted(BaseModel):
    """One that is known, and why it may stay until a day."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    """By any of its names: PYSEC, GHSA or CVE."""
    package: str
    until: date
    reason: Annotated[str, Field(min_length=10)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    accepted: tuple[Accepted, ...]


class UnreachableError(Exception):
    """The service of vulnerabilities did not answer, so nothing is known; the message says what it said."""


def accepted(path: Path = ACCEPTED) -> tuple[Accepted, ...]:
    """What is accepted. Raises `YamlFileError` with line and reason."""
    file, _ = yaml_file.load(path, _File, YamlFileError, "`accepted`, a list")
    return file.accepted


def expired(known: Sequence[Accepted], today: date) -> list[str]:
    """A sentence for each that is accepted no longer."""
    return [
        f"{one.id} of {one.package} was accepted until {one.until} ({one.reason}): upgrade the package, or look again "
        "and set another day."
        for one in known
        if one.until < today
    ]


def report(lock: Path, *service: str) -> list[dict[str, Any]]:
    """What pip-audit says of each package of a lock with hashes. Raises `UnreachableError`.

    `service` are its options that choose whom it asks.
    """
    asked = ["--disable-pip", "--require-hashes", "--requirement", str(lock), "--timeout", str(TIMEOUT_SECONDS)]
    shown = ["--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *asked, *shown, *service], capture_output=True, text=True, check=False
    )
    if not done.stdout:
        raise UnreachableError(done.stderr.strip().splitlines()[-1])
    packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    # A service without data answers that it does not know the package, and pip-audit then ends as if all were well.
    if all("skip_reason" in one for one in packages):
        raise UnreachableError(packages[0]["skip_reason"])
    return packages


def faults(packages: Sequence[dict[str, Any]], known: Sequence[Accepted]) -> list[str]:
    """A sentence for each package that was not looked at, and for each vulnerability that is not accepted."""
    may_stay = {(one.package, one.id) for one in known}
    said = [f"{one['name']} was not looked at: {one['skip_reason']}" for one in packages if "skip_reason" in one]
    for one in packages:
        for found in one.get("vulns", ()):
            names = [found["id"], *found["aliases"]]
            if not any((one["name"], name) in may_stay for name in names):
                fixed = ", ".join(found["fix_versions"]) or "no version yet"
                said.append(
                    f"{one['name']} {one['version']} has {', '.join(names)}, mended in {fixed}: upgrade it in "
                    f"requirements.lock, or list it in {ACCEPTED.name} with a reason and a day."
                )
    return said
