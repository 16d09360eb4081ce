"""The bill of materials names what is there, in the form that its readers expect."""

import json
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deployment import jars, sbom


def test_it_is_what_cyclonedx_wants_and_names_each_distribution_and_jar_once() -> None:
    bill = sbom.bill()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    purls = [one["purl"] for one in bill["components"]]
    assert len(purls) == len(set(purls))
    assert f"pkg:pypi/pyspark@{metadata.version('pyspark')}" in purls
    assert "pkg:generic/kafka-tools@4.3.1" in purls or not jars.folder("kafka").is_dir()


@pytest.mark.parametrize(
    ("file", "properties", "purl"),
    [
        ("a-1.2.jar", ["groupId=org.a\nartifactId=a\nversion=1.2\n"], "pkg:maven/org.a/a@1.2"),
        ("kafka_2.13-4.3.1.jar", [], "pkg:generic/kafka_2.13@4.3.1"),
        ("nothing.jar", [], "pkg:generic/nothing@unknown"),
        ("shaded-2.0.jar", ["groupId=a\nartifactId=a\nversion=1"] * 2, "pkg:generic/shaded@2.0"),
    ],
)
def test_a_jar_is_named_by_what_maven_left_in_it_else_by_its_file(
    tmp_path: Path, file: str, properties: list[str], purl: str
) -> None:
    with zipfile.ZipFile(tmp_path / file, "w") as jar:
        for at, text in enumerate(properties):
            jar.writestr(f"META-INF/maven/g{at}/a/pom.properties", text)
    assert sbom.of_jar(tmp_path / file)["purl"] == purl


def test_the_modules_of_what_go_built_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "crypto-lakehouse"
    folder.mkdir()
    told = ("minio: go1.26", "path github.com/minio/minio", "mod github.com/minio/minio v1 h1:x=")
    (folder / sbom.GO_MODULES).write_text("\n\t".join((*told, "dep go.uber.org/zap v1.27.0 h1:y=\n")))
    assert [one["purl"] for one in sbom.go()] == [
        "pkg:golang/github.com/minio/minio@v1",
        "pkg:golang/go.uber.org/zap@v1.27.0",
    ]
