"""`python -m streaming.simulator [--replay FILE ... [--speed N]]`: the simulated exchange, by the settings."""

import argparse
import logging
import sys
from pathlib import Path

from shared import logs
from shared.settings import Settings, SettingsError, settings
from streaming.simulator import SimulatorError
from streaming.simulator.schedule import PLANTED, Entry, entries, read
from streaming.simulator.server import Options, serve


def main() -> int:
    """Serves until it is told to end; 1 where it could not start."""
    parser = argparse.ArgumentParser(prog="python -m streaming.simulator", description=__doc__)
    parser.add_argument("--replay", nargs="+", type=Path, default=[], metavar="FILE", help="recordings to send again")
    parser.add_argument("--speed", type=float, default=1.0, help="1 as recorded, 0 as fast as it is read")
    arguments = parser.parse_args()
    try:
        chosen = settings()
        logs.set_up(chosen.log_format)
        serve(
            Options(
                port=chosen.simulator_port,
                seed=chosen.simulator_seed,
                rate=chosen.simulator_rate,
                history_hours=chosen.simulator_history_hours,
                folder=chosen.state / "simulator",
                recordings=arguments.replay,
                speed=arguments.speed,
                host=chosen.bind_address,
                faults=wanted_faults(chosen),
            ),
            announce=logging.getLogger("simulator").info,
        )
    except (SettingsError, SimulatorError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def wanted_faults(chosen: Settings) -> list[Entry]:
    """Those of `SIMULATOR_FAULTS`; else what a demo plants."""
    if chosen.simulator_faults:
        return read(chosen.simulator_faults)
    return entries(PLANTED) if chosen.mode == "demo" and chosen.simulator_planted_faults else []


if __name__ == "__main__":
    sys.exit(main())
