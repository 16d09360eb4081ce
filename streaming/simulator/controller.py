"""Runs the faults: those of a schedule at their moments, those asked for over HTTP at once. Keeps the account of them.

`GET /faults` lists the kinds, `POST /faults` starts one (or a schedule, in the form of `schedule`), `POST /faults/end`
ends the one whose `id` is given, or all; `GET /truth/faults` says what was done.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from random import Random
from typing import Any

from aiohttp import web

from streaming.simulator import SimulatorError
from streaming.simulator.faults import Fault, kinds
from streaming.simulator.messages import json_text
from streaming.simulator.schedule import Chaos, Entry, Planned, entries, plan
from streaming.simulator.stage import FaultError, Note, Stage

_SHOWN = 200
_UNREADABLE = (ValueError, TypeError, OverflowError, RecursionError, LookupError)
"""What a request may be of whose JSON, numbers or charset nothing can be made."""


class Controller:
    """The faults of one simulator."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage = stage
        self._seed = seed
        self._plans: set[asyncio.Task[None]] = set()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._notes: list[Note] = []

    def follow(self, wanted: Iterable[Entry], seed: int | None = None) -> None:
        """Starts a schedule now. Raises `SimulatorError` where a fault in it cannot be."""
        wanted = list(wanted)
        for entry in wanted:
            if isinstance(entry.what, Fault):
                try:
                    entry.what.prepare(self._stage)
                except FaultError as error:
                    raise SimulatorError(f"The fault {entry.what.kind} cannot be: {error}.") from None
        task = asyncio.create_task(self._follow(wanted, self._seed if seed is None else seed))
        self._plans.add(task)
        task.add_done_callback(self._plans.discard)

    async def _follow(self, wanted: list[Entry], seed: int) -> None:
        start = self._stage.clock.right()
        for planned in plan(wanted, seed):
            await self._stage.until(start + int(planned.at * 1e6))
            self.begin(planned.fault, planned.seed)

    def begin(self, fault: Fault, seed: str) -> Note:
        """Starts one fault."""
        note = Note(
            number=len(self._notes) + 1,
            kind=fault.kind,
            asked=fault.model_dump(mode="json"),
            repair=fault.repair,
            begun=self._stage.clock(),
        )
        self._notes.append(note)
        stage = replace(self._stage, random=Random(seed))  # noqa: S311 (a schedule, no secret)
        self._running[note.number] = asyncio.create_task(self._run(fault, stage, note))
        return note

    async def _run(self, fault: Fault, stage: Stage, note: Note) -> None:
        try:
            await fault.run(stage, note)
        except ValueError as error:  # what a market cannot have now, such as a second halt
            note.details["failed"] = str(error)
        finally:
            note.ended = stage.clock()
            self._running.pop(note.number, None)

    async def end(self, number: int | None = None) -> int:
        """Ends a fault, or all and every schedule; gives how many ended."""
        chosen = [task for known, task in self._running.items() if number in (None, known)]
        if number is None:
            chosen += self._plans
        for task in chosen:
            task.cancel()
        await asyncio.gather(*chosen, return_exceptions=True)
        return len(chosen)

    def notes(self) -> list[dict[str, Any]]:
        """What was done so far."""
        return [note.content() for note in self._notes]

    # --- HTTP

    def routes(self) -> list[web.RouteDef]:
        """The addresses under which faults are asked for and accounted for."""
        return [
            web.get("/faults", self._list),
            web.post("/faults", self._start),
            web.post("/faults/end", self._end),
            web.get("/truth/faults", self._account),
        ]

    async def _list(self, _request: web.Request) -> web.Response:
        return _reply({"kinds": described()})

    async def _account(self, _request: web.Request) -> web.Response:
        return _reply({"faults": self.notes()})

    async def _start(self, request: web.Request) -> web.Response:
        try:
            asked = await request.json()
            seed = asked.pop("seed", None) if isinstance(asked, dict) and asked.get("kind") != "chaos" else None
            wanted = entries(asked)
            chosen = self._seed if seed is None else int(seed)
            first = list(islice(plan(wanted, chosen), _SHOWN))
            if len(wanted) == 1 and len(first) == 1 and not first[0].at:
                first[0].fault.prepare(self._stage)
                note = self.begin(first[0].fault, f"{chosen}/{len(self._notes)}")
                await asyncio.sleep(0)  # it has begun
                return _reply(note.content())
            self.follow(wanted, chosen)
        except (SimulatorError, FaultError, *_UNREADABLE) as error:
            return _reply({"error": str(error)}, status=400)
        return _reply({"planned": [_shown(planned) for planned in first]})

    async def _end(self, request: web.Request) -> web.Response:
        try:
            asked = await request.json() if request.can_read_body else {}
            number = None if asked.get("id") is None else int(asked["id"])
        except (AttributeError, *_UNREADABLE):
            return _reply({"error": 'It needs {"id": N}, or {} for all.'}, status=400)
        ended = await self.end(number)
        if number is not None and not ended:
            return _reply({"error": f"No fault {number} is running."}, status=404)
        return _reply({"ended": ended})


def _reply(content: object, status: int = 200) -> web.Response:
    return web.Response(text=json_text(content), content_type="application/json", status=status)


def _shown(planned: Planned) -> dict[str, Any]:
    return {"kind": planned.fault.kind, "at": planned.at, **planned.fault.model_dump(mode="json")}


def described() -> dict[str, dict[str, Any]]:
    """Every kind with its meaning, what must be recorded of it, whether that can be repaired, and its parameters."""
    found: dict[str, dict[str, Any]] = {
        name: {
            "what": (kind.__doc__ or "").strip(), "recorded": kind.recorded, "repair": kind.repair,
            "parameters": kind.model_json_schema().get("properties", {}),
        }
        for name, kind in kinds().items()
    }  # fmt: skip
    found["chaos"] = {
        "what": (Chaos.__doc__ or "").strip(), "recorded": "what its faults say", "repair": "in part",
        "parameters": Chaos.model_json_schema()["properties"],
    }  # fmt: skip
    return found
