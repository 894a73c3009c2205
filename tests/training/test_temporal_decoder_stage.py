"""A stage in which the motion module's layers in the VAE's decoder learn."""

import dataclasses

import pytest
import torch
from calls import denoise

from magicdance_core.checkpoints import load_published
from magicdance_core.errors import InputError
from magicdance_core.models import MotionModule, Networks
from magicdance_core.sampling import encode_poses
from magicdance_core.schedule import published_scheduler
from magicdance_core.training.engine import train
from magicdance_core.training.losses import Conditioning, decoding_loss, guided_prediction
from magicdance_core.training.plan import plan
from magicdance_core.training.rollout import CLEAN, Rollout
from magicdance_core.training.starting import starting_point, trainable_networks


def test_clips_are_sampled_to_the_end(tiny):
    """The result equals that of `denoise`."""
    torch.manual_seed(0)
    networks = Networks(tiny.unet, tiny.appearance, tiny.pose, MotionModule.for_unet(tiny.unet))
    reference, noise, poses = torch.randn(1, 4, 4, 4), torch.randn(3, 4, 4, 4), torch.rand(1, 3, 3, 16, 16)
    conditioning = Conditioning(reference, poses, tiny.context, None, None)
    rollout = Rollout(published_scheduler(), 3, 1.5)
    made = rollout.latents(
        lambda *inputs: guided_prediction(networks, conditioning, rollout.guidance_scale, *inputs),
        noise,
        torch.tensor([CLEAN]),
    )
    with torch.no_grad():
        hints = encode_poses(networks.pose, poses[0])
        options = {"num_inference_steps": 3, "guidance_scale": 1.5}
        whole = denoise(
            networks,
            published_scheduler(),
            noise=noise,
            context=tiny.context,
            hints=hints,
            reference=reference,
            **options,
        )
    assert torch.allclose(made, whole, atol=1e-5)


def test_loss_equals_that_computed_by_hand():
    """Three frames; half of each stands still, the other half moves."""
    truth, error = torch.zeros(1, 3, 3, 4, 4), torch.zeros(1, 3, 3, 4, 4)
    truth[:, 1, :, :2] = 0.5
    error[:, 1, :, :2], error[:, 1, :, 2:] = 0.2, 0.04
    weights = torch.ones(1, 3, 1, 4, 4)
    frames = (0.2 + 0.04) / 2 / 3
    assert decoding_loss(truth + error, truth, weights, 0.0, 0.0).tolist() == pytest.approx([frames])
    assert decoding_loss(truth + error, truth, 2 * weights, 0.0, 0.0).tolist() == pytest.approx([2 * frames])
    assert decoding_loss(truth + error, truth, weights, 0.3, 0.0).tolist() == pytest.approx([frames + 0.3 * 0.2])
    assert decoding_loss(truth + error, truth, weights, 0.0, 3.0).tolist() == pytest.approx([frames + 3 * 0.04])


@pytest.fixture
def stage(one_stage):
    def make(**changes):
        of_stage = {"train": ["temporal_decoder"], "steps": 3, "rollout_steps": 2, "rollout_guidance": 1.5, **changes}
        return one_stage("motion", **of_stage)

    return make


@pytest.mark.parametrize("crops", [0, 1])
def test_only_the_decoder_layers_learn_and_are_saved_with_the_module(stage, tmp_path, crops):
    config = stage(validate_every=1, change_weight=0.3, still_weight=1.0)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, crops=crops))
    before, model = starting_point(config), train(config, tmp_path, "cpu")
    for name, network in trainable_networks(model).items():
        old = trainable_networks(before)[name].state_dict()
        changed = [key for key, weight in network.state_dict().items() if not torch.equal(weight, old[key])]
        assert all(key.startswith("temporal_decoder.") for key in changed) or name == "temporal_decoder"
        assert bool(changed) == (name in ("motion", "temporal_decoder"))
    saved = load_published(tmp_path / "final" / "model.safetensors").motion
    assert all(torch.equal(saved.state_dict()[k], weight) for k, weight in model.motion.state_dict().items())
    again = train(config, tmp_path, "cpu").motion.state_dict()  # from the stage's result
    assert all(torch.equal(again[k], weight) for k, weight in model.motion.state_dict().items())


def test_a_temporal_decoder_needs_rollouts_and_a_separate_stage(stage):
    with pytest.raises(InputError, match="give rollout_steps, and motion in controls"):
        stage(rollout_steps=0)
    with pytest.raises(InputError, match="give it a separate stage"):
        stage(train=["temporal_decoder", "motion"])


def test_plan_counts_the_decoder_and_its_rollouts(stage, one_stage):
    (decoder,), (motion,) = plan(stage()), plan(one_stage("motion", rollout_steps=2, steps=3))
    layers = starting_point(stage()).motion.temporal_decoder
    assert decoder.learning == sum(weight.numel() for weight in layers.parameters()) != motion.learning
    (longer,) = plan(stage(rollout_steps=4))
    assert 0 < longer.operations - decoder.operations < decoder.operations and longer.memory == decoder.memory
    assert decoder.memory["frozen networks"] > motion.memory["frozen networks"]
