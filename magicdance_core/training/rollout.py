"""Training inputs that the networks sampled themselves, instead of the noised truth.

The noised truth reveals what is unknown in sampling: above all, frames noised with shared noise differ by exactly the
difference of the clean frames. In a rollout the networks meet their own errors, as in use (the idea of scheduled
sampling, Bengio et al., arXiv 1506.03099).
"""

from collections.abc import Callable

import torch
from diffusers import DDIMScheduler
from torch import Tensor

CLEAN = -1
"""In place of a timestep: after the last one, where latents are clean."""


class Rollout:
    """Deterministic DDIM sampling with guidance, stopped at some step.

    scheduler: see `schedule.published_scheduler`. steps: number of steps without stopping, 2 or more. guidance_scale: 1
    for none.
    """

    def __init__(self, scheduler: DDIMScheduler, steps: int, guidance_scale: float):
        self._scheduler, self.guidance_scale = DDIMScheduler.from_config(scheduler.config), guidance_scale
        self._scheduler.set_timesteps(steps)

    def timestep(self, position: float) -> int:
        """Return a timestep of sampling for a position in [0, 1), from little noise to much.

        The last timestep is left out: hardly any noise remains there, and nothing to learn.
        """
        timesteps = self._scheduler.timesteps
        return int(timesteps[-2 - int(position * (len(timesteps) - 1))])

    @torch.no_grad()
    def latents(self, predict: Callable[[Tensor, Tensor, Tensor], Tensor], noise: Tensor, timesteps: Tensor) -> Tensor:
        """Sample from `noise` `[R * n, 4, h, w]`, each of R people until their timestep; return the latents.

        predict: (indices of people `[P]`, their latents `[P * n, 4, h, w]`, timesteps `[P]`) -> predictions.
        timesteps: `[R]`, from `timestep`; CLEAN samples to the end.
        """
        clips = noise.unflatten(0, (len(timesteps), -1)).clone()
        for timestep in self._scheduler.timesteps.tolist():
            people = (timesteps < timestep).nonzero()[:, 0]
            if not len(people):
                break
            rows = clips[people].flatten(0, 1)
            prediction = predict(people, rows, torch.full_like(people, timestep)).float()
            rows = self._scheduler.step(prediction, timestep, rows).prev_sample
            clips[people] = rows.unflatten(0, (len(people), -1))
        return clips.flatten(0, 1)

    def noise_between(self, clean: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """Return the noise that turns `clean` into `noisy`, all `[B, 4, h, w]`; timesteps: `[B]`."""
        signal = self._alphas(timesteps).sqrt()
        return (noisy - signal * clean) / self.deviation(timesteps)

    def deviation(self, timesteps: Tensor) -> Tensor:
        """Return the standard deviation of the noise in noisy latents, `[B, 1, 1, 1]`; timesteps: `[B]`."""
        return (1 - self._alphas(timesteps)).sqrt()

    def _alphas(self, timesteps: Tensor) -> Tensor:
        return self._scheduler.alphas_cumprod.to(timesteps.device)[timesteps][:, None, None, None]
