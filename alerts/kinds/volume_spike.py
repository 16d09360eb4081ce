"""`volume_spike`: much more is traded than usual."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alerts.kinds._kind import MINUTE, TradeRule, TradeState, minutes, plain
from shared.events import Trade

PARTS = 10
"""The window moves on by a tenth of itself."""


class Volumes(TradeState):
    """What was traded, by parts of the window."""

    first: int = 0
    """The part of the first trade that was seen; 0: none was."""
    parts: list[tuple[int, float]] = []  # noqa: RUF012 (msgspec copies it)
    """Each part in which something traded, and how much, in the base asset; the last one still grows."""
    usual: float = 0.0
    """Of a window as it usually is: the mean over what lies before the window."""
    others: float = 0.0
    """Of the window's parts but the last."""


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
        if state.parts and state.parts[-1][0] == now:
            state.parts[-1] = (now, state.parts[-1][1] + quantity)
        else:
            self._move_on(state, now)
            state.parts.append((now, quantity))
        if now - state.first < self._usual_parts + PARTS or not state.usual:
            return None
        return self.value(state, trade) >= self.times

    def _move_on(self, state: Volumes, now: int) -> None:
        """Begin another part: what lies before it is summed anew, so that no error adds up."""
        state.first = state.first or now
        begin = now - PARTS + 1
        state.parts = [part for part in state.parts if part[0] >= begin - self._usual_parts]
        state.others = sum(volume for part, volume in state.parts if part >= begin)
        state.usual = sum(volume for part, volume in state.parts if part < begin) * PARTS / self._usual_parts

    @property
    def _usual_parts(self) -> int:
        return self.usual_minutes * PARTS // self.minutes

    def value(self, state: Volumes, trade: Trade) -> float:  # noqa: ARG002 (the kind's signature)
        """How many times the usual."""
        return (state.others + state.parts[-1][1]) / state.usual

    def text(self, state: Volumes, trade: Trade) -> str:
        volume = plain(state.others + state.parts[-1][1])
        return (
            f"{volume} {trade.base_asset} of {trade.symbol} traded in {minutes(self.minutes)}: "
            f"{self.value(state, trade):.1f} times what is usual."
        )
