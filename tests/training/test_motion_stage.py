"""Stage 3: clips, their noise, and the loss of motion modules."""

import dataclasses

import pytest
import torch

from magicdance_core.data.puppet_frames import PuppetFrames
from magicdance_core.errors import InputError
from magicdance_core.models import MotionModule, Networks
from magicdance_core.schedule import published_scheduler
from magicdance_core.training.losses import _change_losses, diffusion_loss
from magicdance_core.training.objectives import DiffusionObjective, LatentSpace
from magicdance_core.training.starting import starting_point


def test_a_new_module_fits_the_unet_and_has_no_effect(smoke):
    model = starting_point(smoke)
    assert model.motion.config.block_out_channels == model.unet.config.block_out_channels
    assert model.motion.config.noise == "mixed" and model.motion.config.beta_schedule == "scaled_linear"
    assert all(not m.proj_out.weight.any() for m in model.motion.modules() if hasattr(m, "proj_out"))
    alone = dataclasses.replace(smoke.stages[-1], noises=["shared"])
    last = dataclasses.replace(smoke, stages=[*smoke.stages, dataclasses.replace(alone, name="last")])
    for run in (dataclasses.replace(smoke, stages=[alone]), last):
        assert starting_point(run).motion.config.noise == "shared"
    assert starting_point(dataclasses.replace(smoke, stages=smoke.stages[:-1])).motion is None


def test_noise_of_clips_is_of_the_configured_kinds(smoke, tmp_path):
    def noise(*kinds):
        stage = dataclasses.replace(smoke.stages[-1], noises=list(kinds))
        frames = PuppetFrames(smoke.data, tmp_path)
        objective = DiffusionObjective(
            frames, None, smoke.data, stage, 0, torch.zeros(1, 1, 8), "v_prediction", LatentSpace(2, 4, 1.0)
        )
        return [objective.sample(n)["noise"] for n in range(6)]

    assert all(torch.equal(clip[0], clip[2]) for clip in noise("shared"))
    for kinds, expected in ((("mixed",), 0.5), (("independent",), 0.0), ((), 0.0)):
        for clip in noise(*kinds):
            assert torch.corrcoef(clip.flatten(1))[0, 1] == pytest.approx(expected, abs=0.1)
    drawn = {round(float(torch.corrcoef(clip.flatten(1))[0, 1]), 1) for clip in noise("shared", "independent")}
    assert len(drawn) > 1


def test_the_frames_of_a_person_are_trained_as_a_clip(tiny):
    """The frames of a person are one clip, and the error of the change between them has the configured weight."""
    torch.manual_seed(0)
    motion = MotionModule.for_unet(tiny.unet)
    networks = Networks(tiny.unet, tiny.appearance, tiny.pose, motion)
    shapes = {"reference": (2, 4, 4, 4), "target": (6, 4, 4, 4), "pose": (6, 3, 16, 16), "noise": (6, 4, 4, 4)}
    batch = {name: torch.rand(shape) for name, shape in shapes.items()}
    batch |= {"context": tiny.context, "timesteps": torch.tensor([300, 700])}

    def loss(**changes):
        return diffusion_loss(networks, published_scheduler(), **batch | changes)

    with torch.no_grad():
        whole = loss()
        target = batch["target"].clone()
        target[2] += 1
        changed = (loss(target=target) - whole).abs()
        assert (changed[:3] > 1e-6).all() and torch.equal(changed[3:], torch.zeros(3))
        some = loss(keep_reference=torch.tensor([True, False]))
        assert torch.allclose(some[:3], whole[:3], atol=1e-5) and not torch.allclose(some[3:], whole[3:], atol=1e-4)
        added = loss(change_weight=2.0) - whole
        assert torch.allclose(added[:3], added[:1]) and (added > 0).all()
        still = loss(change_weight=2.0, **{n: batch[n][:1].expand_as(batch[n]) for n in ("target", "pose", "noise")})
        alone = Networks(tiny.unet, tiny.appearance, tiny.pose)
        same = {n: batch[n][:1].expand_as(batch[n]) for n in ("target", "pose", "noise")}
        lost = [diffusion_loss(alone, published_scheduler(), **batch | same, change_weight=w) for w in (0.0, 9.0)]
        assert torch.allclose(*lost, atol=1e-5) and still.shape == (6,)
    loss().mean().backward()
    assert all(parameter.grad is not None for parameter in motion.parameters())


def test_still_weight_counts_flicker_where_the_truth_stands_still():
    """Computed by hand: an error of the change of 0.3 where nothing moves, and of 5 where something moves."""
    target, errors = torch.zeros(3, 4, 2, 2), torch.zeros(3, 4, 2, 2)
    target[1, :, 0] = 1e3
    errors[1, :, 0], errors[:, :, 1] = 5.0, 0.3 * torch.arange(3.0)[:, None, None]
    loss = _change_losses(errors, target, 1, 0.0, 2.0)
    assert loss.tolist() == pytest.approx([2 * 0.3], abs=1e-3)
    both = _change_losses(errors, target, 1, 3.0, 2.0)
    assert (both - loss).tolist() == pytest.approx([3 * (0.3**2 + 5**2) / 2 / 2])
    silent = torch.zeros(3, 4, 2, 2, requires_grad=True)
    _change_losses(silent, target, 1, 0.0, 1.0).sum().backward()
    assert silent.grad.isfinite().all()


def test_motion_settings_without_clips_are_refused(one_stage):
    with pytest.raises(InputError, match="samples are not clips"):
        one_stage("motion", stride=0)
    with pytest.raises(InputError, match="still_weight is set, and samples are not clips"):
        one_stage("pose", still_weight=1.0)
