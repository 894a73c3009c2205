"""Training on what sampling has made of noise so far, in place of the noised truth.

The noised truth tells a network things that sampling does not know: above all, frames noised with one noise differ by
exactly what the clean frames differ by. So the networks meet their own errors here, as they will in use (the idea of
scheduled sampling, Bengio et al., arXiv 1506.03099).
"""

from collections.abc import Callable

import torch
from diffusers import DDIMScheduler
from torch import Tensor

CLEAN = -1
"""In place of a timestep: behind the last one."""


class Rollout:
    """Guided sampling by DDIM, without noise on the way, broken off at a step.

    scheduler: see `schedule.published_scheduler`. steps: of the whole sampling, 2 or more. guidance_scale: 1 for none.
    """

    def __init__(self, scheduler: DDIMScheduler, steps: int, guidance_scale: float):
        self._scheduler, self.guidance_scale = DDIMScheduler.from_config(scheduler.config), guidance_scale
        self._scheduler.set_timesteps(steps)

    def timestep(self, position: float) -> int:
        """One of the timesteps of sampling; position in [0, 1), with the noise. The last one is left out: there hardly
        any noise is left, and nothing to be learned."""
        timesteps = self._scheduler.timesteps
        return int(timesteps[-2 - int(position * (len(timesteps) - 1))])

    @torch.no_grad()
    def latents(self, predict: Callable[[Tensor, Tensor, Tensor], Tensor], noise: Tensor, timesteps: Tensor) -> Tensor:
        """What sampling from `noise` `[R * n, 4, h, w]` has arrived at when each of R people meets their timestep.

        predict: people (indices `[P]`), their latents `[P * n, 4, h, w]`, timesteps `[P]` -> predictions.
        timesteps: `[R]`, of `timestep`; CLEAN for all of sampling.
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
        """The noise that makes `noisy` of `clean`, both `[B, 4, h, w]`; timesteps: `[B]`."""
        signal = self._share(timesteps).sqrt()
        return (noisy - signal * clean) / self.deviation(timesteps)

    def deviation(self, timesteps: Tensor) -> Tensor:
        """Of the noise in noisy latents, `[B, 1, 1, 1]`; timesteps: `[B]`."""
        return (1 - self._share(timesteps)).sqrt()

    def _share(self, timesteps: Tensor) -> Tensor:
        """Of the clean latents in the variance."""
        return self._scheduler.alphas_cumprod.to(timesteps.device)[timesteps][:, None, None, None]
