"""The images that the Dockerfile builds on: pulled, or where they cannot be, stand-ins of the same names.

`python -m tests.docker.base_images` makes what is missing. A stand-in is made by mmdebstrap from Debian's packages,
with the certificates that this machine trusts; that of Go has this machine's Go, and what it has built and fetched
before, so that MinIO, which the machine may have built for itself, is not built from nothing again.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deployment import debian
from deployment.console import Console
from deployment.paths import PROJECT
from deployment.steps import Shell

RELEASE = "bookworm"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

GO = {"GOROOT": "/usr/local/go", "GOCACHE": "/root/.cache/go-build", "GOMODCACHE": "/root/go/pkg/mod"}
"""What Go calls its folders, and where they lie in the image."""


@dataclass(frozen=True)
class StandIn:
    """What an image of this name holds besides a smallest Debian."""

    packages: tuple[str, ...] = ()
    has_go: bool = False


STAND_INS = {
    "debian": StandIn(),
    "python": StandIn(("python3", "python3-venv")),
    "golang": StandIn(has_go=True),
}
"""By the name of the image, of any tag: the tag's Debian is `RELEASE`, and its Python is that of this release."""


def bases(dockerfile: str) -> list[str]:
    """The images of other makers that a Dockerfile builds on, each once."""
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", dockerfile, re.M))
    return list(dict.fromkeys(name for name in re.findall(r"^FROM (\S+)", dockerfile, re.M) if name not in stages))


def ours() -> list[str]:
    """Those of our Dockerfile; the last is what our own image is."""
    return bases((PROJECT / "Dockerfile").read_text(encoding="utf-8"))


def have() -> list[str]:
    """Have all base images in the engine; gives the names of those that are stand-ins of ours."""
    made = []
    for image in ours():
        is_there = not _docker("image", "inspect", image)
        if (not is_there or is_stand_in(image)) and _docker("pull", "--quiet", image) and not is_there:
            make(image, STAND_INS[image.partition(":")[0]])
        if is_stand_in(image):
            made.append(image)
    return made


def is_stand_in(image: str) -> bool:
    """Was an image that is there made by us?"""
    label = ["docker", "image", "inspect", "--format", '{{index .Config.Labels "stand-in"}}', image]
    return subprocess.run(label, capture_output=True, text=True, check=True).stdout.strip() == "yes"


def make(image: str, what: StandIn) -> None:
    """Make a stand-in of this name."""
    if shutil.which("mmdebstrap") is None:
        with Console.logging_to(Path("/dev/null")) as console:
            debian.install(Shell(console), "mmdebstrap")
    with tempfile.TemporaryDirectory(prefix="stand-in-") as name:
        folder = Path(name)
        for at, one in enumerate(certificates(BUNDLE.read_text(encoding="utf-8"))):
            (folder / f"of-this-machine-{at}.crt").write_text(one, encoding="utf-8")
        hooks = [
            f"--customize-hook=sync-in {folder} /usr/local/share/ca-certificates",
            '--customize-hook=chroot "$1" update-ca-certificates > /dev/null 2>&1',
        ]
        if what.has_go:
            for name, place in GO.items():
                said = subprocess.run(["go", "env", name], capture_output=True, text=True, check=True).stdout.strip()
                if Path(said).is_dir():
                    hooks += [f'--customize-hook=mkdir -p "$1{place}"', f"--customize-hook=sync-in {said} {place}"]
        include = ",".join(("ca-certificates", *what.packages))
        build = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={include}", *hooks, RELEASE, "-"]
        path = "/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = " ".join([f"PATH={path}", *(f"{name}={place}" for name, place in GO.items() if what.has_go)])
        load = ["docker", "import", "--change", f"ENV {environment}", "--change", "LABEL stand-in=yes", "-", image]
        with subprocess.Popen(build, stdout=subprocess.PIPE) as system:
            subprocess.run(load, stdin=system.stdout, stdout=subprocess.DEVNULL, check=True)
        if system.returncode:
            _docker("image", "rm", image)
            raise RuntimeError(f"mmdebstrap ended with {system.returncode}: {image} could not be made")


def certificates(bundle: str) -> list[str]:
    """The certificates of a bundle, each by itself."""
    return re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", bundle, re.S)


def _docker(*arguments: str) -> int:
    return subprocess.run(["docker", *arguments], capture_output=True, check=False).returncode


if __name__ == "__main__":
    for stand_in in have():
        sys.stdout.write(f"{stand_in} is a stand-in made here\n")
