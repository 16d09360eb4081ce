"""MinIO: the program (the one on the PATH, else a pinned build), and how it is run."""

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deployment.command import Command
from deployment.paths import cache, tool
from deployment.steps import InstallError, Shell, Step

if TYPE_CHECKING:
    from shared.settings import Settings

VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
"""Built from source because its official images and binaries are no longer published."""
CLIENT_VERSION = "v0.0.0-20250313080218-cf909e1063a9"
"""Of `mc`, which is in the image for those who are used to it."""
CURE = "Look whether Go reaches its module proxy (`go env GOPROXY`), or put a `{}` on the PATH."


def built(name: str, version: str) -> Path:
    """Where our own build of a program lies."""
    return cache() / f"{name}-{version}"


def program() -> str | None:
    """The MinIO to run, or None where it is still to be built."""
    return tool("minio") or (str(built("minio", VERSION)) if built("minio", VERSION).exists() else None)


def build(name: str, version: str, shell: Shell) -> None:
    """Build a program of MinIO's with Go, the server in about five minutes, and rename it into place."""
    cache().mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache()))
    try:
        shell.run(["go", "install", f"github.com/minio/{name}@{version}"], GOBIN=str(made), CGO_ENABLED="0")
        os.replace(made / name, built(name, version))  # noqa: PTH105 (the atomic one)
    finally:
        shutil.rmtree(made, ignore_errors=True)


STEP = Step(
    name="MinIO",
    done=lambda: program() is not None,
    run=partial(build, "minio", VERSION),
    cure=CURE.format("minio"),
)
CLIENT = Step(
    name="MinIO client",
    done=lambda: tool("mc") is not None or built("mc", CLIENT_VERSION).exists(),
    run=partial(build, "mc", CLIENT_VERSION),
    cure=CURE.format("mc"),
)


def command(settings: "Settings") -> Command:
    """Serve `$state/minio`, with the console. The keys go by the environment, where `ps` does not show them."""
    minio = program()
    if minio is None:
        raise InstallError("MinIO is not installed: run ./deploy.sh")
    data = settings.state / "minio"
    data.mkdir(parents=True, exist_ok=True)
    argv = [
        minio, "server", "--quiet", *(["--json"] if settings.log_format == "json" else []),
        "--address", f"{settings.bind_address}:{settings.minio_port}",
        "--console-address", f"{settings.bind_address}:{settings.minio_console_port}",
        str(data),
    ]  # fmt: skip
    env = {
        "MINIO_ROOT_USER": settings.s3_access_key,
        "MINIO_ROOT_PASSWORD": settings.s3_secret_key.get_secret_value(),
        "MINIO_REGION": settings.s3_region,
        "MINIO_UPDATE": "off",
        "GOMEMLIMIT": "256MiB",
    }
    return Command(tuple(argv), env)
