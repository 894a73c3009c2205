"""What a run is told, and what it tells."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..schema import number


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
        for name, high in (("strength", None), ("start", 1), ("end", 1)):
            object.__setattr__(self, name, number(float, getattr(self, name), f"A control's {name}", 0, high))
        if not 0 <= self.start <= self.end <= 1:
            raise InputError(f"A control runs from {self.start} to {self.end}: give 0 <= start <= end <= 1.")

    def at(self, step: int, steps: int) -> float:
        """The strength at a step, counted from 0."""
        return self.strength if self.start <= step / steps < self.end else 0.0


FULL = Control()


def check_settings(context: Tensor, guidance_scale: float, uncond_context: Tensor | None, eta: float) -> None:
    """Raise InputError where a run with these could only end in values that are not finite; see `denoise`."""
    number(float, guidance_scale, "guidance_scale")
    number(float, eta, "eta", 0, 1)
    for text in (context, uncond_context):
        if text is not None and not _finite(text):
            raise InputError("The prompt's embeddings contain NaN or infinite values: encode the prompt again.")


def check_finite(latents: Tensor, step: int, steps: int, dtype: torch.dtype, guidance_scale: float) -> None:
    """Raise InputError that says why a run cannot go on where latents are not all finite.

    step: the one that made them, counted from 0. dtype: in which the networks compute.
    """
    if _finite(latents):
        return
    reasons = [f"the guidance of {guidance_scale:g} may be too large", "a network may have damaged weights"]
    if dtype == torch.float16:
        reasons.insert(0, "numbers above 65504 overflow in float16, so compute in bfloat16 or float32")
    raise InputError(f"Step {step + 1} of {steps} gave values that are not finite: {', or '.join(reasons)}.")


def _finite(values: Tensor) -> bool:
    return values.is_meta or bool(values.isfinite().all())  # the benchmark counts a run without values


@dataclass(frozen=True)
class Progress:
    """Where a run is after a batch of frames.

    step: from 0, of `steps`; in the diagonal order several are under way. frame: frames finished in this step, of
    `frames`. numbers: of the batch's frames, from 0. fraction: the part of the run that is done, in (0, 1].
    denoised: clean scaled latents `[n, 4, h, w]` of the batch just computed as the model predicts them at this
    step, float32, for previews; None where the scheduler has no alphas.
    """

    step: int
    steps: int
    frame: int
    frames: int
    numbers: tuple[int, ...]
    fraction: float
    denoised: Tensor | None
