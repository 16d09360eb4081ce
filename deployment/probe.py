"""`python -m deployment.probe SERVICE`: exit 0 where it is healthy, else say why. The health check in Docker."""

import sys

from deployment.probes import UnhealthyError
from deployment.services import TABLE
from shared.settings import settings


def main() -> None:
    """Probe the service that the command line names."""
    names = {service.name: service for service in TABLE}
    if len(sys.argv) != 2 or sys.argv[1] not in names:
        sys.exit(f"Usage: python -m deployment.probe SERVICE, one of {', '.join(names)}")
    try:
        names[sys.argv[1]].probe(settings())
    except UnhealthyError as unhealthy:
        sys.exit(str(unhealthy))


if __name__ == "__main__":
    main()
