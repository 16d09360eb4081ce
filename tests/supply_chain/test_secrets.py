"""No secret is in the repository."""

import subprocess
from pathlib import Path

import pytest
from detect_secrets import SecretsCollection
from detect_secrets.core import baseline

from deployment.paths import PROJECT

BASELINE = PROJECT / ".secrets.baseline"
"""What looks like a secret and is none. After looking at it: `detect-secrets scan --baseline .secrets.baseline`."""


@pytest.fixture
def known() -> SecretsCollection:
    """What looks like a secret and is none; from now on is scanned as the baseline says."""
    return baseline.load(baseline.load_from_file(str(BASELINE)), str(BASELINE))


def scanned(root: Path, *files: str) -> SecretsCollection:
    """What looks like a secret in these files."""
    found = SecretsCollection(root=str(root))
    for file in files:
        found.scan_file(file)
    return found


def test_no_file_of_the_repository_holds_a_secret(known: SecretsCollection) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout: nothing says which files belong to it")
    files = [file for file in listed.stdout.split("\0") if file]
    assert len(files) > 100
    new = scanned(PROJECT, *files) - known
    said = [f"{file}:{secret.line_number}: {secret.type}" for file, secret in new]
    assert not said, (
        f"{said}: take it out; where it is none, `detect-secrets scan --baseline {BASELINE.name}` notes that"
    )


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    "line",
    ["-----BEGIN RSA " + "PRIVATE KEY-----", "key = 'AKIA" + "Q3EGRKHQ7JXZMTPD'", "url = 'https://me:h" + "unter2@a.b'"],
)
def test_a_secret_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.py").write_text(f"{line}\n")
    assert len(scanned(tmp_path, "a.py")) == 1
