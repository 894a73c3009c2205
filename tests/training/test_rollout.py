"""Training on latents that the networks sampled."""

import pytest
import torch
from calls import denoise

from magicdance_core.errors import InputError
from magicdance_core.models import MotionModule, Networks
from magicdance_core.sampling import encode_poses
from magicdance_core.schedule import published_scheduler
from magicdance_core.training.engine import train
from magicdance_core.training.losses import diffusion_loss
from magicdance_core.training.rollout import Rollout

STEPS, SCALE = 4, 1.5
FRAMES = 3


@pytest.fixture
def clips(tiny):
    """Networks with a random motion module, and clips of two people."""
    torch.manual_seed(0)
    motion = MotionModule.for_unet(tiny.unet)
    shapes = {"reference": (2, 4, 4, 4), "target": (6, 4, 4, 4), "noise": (6, 4, 4, 4)}
    batch = {name: torch.randn(shape) for name, shape in shapes.items()}
    batch |= {"pose": torch.rand(6, 3, 16, 16), "context": tiny.context}
    return Networks(tiny.unet, tiny.appearance, tiny.pose, motion), batch


@pytest.mark.parametrize("kind", ("epsilon", "v_prediction"))
def test_rollouts_equal_sampling_and_the_loss_is_their_error(clips, kind):
    """If the target is the clean prediction of `denoise` at a step, the loss of a rollout to this step is zero."""
    networks, batch = clips
    scheduler = published_scheduler(kind)
    rollout = Rollout(scheduler, STEPS, SCALE)
    last = rollout.timestep(0.0)
    seen = []

    def clean_latents(progress):
        if progress.step == STEPS - 2:
            seen.append(progress.denoised)

    for person in range(2):
        rows = slice(person * FRAMES, (person + 1) * FRAMES)
        denoise(
            networks,
            published_scheduler(kind),
            noise=batch["noise"][rows],
            context=batch["context"],
            hints=encode_poses(networks.pose, batch["pose"][rows]),
            reference=batch["reference"][person : person + 1],
            num_inference_steps=STEPS,
            guidance_scale=SCALE,
            callback=clean_latents,
        )
        batch["target"][rows] = seen.pop()
    with torch.no_grad():
        here = diffusion_loss(networks, scheduler, **batch, timesteps=torch.tensor([last, last]), rollout=rollout)
        assert here.max() < 1e-9
        # The input of the first person's first step is noise alone; the second person's loss stays the same.
        first = rollout.timestep(0.999)
        mixed = diffusion_loss(networks, scheduler, **batch, timesteps=torch.tensor([first, last]), rollout=rollout)
        assert (mixed[:FRAMES] > 1e-4).all() and mixed[FRAMES:].max() < 1e-9
        off = dict(batch, target=batch["target"] + 0.1)
        scaled = diffusion_loss(networks, scheduler, **off, timesteps=torch.tensor([last, last]), rollout=rollout)
    signal = scheduler.alphas_cumprod[last] if kind == "epsilon" else 1.0
    assert scaled.tolist() == pytest.approx([0.01 * float(signal)] * 6, rel=1e-3)


def test_only_the_last_step_has_gradients(clips, monkeypatch):
    networks, batch = clips
    rollout, arrived = Rollout(published_scheduler(), STEPS, SCALE), []
    sample = rollout.latents
    monkeypatch.setattr(rollout, "latents", lambda *inputs: arrived.append(sample(*inputs)) or arrived[0])
    timesteps = torch.tensor([rollout.timestep(0.0), rollout.timestep(0.5)])
    diffusion_loss(networks, published_scheduler(), **batch, timesteps=timesteps, rollout=rollout).mean().backward()
    assert all(parameter.grad is not None for parameter in networks.motion.parameters())
    assert len(arrived) == 1 and not arrived[0].requires_grad


def test_rollout_timesteps_are_those_of_sampling():
    scheduler = published_scheduler()
    rollout = Rollout(scheduler, STEPS, 1.0)
    scheduler.set_timesteps(STEPS)
    drawn = [rollout.timestep(position) for position in (0.0, 0.34, 0.67, 0.999)]
    assert sorted(set(drawn)) == sorted(scheduler.timesteps[:-1].tolist()) and drawn == sorted(drawn)
    clean, noise, t = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3), torch.tensor([10, 900])
    assert torch.allclose(rollout.noise_between(clean, scheduler.add_noise(clean, noise, t), t), noise, atol=1e-4)


def test_settings_without_effect_on_rollouts_are_refused(one_stage):
    with pytest.raises(InputError, match="drop_pose has no effect with rollout_steps"):
        one_stage("motion", rollout_steps=4, drop_pose=0.1)
    with pytest.raises(InputError, match="whose only input is noise"):
        one_stage("motion", rollout_steps=1)
    with pytest.raises(InputError, match="rollout_steps has no effect if the vae learns"):
        one_stage("vae", rollout_steps=4)


def test_a_stage_learns_from_rollouts(one_stage, tmp_path):
    """Two steps of the training loop."""
    config = one_stage("motion", steps=2, rollout_steps=3, rollout_guidance=1.5, validate_every=1)
    model = train(config, tmp_path, "cpu")
    assert any(layer.proj_out.weight.any() for layer in model.motion.modules() if hasattr(layer, "proj_out"))
