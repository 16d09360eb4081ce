"""No secret is in the repository."""

import subprocess
from pathlib import Path

import pytest
from detect_secrets import SecretsCollection
from detect_secrets.core import baseline

from deployment.paths import PROJECT

BASELINE = ".secrets.baseline"
"""What looks like a secret and is none. After looking at it: `detect-secrets scan --baseline .secrets.baseline`."""


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> SecretsCollection:
    """What looks like a secret and is none; from now on is scanned as the baseline says."""
    monkeypatch.chdir(PROJECT)
    return baseline.load(baseline.load_from_file(BASELINE), BASELINE)


def scanned(*files: str) -> SecretsCollection:
    """What looks like a secret in these files."""
    found = SecretsCollection()
    for file in files:
        found.scan_file(file)
    return found


def test_no_file_of_the_repository_holds_a_secret(known: SecretsCollection) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout: nothing says which files belong to it")
    files = [file for file in listed.stdout.split("\0") if file and Path(file).exists()]
    assert len(files) > 100
    new = [f"{file}:{secret.line_number}: {secret.type}" for file, secret in scanned(*files) - known]
    cure = f"take it out; where it is none, `detect-secrets scan --baseline {BASELINE}` notes that"
    assert not new, f"{new}: {cure}"


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    "line",
    ["-----BEGIN " + "PRIVATE KEY-----", "key = 'AKIA" + "Q3EGRKHQ7JXZMTPD'", "url = 'https://me:h" + "unter2@a.b'"],
)
def test_a_secret_is_found(tmp_path: Path, line: str) -> None:
    file = tmp_path / "a.py"
    file.write_text(f"{line}\n")
    assert len(list(scanned(str(file)))) == 1
