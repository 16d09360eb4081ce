"""No secret of the deployed system shows in its processes' command lines or in a file that others may read."""

import stat
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError
from dotenv import dotenv_values

from deployment import env_file
from deployment.services import environment, table
from streaming.object_store import s3_client
from tests.system import System

LOOKED_THROUGH = ("log", "supervisor", "spark", "dagster")
"""What services write about themselves; the others keep data, in forms of their own."""


def secrets(system: System) -> dict[str, bytes]:
    """By name those of its `.env`, without the names of accounts."""
    made = dotenv_values(system.home / ".env")
    names = [name for name in env_file.SECRETS if not name.endswith("ACCESS_KEY")]
    return {name: str(made[name]).encode() for name in names}


def is_open(path: Path) -> bool:
    """May others than its owner read it?"""
    return all(one.stat().st_mode & (stat.S_IROTH | stat.S_IXOTH) for one in (path, path.parent))


def test_no_command_line_holds_a_secret(system: System) -> None:
    lines = [" ".join(line).encode() for _, line in system.asked(lambda process: process.cmdline())]
    assert len(lines) > 10
    assert not [name for name, secret in secrets(system).items() if any(secret in line for line in lines)]


def test_a_process_is_told_the_secrets_of_its_service_and_no_other(system: System) -> None:
    settings = system.settings()
    every = {value for name in env_file.SECRETS if (value := dotenv_values(system.home / ".env")[name])}
    seen = 0
    for name, service in table(settings).items():
        theirs = set(environment(service, settings).values())
        mine = psutil.Process(system.supervisor().processes()[name]["pid"])
        for process in (mine, *mine.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # a run that has ended meanwhile
                told = " ".join(process.environ().values())
                assert {secret for secret in every if secret in told} <= theirs, name
                seen += 1
    assert seen > 10


def test_no_file_that_others_may_read_holds_a_secret(system: System) -> None:
    state = system.home / "var" / "demo"
    files = [file for part in LOOKED_THROUGH for file in (state / part).rglob("*") if file.is_file() and is_open(file)]
    assert state / "log" / "streaming.log" in files
    found = [
        (str(file.relative_to(state)), name)
        for file in files
        for name, secret in secrets(system).items()
        if secret in file.read_bytes()
    ]
    assert not found


def test_a_secret_is_given_anew_by_one_command_and_the_old_one_lets_nobody_in(system: System) -> None:
    before, ran = system.settings(), {name: one["pid"] for name, one in system.supervisor().processes().items()}
    told = system.script("deploy.sh", "--local", "--rotate", "S3_READER_SECRET_KEY").stdout
    after = system.settings()
    restarted = {name for name, one in system.supervisor().processes().items() if one["pid"] != ran[name]}
    assert restarted == {"bucket", "monitoring", "dashboard"}
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        s3_client(before.as_account("reader")).list_objects_v2(Bucket=before.bucket)
    assert s3_client(after.as_account("reader")).list_objects_v2(Bucket=after.bucket)["KeyCount"]
    assert after.s3_reader_secret_key.get_secret_value() not in told


def test_env_is_its_owners_alone(system: System) -> None:
    assert stat.S_IMODE((system.home / ".env").stat().st_mode) == 0o600
