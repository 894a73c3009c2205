"""The loss of held-out videos at fixed noise, told by how much noise there is."""

import torch
from torch import nn
from torch.utils.data import default_collate

from ..errors import InputError
from .objectives import Objective


@torch.no_grad()
def held_out_losses(module: nn.Module, objective: Objective, people: int, device: torch.device) -> dict[str, float]:
    """Means over `people` samples: "held_out" of all; of a diffusion objective also "held_out_1" (little noise) to
    "held_out_4" (much) by band.

    The same samples, noise and timesteps each time, so that values of different steps compare. One sample goes
    through the networks at a time. Empty where the data set has no validation part.
    """
    bands: list[list[float]] = [[] for _ in range(objective.bands)]
    try:
        for index in range(people * objective.bands):
            batch = default_collate([objective.held_out(index)])
            loss = module({name: value.to(device) for name, value in batch.items()})
            bands[index % objective.bands].append(loss.item())
    except InputError:
        if index:
            raise
        return {}
    means = [sum(band) / len(band) for band in bands]
    by_band = {f"held_out_{number + 1}": mean for number, mean in enumerate(means)} if len(means) > 1 else {}
    return {"held_out": sum(means) / len(means)} | by_band
