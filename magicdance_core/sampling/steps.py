"""The schedule, for frames that need not be at the same step."""

import copy
import inspect

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from ..errors import InputError
from .noise import FrameNoise


class Steps:
    """A diffusers scheduler for frames that are at different steps. One that remembers earlier steps is copied for each
    frame under way.

    number: of steps; timesteps: theirs, on the CPU, on_device: where latents are. noise: what schedulers add on the
    way, DDIM with `eta`. device: where latents are.
    """

    def __init__(self, scheduler: SchedulerMixin, number: int, noise: FrameNoise, eta: float, device: torch.device):
        try:
            scheduler.set_timesteps(number)  # on the CPU, where looking up a table waits for no device
        except ValueError as error:
            raise InputError(f"{type(scheduler).__name__} does not take {number} steps: {error}") from error
        self.scheduler, self.timesteps, self.number = scheduler, scheduler.timesteps, len(scheduler.timesteps)
        self.on_device = self.timesteps.to(device)  # for the networks; once, so that no step waits for a copy
        self.first_sigma = scheduler.init_noise_sigma
        self._noise, self._eta, self._device = noise, eta, device
        self._known = inspect.signature(scheduler.step).parameters
        self._of_frame: dict[int, SchedulerMixin] | None = {} if remembers(scheduler) else None
        draws = "generator" in self._known and "variance_noise" not in self._known
        self._together = self._of_frame is None and not draws

    def inputs(self, step: int, frames: tuple[int, ...], latents: Tensor) -> Tensor:
        """Latents as the networks are to see them."""
        if self._of_frame is None:
            return self.scheduler.scale_model_input(latents, self.timesteps[step])
        parts = zip(frames, latents.split(1))
        return torch.cat([self._own(frame).scale_model_input(part, self.timesteps[step]) for frame, part in parts])

    def advance(self, step: int, frames: tuple[int, ...], predictions: Tensor, latents: Tensor) -> Tensor:
        """Latents after a step."""
        if self._together:
            options = self._options(step, frames)
            return self.scheduler.step(predictions, self.timesteps[step], latents, **options).prev_sample
        rows = zip(frames, predictions.split(1), latents.split(1))
        after = [
            self._own(frame).step(part, self.timesteps[step], latent, **self._options(step, (frame,))).prev_sample
            for frame, part, latent in rows
        ]
        if self._of_frame is not None and step + 1 == self.number:
            for frame in frames:
                del self._of_frame[frame]
        return torch.cat(after)

    def _own(self, frame: int) -> SchedulerMixin:
        if self._of_frame is None:
            return self.scheduler
        if frame not in self._of_frame:
            self._of_frame[frame] = copy.deepcopy(self.scheduler)
        return self._of_frame[frame]

    def _options(self, step: int, frames: tuple[int, ...]) -> dict:
        options = {"eta": self._eta} if "eta" in self._known else {}
        if "variance_noise" in self._known:
            if self._eta > 0 or not options:
                noises = [self._noise.on_the_way(step, frame) for frame in frames]
                options["variance_noise"] = torch.cat(noises).to(self._device)
        elif "generator" in self._known:
            options["generator"] = self._noise.generator(step, frames[0])
        return options


def remembers(scheduler: SchedulerMixin) -> bool:
    """Whether a scheduler's step depends on the steps before, so that it cannot go on from latents alone."""
    return hasattr(scheduler, "step_index")
