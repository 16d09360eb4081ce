"""The only state of the simulated market, a small JSON file: seed, rate, when it opened, and what faults changed."""

import json
import os
from pathlib import Path

from streaming.simulator import SimulatorError
from streaming.simulator.calendar import Calendar
from streaming.simulator.market import MINUTE, Market


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file whole: a reader, or a restart after a crash, finds the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read_json(path: Path) -> object | None:
    """What the file holds; none where there is no file. Raises `SimulatorError` where it is not JSON."""
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SimulatorError(f"{path} cannot be read ({error}): delete it to open a new market.") from None
    return content


def open_market(folder: Path | None, seed: int, rate: float, history_hours: int, now: int) -> Market:
    """The market of a folder, or a new one, which opened `history_hours` before the minute of `now` (microseconds).

    Where the folder has a market, its opening stands. Raises `SimulatorError` where that has another seed or rate.
    """
    started = now // MINUTE * MINUTE
    opened = Market(seed, started - history_hours * 60 * MINUTE, rate, started, is_planted=True)
    if folder is None:
        return opened
    path = folder / "market.json"
    kept = read_json(path)
    if kept is None:
        save_market(folder, opened)
        return opened
    if not isinstance(kept, dict) or not {"seed", "rate", "opening"} <= kept.keys():
        raise SimulatorError(f"{path} is no checkpoint of a market: delete it to open a new market.")
    if (kept["seed"], kept["rate"]) != (seed, rate):
        raise SimulatorError(
            f"The market in {folder} has seed {kept['seed']} and rate {kept['rate']}, not seed {seed} and rate {rate}: "
            "start with those, or delete the folder to open a new market."
        )
    opening = int(kept["opening"])
    calendars = {symbol: Calendar.of(changes) for symbol, changes in kept.get("calendars", {}).items()}
    is_planted = bool(kept.get("planted", False))
    return Market(seed, opening, rate, int(kept.get("started", opening)), calendars, is_planted=is_planted)


def save_market(folder: Path, market: Market) -> None:
    """Writes what `open_market` reads."""
    content = {
        "seed": market.seed, "rate": market.rate, "opening": market.opening, "started": market.started,
        "planted": market.is_planted,
        "calendars": {symbol: calendar.content() for symbol, calendar in market.calendars.items()},
    }  # fmt: skip
    write_atomically(folder / "market.json", json.dumps(content))
