"""`volume_spike`: much more is traded than usual."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alerts.kinds._kind import MINUTE, TradeRule, TradeState, minutes, plain
from shared.events import Trade

PARTS = 10
"""The window moves on by a tenth of itself."""


class Volumes(TradeState):
    """What was traded, in the base asset, by parts of the window: each in which something was, and how much."""

    first: int = 0
    """The part of the first trade that was seen; 0: none was."""
    window: list[tuple[int, float]] = []  # noqa: RUF012 (msgspec copies it)
    before: list[tuple[int, float]] = []  # noqa: RUF012
    """What lies before the window: by it one knows what is usual."""
    in_window: float = 0.0
    in_before: float = 0.0


class VolumeSpike(TradeRule[Volumes]):
    """Fires where `times` as much is traded in the last `minutes` as in so many minutes of the `usual_minutes` before.

    Resolves with the first trade of which that is not so. Until a market was seen for so long, it is silent.
    """

    kind: Literal["volume_spike"]
    times: Annotated[float, Field(gt=1, le=10_000, allow_inf_nan=False)]
    minutes: Annotated[int, Field(ge=1, le=60)] = 1
    usual_minutes: Annotated[int, Field(ge=5, le=1440)] = 60

    remembers: ClassVar[type[TradeState]] = Volumes

    @model_validator(mode="after")
    def _usual_is_longer(self) -> Self:
        if self.usual_minutes < 5 * self.minutes:
            raise ValueError("usual_minutes must be five times minutes, or more")
        return self

    def see(self, state: Volumes, trade: Trade) -> bool | None:
        now = trade.event_time // (self.minutes * MINUTE // PARTS)
        quantity = float(trade.quantity)
        state.first = state.first or now
        if state.window and state.window[-1][0] == now:
            state.window[-1] = (now, state.window[-1][1] + quantity)
        else:
            self._move_on(state, now - PARTS)
            state.window.append((now, quantity))
        state.in_window += quantity
        if now - state.first < self._usual_parts + PARTS or state.in_before <= 0:
            return None
        return self.value(state, trade) >= self.times

    def _move_on(self, state: Volumes, last_before: int) -> None:
        """Move what lies before the window out of it, and forget what is too old."""
        while state.window and state.window[0][0] <= last_before:
            part = state.window.pop(0)
            state.before.append(part)
            state.in_window -= part[1]
            state.in_before += part[1]
        while state.before and state.before[0][0] <= last_before - self._usual_parts:
            state.in_before -= state.before.pop(0)[1]
        if not state.window:  # what rounding left
            state.in_window = 0.0
        if not state.before:
            state.in_before = 0.0

    @property
    def _usual_parts(self) -> int:
        return self.usual_minutes * PARTS // self.minutes

    def value(self, state: Volumes, trade: Trade) -> float:  # noqa: ARG002 (the kind's signature)
        """How many times the usual."""
        return state.in_window / (state.in_before * PARTS / self._usual_parts)

    def text(self, state: Volumes, trade: Trade) -> str:
        return (
            f"{plain(state.in_window)} {trade.base_asset} of {trade.symbol} traded in {minutes(self.minutes)}: "
            f"{self.value(state, trade):.1f} times what is usual."
        )
