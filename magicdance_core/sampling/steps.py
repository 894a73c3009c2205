"""A diffusers scheduler for frames that may be at different steps, and the check that their latents stay finite."""

import copy
import inspect

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from ..errors import InputError
from .noise import FrameNoise


class FrameScheduler:
    """A diffusers scheduler that steps frames at different steps; a stateful one is copied for each active frame.

    number: of the steps that are taken, skipped: of those before them; timesteps: of the former, on the CPU; on_device:
    the same where the latents are. noise: what the scheduler adds at each step, DDIM with `eta`. device: where the
    latents are. strength: part of the steps that are taken, at least one.
    Raises InputError if the scheduler refuses the number of steps.
    """

    def __init__(
        self,
        scheduler: SchedulerMixin,
        number: int,
        noise: FrameNoise,
        eta: float,
        device: torch.device,
        strength: float = 1.0,
    ):
        try:
            scheduler.set_timesteps(number)  # on the CPU, where looking up a table does not synchronize
        except ValueError as error:
            raise InputError(f"{type(scheduler).__name__} does not take {number} steps: {error}") from error
        total = len(scheduler.timesteps)
        self.number = max(1, round(strength * total))
        self.skipped = total - self.number
        self.scheduler, self.timesteps = scheduler, scheduler.timesteps[self.skipped :]
        self.on_device = self.timesteps.to(device)  # one copy, so that no step waits for it
        self.first_sigma = scheduler.init_noise_sigma
        self._noise, self._eta, self._device = noise, eta, device
        self._parameters = inspect.signature(scheduler.step).parameters
        self._copies: dict[int, SchedulerMixin] | None = {} if is_stateful(scheduler) else None
        draws = "generator" in self._parameters and "variance_noise" not in self._parameters
        self._batched = self._copies is None and not draws

    def noised(self, clean: Tensor, noise: Tensor, step: int = 0) -> Tensor:
        """Return clean latents `[n, 4, h, w]` with as much noise as a step expects, none after the last. noise: on the
        CPU."""
        if step == self.number:
            return clean.float().to(self._device)
        timesteps = self.timesteps[step : step + 1].expand(len(clean))
        return self.scheduler.add_noise(clean.float().cpu(), noise, timesteps).to(self._device)

    def inputs(self, step: int, frames: tuple[int, ...], latents: Tensor) -> Tensor:
        """Return the latents scaled as the networks expect them."""
        if self._copies is None:
            return self.scheduler.scale_model_input(latents, self.timesteps[step])
        parts = zip(frames, latents.split(1))
        return torch.cat([self._copy(frame).scale_model_input(part, self.timesteps[step]) for frame, part in parts])

    def advance(self, step: int, frames: tuple[int, ...], predictions: Tensor, latents: Tensor) -> Tensor:
        """Return the latents after a step."""
        if self._batched:
            options = self._options(step, frames)
            return self.scheduler.step(predictions, self.timesteps[step], latents, **options).prev_sample
        rows = zip(frames, predictions.split(1), latents.split(1))
        after = [
            self._copy(frame).step(part, self.timesteps[step], latent, **self._options(step, (frame,))).prev_sample
            for frame, part, latent in rows
        ]
        if self._copies is not None and step + 1 == self.number:
            for frame in frames:
                del self._copies[frame]
        return torch.cat(after)

    def _copy(self, frame: int) -> SchedulerMixin:
        if self._copies is None:
            return self.scheduler
        if frame not in self._copies:
            self._copies[frame] = copy.deepcopy(self.scheduler)
        return self._copies[frame]

    def _options(self, step: int, frames: tuple[int, ...]) -> dict:
        options: dict = {"eta": self._eta} if "eta" in self._parameters else {}
        if "variance_noise" in self._parameters:
            if self._eta > 0 or not options:
                noises = [self._noise.at_step(step, frame) for frame in frames]
                options["variance_noise"] = torch.cat(noises).to(self._device)
        elif "generator" in self._parameters:
            options["generator"] = self._noise.generator(step, frames[0])
        return options


def is_stateful(scheduler: SchedulerMixin) -> bool:
    """Return whether a scheduler's step depends on earlier steps, so that it cannot resume from latents alone."""
    return hasattr(scheduler, "step_index") or hasattr(scheduler, "ets")  # the second in PNDM and IPNDM


class FiniteCheck:
    """Checks that latents stay finite, without making the device wait for each batch.

    steps: of the run. dtype: in which the networks compute.
    """

    def __init__(self, steps: int, dtype: torch.dtype, guidance_scale: float):
        self._steps, self._dtype, self._guidance_scale = steps, dtype, guidance_scale
        self._finite: dict[int, Tensor] = {}

    def add(self, latents: Tensor, step: int) -> None:
        """Note latents that a step (from 0) produced."""
        if not latents.is_meta:  # the benchmark counts a run without values
            finite = latents.isfinite().all()
            self._finite[step] = self._finite[step] & finite if step in self._finite else finite

    def check(self) -> None:
        """Raise InputError that names the first step with values that are not finite, and the likely reasons."""
        if not self._finite:
            return
        steps, finite = sorted(self._finite), torch.stack([self._finite[step] for step in sorted(self._finite)])
        self._finite = {}
        for step in (step for step, good in zip(steps, finite.tolist()) if not good):
            reasons = [f"the guidance of {self._guidance_scale:g} may be too large"]
            reasons.append("a network may have damaged weights")
            if self._dtype == torch.float16:
                reasons.insert(0, "numbers above 65504 overflow in float16, so compute in bfloat16 or float32")
            raise InputError(
                f"Step {step + 1} of {self._steps} gave values that are not finite: {', or '.join(reasons)}."
            )
