"""What a run is told, and what it tells."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ..checks import number
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
        for name, high in (("strength", None), ("start", 1), ("end", 1)):
            object.__setattr__(self, name, number(float, getattr(self, name), f"A control's {name}", 0, high))
        if not 0 <= self.start <= self.end <= 1:
            raise InputError(f"A control runs from {self.start} to {self.end}: give 0 <= start <= end <= 1.")

    def at(self, step: int, steps: int) -> float:
        """The strength at a step, counted from 0."""
        return self.strength if self.start <= step / steps < self.end else 0.0


FULL = Control()


@dataclass(frozen=True)
class Shortcuts:
    """What a run leaves out for speed, each at a little of the quality; by default nothing.

    guidance: the part of the run, as fractions of its steps, that is guided; step i of n is if start <= i / n < end.
    The others compute one half (Kynkäänniemi et al., arXiv 2404.07724).
    reference_every, pose_every: steps from one reading of the reference, and from one run of the Pose ControlNet, to
    the next; between them what came out last stands. For the ControlNet that is kept for each frame under way: 13 MB
    in float16 at 512 x 512.
    """

    guidance: tuple[float, float] = (0.0, 1.0)
    reference_every: int = 1
    pose_every: int = 1

    def __post_init__(self):
        part = Control(1.0, *self.guidance)  # checks them
        object.__setattr__(self, "guidance", (part.start, part.end))
        for name in ("reference_every", "pose_every"):
            object.__setattr__(self, name, number(int, getattr(self, name), name, 1))

    def guided(self, step: int, steps: int) -> bool:
        """Whether guidance has a say at a step, counted from 0."""
        start, end = self.guidance
        return start <= step / steps < end

    def read_at(self, step: int) -> int:
        """The step at which the reference is read that a step looks at."""
        return step - step % self.reference_every


NO_SHORTCUTS = Shortcuts()


def check_settings(context: Tensor, guidance_scale: float, uncond_context: Tensor | None, eta: float) -> None:
    """Raise InputError where a run with these could only end in values that are not finite; see `denoise`."""
    number(float, guidance_scale, "guidance_scale")
    number(float, eta, "eta", 0, 1)
    for text in (context, uncond_context):
        if text is not None and not _finite(text):
            raise InputError("The prompt's embeddings contain NaN or infinite values: encode the prompt again.")


class FiniteCheck:
    """Whether latents stay finite: seen batch by batch on their device, asked when a step ends, so that no batch waits.

    steps: of the run. dtype: in which the networks compute.
    """

    def __init__(self, steps: int, dtype: torch.dtype, guidance_scale: float):
        self._steps, self._dtype, self._guidance_scale = steps, dtype, guidance_scale
        self._seen: dict[int, Tensor] = {}

    def see(self, latents: Tensor, step: int) -> None:
        """step: the one that made them, counted from 0."""
        if not latents.is_meta:  # the benchmark counts a run without values
            finite = latents.isfinite().all()
            self._seen[step] = self._seen[step] & finite if step in self._seen else finite

    def ask(self) -> None:
        """Raise InputError that names the first step that gave other values, and says why that may be."""
        if not self._seen:
            return
        steps, finite = sorted(self._seen), torch.stack([self._seen[step] for step in sorted(self._seen)]).tolist()
        self._seen = {}
        for step in (step for step, good in zip(steps, finite) if not good):
            reasons = [f"the guidance of {self._guidance_scale:g} may be too large"]
            reasons.append("a network may have damaged weights")
            if self._dtype == torch.float16:
                reasons.insert(0, "numbers above 65504 overflow in float16, so compute in bfloat16 or float32")
            raise InputError(
                f"Step {step + 1} of {self._steps} gave values that are not finite: {', or '.join(reasons)}."
            )


def _finite(values: Tensor) -> bool:
    return values.is_meta or bool(values.isfinite().all())


@dataclass(frozen=True)
class Progress:
    """Where a run is after a batch of frames.

    step: from 0, of `steps`; in the diagonal order several are under way. frame: frames finished in this step, of
    `frames`. numbers: of the batch's frames, from 0. fraction: the part of the run that is done, in (0, 1].
    denoised: clean scaled latents `[n, 4, h, w]` of the batch just computed as the model predicts them at this
    step, float32, for previews, computed when asked for; None where the scheduler has no alphas.
    """

    step: int
    steps: int
    frame: int
    frames: int
    numbers: tuple[int, ...]
    fraction: float
    predict: Callable[[], Tensor | None] = field(repr=False, compare=False)

    @cached_property
    def denoised(self) -> Tensor | None:
        return self.predict()
