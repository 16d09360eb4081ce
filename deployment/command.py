"""What a service's process is: arguments, which everybody can see, and environment, which nobody else can."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Command:
    """A program to become. Secrets stand in `env` alone."""

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict, repr=False)
    folder: Path | None = None
    """Where it runs; none: where we are."""
