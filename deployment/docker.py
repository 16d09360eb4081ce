"""The Docker engine, where there is one. Standard library only."""

import subprocess

from deployment.paths import PROJECT, child_environment, home, tool

NAME = "crypto-lakehouse"


def engine_runs() -> bool:
    """Is there an engine that answers, with compose?"""
    return tool("docker") is not None and _answers("info") and _answers("compose", "version")


def compose(mode: str) -> list[str]:
    """`docker compose` for the deployment of a mode."""
    profile = ["--profile", "demo"] if mode == "demo" else []
    return ["docker", "compose", "--project-directory", str(PROJECT), "--env-file", str(home() / ".env"), *profile]


def run(mode: str, *arguments: str, **env: str) -> int:
    """Run `docker compose` before the user's eyes, and give its exit code."""
    environment = child_environment(CRYPTO_HOME=str(home()), **env)
    return subprocess.run([*compose(mode), *arguments], env=environment, check=False).returncode


def containers() -> list[str]:
    """The containers of this project that exist."""
    return _listed("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={NAME}")


def volumes() -> list[str]:
    """The volumes of this project."""
    return _listed("volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={NAME}")


def remove_volume(name: str) -> None:
    """Remove a volume for good. Raises `CalledProcessError` where a container still uses it."""
    subprocess.run(["docker", "volume", "rm", name], check=True, capture_output=True)


def _listed(*arguments: str) -> list[str]:
    if tool("docker") is None or not _answers("info"):
        return []
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False).stdout.split()


def _answers(*arguments: str) -> bool:
    try:
        return not subprocess.run(["docker", *arguments], capture_output=True, check=False, timeout=10).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False
