"""The Docker engine, where there is one. Standard library only."""

import hashlib
import json
import subprocess
from collections.abc import Iterable

from deployment.paths import PROJECT, child_environment, env_files, home, setting, tool

NAME = "crypto-lakehouse"
"""What compose calls the project, as `docker-compose.yml` has it."""
CLICKHOUSE = ("clickhouse", "clickhouse-trades")
"""The profiles of our own ClickHouse, and of what brings the trades into it or another one."""
MONITORING = "monitoring"
"""The profile of Grafana."""
PUBLIC = "public"
"""The profile of what is open to a network."""
OF_PROFILE = {"demo": "simulator", MONITORING: "grafana", PUBLIC: "public"} | {name: name for name in CLICKHOUSE}
"""The container that belongs to each profile."""


def engine_runs() -> bool:
    """Is there an engine that answers, with compose?"""
    return tool("docker") is not None and _answers("info") and _answers("compose", "version")


def project() -> str:
    """What compose calls the deployment of this `CRYPTO_HOME`: one in another folder shares no container or volume."""
    if home() == PROJECT:
        return setting("COMPOSE_PROJECT_NAME", NAME)
    place = hashlib.sha256(str(home()).encode()).hexdigest()[:8]
    return setting("COMPOSE_PROJECT_NAME", f"{NAME}-{place}")


def compose(mode: str, profiles: Iterable[str] = ()) -> list[str]:
    """`docker compose` for the deployment of a mode, and for what else belongs to these profiles."""
    chosen = [*(["demo"] if mode == "demo" else []), *profiles]
    words = [word for profile in chosen for word in ("--profile", profile)]
    files = [word for path in reversed(env_files()) if path.exists() for word in ("--env-file", str(path))]
    return ["docker", "compose", "--project-directory", str(PROJECT), *files, *words]


def run(mode: str, profiles: Iterable[str], *arguments: str, **env: str) -> int:
    """Run `docker compose` before the user's eyes, and give its exit code."""
    ours = next((path for path in env_files() if path.exists()), home() / ".env")
    environment = child_environment(
        CRYPTO_HOME=str(home()), COMPOSE_PROJECT_NAME=project(), ENVIRONMENT_FILE=str(ours), **env
    )
    return subprocess.run([*compose(mode, profiles), *arguments], env=environment, check=False).returncode


def remove_unchosen(mode: str, profiles: Iterable[str]) -> int:
    """Stop and remove the containers of the profiles that are not chosen now: compose leaves them as they were."""
    chosen = {*profiles, mode}
    names = [name for profile, name in OF_PROFILE.items() if profile not in chosen]
    return run("demo", OF_PROFILE, "rm", "--stop", "--force", *names)


def has_grafana() -> bool:
    """Do the settings start it?"""
    return setting("GRAFANA", "true").lower() not in ("false", "0", "no", "off")


def tell_grafana(mode: str) -> int:
    """Have Grafana take the password that its container now has, for its volume keeps the first one."""
    told = 'printf %s "$GF_SECURITY_ADMIN_PASSWORD" | grafana cli admin reset-admin-password --password-from-stdin'
    return run(mode, (MONITORING,), "exec", "-T", "grafana", "sh", "-c", told)


def containers() -> list[str]:
    """The containers of this project that exist."""
    return _listed("ps", "--all", "--quiet", "--filter", _ours())


def ailing() -> list[str]:
    """What the containers of this project that are not healthy last said, and what their probes said of them."""
    told = []
    for container in containers():
        state = json.loads(_printed("inspect", "--format", "{{json .State}}", container) or "{}")
        health = state.get("Health", {})
        if health.get("Status") == "healthy":
            continue
        name = _printed("inspect", "--format", "{{.Name}}", container).strip().lstrip("/")
        probes = [probe["Output"].strip() for probe in health.get("Log", [])[-1:]]
        said = _printed("logs", "--tail", "10", container, errors=subprocess.STDOUT).rstrip()
        told.append("\n".join([f"— {name}: {health.get('Status', state.get('Status'))}", *probes, said]))
    return told


def volumes() -> list[str]:
    """The volumes of this project."""
    return _listed("volume", "ls", "--quiet", "--filter", _ours())


def remove_volume(name: str) -> None:
    """Remove a volume for good. Raises `CalledProcessError` where a container still uses it."""
    subprocess.run(["docker", "volume", "rm", name], check=True, capture_output=True)


def _ours() -> str:
    return f"label=com.docker.compose.project={project()}"


def _listed(*arguments: str) -> list[str]:
    if tool("docker") is None or not _answers("info"):
        return []
    return _printed(*arguments).split()


def _printed(*arguments: str, errors: int = subprocess.DEVNULL) -> str:
    return subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, stderr=errors, text=True, check=False).stdout


def _answers(*arguments: str) -> bool:
    try:
        return not subprocess.run(["docker", *arguments], capture_output=True, check=False, timeout=10).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False
