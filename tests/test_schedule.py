"""Noise schedules: the published numbers, and what a prediction says about the clean latents."""

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

from magicdance_core.schedule import predict_x0, published_scheduler

CLEAN, NOISE = torch.randn(2, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0)).unbind()
TIMESTEPS = torch.tensor([0, 500, 999])


def test_training_and_sampling_share_one_schedule():
    """Stable Diffusion 1.5 as trained, with DDPM, and as sampled here, with DDIM."""
    trained = DDPMScheduler(1000, 0.00085, 0.012, "scaled_linear")
    ours = published_scheduler()
    assert torch.equal(ours.alphas_cumprod, trained.alphas_cumprod)
    assert torch.equal(ours.add_noise(CLEAN, NOISE, TIMESTEPS), trained.add_noise(CLEAN, NOISE, TIMESTEPS))
    assert torch.equal(ours.get_velocity(CLEAN, NOISE, TIMESTEPS), trained.get_velocity(CLEAN, NOISE, TIMESTEPS))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_a_true_prediction_gives_the_clean_latents(kind):
    scheduler = published_scheduler(kind)
    for timestep in TIMESTEPS:
        velocity = scheduler.get_velocity(CLEAN, NOISE, timestep)
        prediction = {"epsilon": NOISE, "v_prediction": velocity, "sample": CLEAN}[kind]
        noisy = scheduler.add_noise(CLEAN, NOISE, timestep)
        assert torch.allclose(predict_x0(scheduler, noisy, prediction, timestep), CLEAN, atol=1e-4)


def test_no_clean_latents_without_alphas():
    assert predict_x0(FlowMatchEulerDiscreteScheduler(), CLEAN, NOISE, TIMESTEPS[1]) is None
