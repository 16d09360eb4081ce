"""`python3 -m deployment.cleanup`: remove the data of the deployments, and with `--all` what was installed.

It asks, and stops what runs. Standard library only: it may remove `.venv`.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from deployment import docker, postgres
from deployment.paths import PROJECT, VENV, cache, state

MODES = ("demo", "live")


def main() -> int:
    """Say what will go, ask, and remove it. Gives the exit code."""
    parser = argparse.ArgumentParser(prog="./cleanup.sh", description="Remove the deployment's data.")
    parser.add_argument(
        "--all", action="store_true", help="also the Python environment and the cache of jars and MinIO"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    chosen = parser.parse_args()
    return remove(doomed(chosen.all), docker.volumes(), lambda: chosen.yes or _asked(), _stop)


def doomed(everything: bool) -> list[Path]:
    """What there is to remove. `.env` stays: it is yours, and the secrets in it are of use again."""
    paths = [path for mode in MODES for path in (state(mode), postgres.data_dir(state(mode)))]
    paths = [path for path in paths if path.exists() and not any(other in path.parents for other in paths)]
    return paths + ([path for path in (VENV, cache()) if path.exists()] if everything else [])


def remove(paths: list[Path], volumes: list[str], agreed: Callable[[], bool], stop: Callable[[], None]) -> int:
    """Remove the folders and Docker volumes if that is agreed to; what uses them is stopped. Gives the exit code."""
    if not paths and not volumes:
        print("There is nothing to remove.")
        return 0
    print("This will be removed for good:")
    for path in paths:
        print(f"  {path}")
    for volume in volumes:
        print(f"  the Docker volume {volume}")
    if not agreed():
        print("Nothing was removed.")
        return 1
    stop()
    for path in paths:
        shutil.rmtree(path)
    for volume in volumes:
        docker.remove_volume(volume)
    print("Removed.")
    return 0


def _stop() -> None:
    subprocess.run([str(PROJECT / "stop.sh")], check=True)


def _asked() -> bool:
    if not sys.stdin.isatty():
        print("There is nobody to ask: say --yes.")
        return False
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")


if __name__ == "__main__":
    sys.exit(main())
