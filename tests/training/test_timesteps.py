"""Stages that train on a part of the schedule."""

import pytest
import torch

from magicdance_core.data.puppet_frames import PuppetFrames
from magicdance_core.errors import InputError
from magicdance_core.training.objectives import DiffusionObjective, LatentSpace


def timesteps(one_stage, cache, **stage):
    config = one_stage(data={"identities": 40, "crops": 0}, references=4, **stage)
    frames = PuppetFrames(config.data, cache)
    made = DiffusionObjective(
        frames, None, config.data, config.stages[0], 3, torch.zeros(1, 1, 8), "epsilon", LatentSpace(2, 4, 1.0)
    )
    return torch.stack([made.sample(index)["timestep"] for index in range(40)]).unflatten(0, (10, 4))


def test_timesteps_are_those_of_the_stage(one_stage, tmp_path):
    whole, part = timesteps(one_stage, tmp_path), timesteps(one_stage, tmp_path, min_timestep=350, max_timestep=650)
    for drawn, low, high in ((whole, 0, 1000), (part, 350, 650)):
        quarters = torch.arange(5) * (high - low) / 4 + low
        assert ((drawn >= quarters[:-1].floor()) & (drawn < quarters[1:].ceil())).all()  # one from each equal part
    assert (part - 350 - 0.3 * whole).abs().max() <= 1  # the same draws


def test_parts_of_the_schedule_that_cannot_be_trained_on_are_refused(one_stage):
    with pytest.raises(InputError, match="min_timestep is 500: give less than max_timestep"):
        one_stage(min_timestep=500, max_timestep=500)
    with pytest.raises(InputError, match="have no effect with rollout_steps"):
        one_stage(max_timestep=500, rollout_steps=4, rollout_guidance=1.0)
