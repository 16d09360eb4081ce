"""Stage two of `deploy.sh` with Docker: the same services by `docker compose`."""

import sys

from deployment import docker
from deployment.messages import farewell
from deployment.paths import set_environment, state
from deployment.services import TABLE
from deployment.start import configured
from deployment.stop import stop
from shared.settings import SettingsError
from shared.yaml_file import YamlFileError


def main() -> None:
    """Make `.env` whole, build, start, and wait until all is healthy."""
    mode = sys.argv[1]
    set_environment({"CRYPTO_MODE": mode})
    try:
        settings = configured(mode)
    except (SettingsError, YamlFileError) as error:
        sys.exit(f"✗ {error}")
    for local in ("demo", "live"):
        stop(state(local), print)
    limits = memory_limits(settings.memory_profile)
    if docker.run(mode, "up", "--detach", "--build", "--wait", "--remove-orphans", **limits):
        sys.exit(
            "✗ Docker did not bring everything up: `docker compose ps` and `docker compose logs` show why. "
            "./deploy.sh --local does without it."
        )
    print(farewell(settings))


def memory_limits(profile: str) -> dict[str, str]:
    """The variables by which `docker-compose.yml` gets the memory limits of a profile."""
    at = 0 if profile == "8g" else 1
    return {f"MEMORY_{service.name.upper().replace('-', '_')}": f"{service.memory_mb[at]}m" for service in TABLE}


if __name__ == "__main__":
    main()
