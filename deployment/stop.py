"""`python -m deployment.stop`: stop everything of this checkout's deployments, in good order, and say so."""

from collections.abc import Callable
from pathlib import Path

from deployment import docker, processes
from deployment.paths import home
from deployment.services import TABLE, tiers
from deployment.supervise import Supervisor


def main() -> None:
    """Stop what runs, of either mode."""
    stopped = [stop(state, print) for state in (home() / "var" / "demo", home() / "var" / "live")]
    if docker.containers():
        docker.run("demo", docker.OF_PROFILE, "down")
        stopped.append(True)
    if not any(stopped):
        print("Nothing is running.")


def stop(state: Path, say: Callable[[str], None]) -> bool:
    """Stop one deployment: what nobody needs first, what others need last. False where nothing ran."""
    supervisor = Supervisor(state)
    ran = supervisor.running()
    if ran:
        for tier in reversed(tiers(TABLE)):
            supervisor.stop(service.name for service in tier)
        supervisor.shut_down()
    left = processes.ours(state)
    processes.end(left)
    if ran or left:
        say(f"Stopped the {state.name} deployment; its data stays in {state}.")
    return ran or bool(left)


if __name__ == "__main__":
    main()
