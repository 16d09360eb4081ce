"""What the machine must have before anything is begun: memory, disk and tools. A fault is a sentence with its cure."""

import importlib.util
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deployment import environment, jars, minio, postgres
from deployment.paths import VENV, cache, home, tool
from shared.disk import disk_of, existing

GIB = 1 << 30
PROFILES = {"8g": 8, "6g": 6}
GO = (1, 24)
JAVA = (17,)


@dataclass(frozen=True)
class Machine:
    """What the checks look at, so that they can be tried without such a machine."""

    memory_bytes: int
    free_bytes: Callable[[Path], int]
    tool: Callable[[str], str | None]
    version: Callable[[str], tuple[int, ...]]
    """Of `java` or `go`; empty where it does not say."""
    is_root: bool
    is_debian: bool


def this_machine() -> Machine:
    """The machine that we are on."""
    return Machine(
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        free_bytes=lambda path: disk_of(existing(path)).free,
        tool=tool,
        version=version,
        is_root=os.geteuid() == 0,
        is_debian=tool("apt-get") is not None,
    )


def version(name: str) -> tuple[int, ...]:
    """The version that `java` or `go` gives for itself."""
    command = ["java", "-version"] if name == "java" else ["go", "version"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    found = re.search(r"(?:version \"|go version go)(\d+(?:\.\d+)*)", said.stderr + said.stdout)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def faults(profile: str, local: bool, machine: Machine) -> list[str]:
    """All that stands in the way, a sentence each; empty where nothing does. `local` is without Docker."""
    return [*_memory(profile, machine), *_disk(local, machine), *_python(), *(_tools(machine) if local else ())]


def _memory(profile: str, machine: Machine) -> Iterator[str]:
    if profile not in PROFILES:
        yield f"MEMORY_PROFILE is {profile!r}: it must be one of {', '.join(sorted(PROFILES))}."
        return
    needed = PROFILES[profile]
    # A machine sold with 8 GB shows a little less: the kernel keeps some.
    if machine.memory_bytes < 0.92 * needed * GIB:
        has = f"This machine has {machine.memory_bytes / GIB:.1f} GB of memory, and {needed} are needed"
        smaller = machine.memory_bytes >= 0.92 * PROFILES["6g"] * GIB
        yield f"{has}: {'set MEMORY_PROFILE=6g' if smaller else 'use a larger one'}."


def _disk(local: bool, machine: Machine) -> Iterator[str]:
    wanted: dict[Path, float] = defaultdict(float)
    wanted[home()] += 2.0
    if not environment.stamp().exists():
        wanted[VENV] += 1.5
        wanted[cache()] += 1.5
    if local:
        wanted[cache()] += 0.5 * sum(not jars.folder(name).is_dir() for name in jars.NAMES)
        wanted[cache()] += 0.0 if minio.program() else 3.0
    disks: dict[int, list[Path]] = defaultdict(list)
    for path in wanted:
        disks[existing(path).stat().st_dev].append(path)
    for paths in disks.values():
        needed = sum(wanted[path] for path in paths)
        free = machine.free_bytes(paths[0]) / GIB
        if free < needed:
            yield (
                f"The disk of {paths[0]} has {free:.1f} GB free, and {needed:.1f} are needed: "
                "free some, or move the data with CRYPTO_HOME and the cache with XDG_CACHE_HOME."
            )


def _python() -> Iterator[str]:
    if not environment.stamp().exists() and importlib.util.find_spec("ensurepip") is None:
        yield "This Python cannot make virtual environments: apt-get install python3-venv."


def _tools(machine: Machine) -> Iterator[str]:
    if machine.tool("java") is None:
        yield "Java is missing: install a Java 17 runtime (Debian: apt-get install openjdk-17-jre-headless)."
    elif machine.version("java")[:1] != JAVA:
        found = ".".join(str(part) for part in machine.version("java")) or "another"
        yield f"`java` is version {found}, and Spark 3.5 needs 17: put Java 17 first on the PATH."
    if not all(jars.folder(name).is_dir() for name in jars.NAMES) and machine.tool("mvn") is None:
        yield "Maven is missing: it fetches Kafka and Spark's jars (Debian: apt-get install maven)."
    if minio.program() is None:
        if machine.tool("go") is None:
            yield "Go is missing: it builds MinIO. Install Go 1.24 or newer, or put a `minio` on the PATH."
        elif machine.version("go") < GO:
            found = ".".join(str(part) for part in machine.version("go")) or "another"
            yield f"`go` is version {found}, and MinIO needs 1.24 or newer: install that, or put a `minio` on the PATH."
    if postgres.binaries() is None and not (machine.is_root and machine.is_debian):
        yield "PostgreSQL's server is missing: " + (
            "apt-get install postgresql (as root; ./deploy.sh as root does it by itself)."
            if machine.is_debian
            else "install PostgreSQL 15 or newer."
        )
