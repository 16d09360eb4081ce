"""`python -m deployment.sbom`: what the image is made of, as a CycloneDX 1.6 bill of materials in JSON.

Standard library only. Read where it is asked: the distributions of this Python, the jars of Kafka and Spark, the
modules that MinIO and `mc` were linked from, and Debian's packages. https://cyclonedx.org/docs/1.6/json/
"""

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deployment import environment, jars
from deployment.paths import cache, tool

GO_MODULES = "go-modules.txt"
"""What `go version -m` says of the programs that were built, in the cache; the Dockerfile writes it."""


def bill() -> dict[str, Any]:
    """The whole document; each component once, in the order of their package URLs."""
    found = {one["bom-ref"]: one for one in (*python(), *java(), *go(), *debian())}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "name": environment.PROJECT_NAME,
                "version": metadata.version(environment.PROJECT_NAME),
            }
        },
        "components": [found[name] for name in sorted(found)],
    }


def component(kind: str, name: str, version: str, *, group: str = "", **qualifiers: str) -> dict[str, Any]:
    """One component; its package URL (https://github.com/package-url/purl-spec) is its reference too."""
    path = "/".join(quote(part, safe="") for part in (*(group.split("/") if group else ()), name))
    asked = "&".join(f"{key}={quote(value, safe='')}" for key, value in sorted(qualifiers.items()))
    purl = f"pkg:{kind}/{path}@{quote(version, safe='')}" + (f"?{asked}" if asked else "")
    named = {"group": group} if group else {}
    return {"type": "library", "bom-ref": purl, **named, "name": name, "version": version, "purl": purl}


def python() -> Iterator[dict[str, Any]]:
    """The distributions of this environment, but for our own."""
    for one in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower()
        if name != environment.PROJECT_NAME:
            yield component("pypi", name, one.version)


def java() -> Iterator[dict[str, Any]]:
    """The jars of Kafka and Spark, each with its SHA-256."""
    pyspark = util.find_spec("pyspark")
    folders = [jars.folder(name) for name in jars.NAMES]
    if pyspark and pyspark.origin:
        folders.append(Path(pyspark.origin).parent / "jars")
    for folder in folders:
        for path in sorted(folder.glob("*.jar")):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            yield of_jar(path) | {"hashes": [{"alg": "SHA-256", "content": digest}]}


def of_jar(path: Path) -> dict[str, Any]:
    """A jar by what Maven left in it, where it tells of one artifact alone; else by the name of its file."""
    with zipfile.ZipFile(path) as jar:
        told = [name for name in jar.namelist() if re.fullmatch(r"META-INF/maven/.+/pom\.properties", name)]
        if len(told) == 1:
            pairs = (line.partition("=") for line in jar.read(told[0]).decode(errors="replace").splitlines())
            maven = {key.strip(): value.strip() for key, _, value in pairs}
            if {"groupId", "artifactId", "version"} <= maven.keys():
                return component("maven", maven["artifactId"], maven["version"], group=maven["groupId"])
    name, version = re.fullmatch(r"(.+?)(?:-(\d.*))?", path.stem).groups()  # type: ignore[union-attr]
    return component("generic", name, version or "unknown")


def go() -> Iterator[dict[str, Any]]:
    """The modules of the programs that Go built, theirs and those that they use."""
    path = cache() / GO_MODULES
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        words = line.split()
        if len(words) >= 3 and words[0] in ("mod", "dep", "=>"):
            group, _, name = words[1].rpartition("/")
            yield component("golang", name, words[2], group=group)


def debian() -> Iterator[dict[str, Any]]:
    """Debian's packages, where the system is one."""
    if tool("dpkg-query") is None:
        return
    asked = ["dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Architecture}\n"]
    for line in subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines():
        name, version, architecture = line.split()
        yield component("deb", name, version, group="debian", arch=architecture)


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=1)
