"""What a run is told, and what it tells."""

import math
from dataclasses import dataclass

from torch import Tensor

from ..errors import InputError


@dataclass(frozen=True)
class Control:
    """How much a control has to say, and when.

    strength: 1 is the published behaviour, 0 is exactly no control. Appearance: weight of each token of the
    reference beside an own one; pose: factor of the residuals; motion: factor of what the temporal layers add.
    start, end: the part of the run, as fractions of its steps; step i of n is inside if start <= i / n < end.
    """

    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self):
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise InputError(f"A control's strength is {self.strength}: give a number of at least 0.")
        if not 0 <= self.start <= self.end <= 1:
            raise InputError(f"A control runs from {self.start} to {self.end}: give 0 <= start <= end <= 1.")

    def at(self, step: int, steps: int) -> float:
        """The strength at a step, counted from 0."""
        return self.strength if self.start <= step / steps < self.end else 0.0


FULL = Control()


@dataclass(frozen=True)
class Progress:
    """Where a run is after a batch of frames.

    step: from 0, of `steps`; in the diagonal order several are under way. frame: frames finished in this step, of
    `frames`. fraction: the part of the run that is done, in (0, 1].
    denoised: clean scaled latents `[n, 4, h, w]` of the batch just computed as the model predicts them at this
    step, float32, for previews; None where the scheduler has no alphas.
    """

    step: int
    steps: int
    frame: int
    frames: int
    fraction: float
    denoised: Tensor | None
