"""Motion modules in the graph: loaded, applied, and what the sampler makes of them."""

import pytest
import torch

from magicdance_core.checkpoints import save_motion
from magicdance_core.models import MotionModule


@pytest.fixture
def model(comfy, core, node, make_tiny):
    """The tiny model, held as a checkpoint that was loaded."""
    components = make_tiny()
    core("checkpoints").save_folder(comfy.models / "magicdance" / "tiny", components)
    return node("LoadPublished").load("tiny")[0]


@pytest.fixture
def module(comfy, pack, tiny):
    folder = comfy.models / "animatediff_models"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(2)
    save_motion(folder / "module.safetensors", MotionModule.for_unet(tiny.unet))
    return "module.safetensors"


@pytest.fixture
def sample(node):
    def run(model, **more):
        generator = torch.Generator().manual_seed(0)
        reference, poses = (torch.rand(n, 16, 16, 3, generator=generator) for n in (1, 5))
        values = (model, reference, poses, 0, 2, 2.0, "the model's own", "controlnet_important", 8, 4)
        return node("Sample").sample(*values, **more)[0]

    return run


def test_a_module_is_loaded_applied_and_seen_by_the_sampler(model, module, node, sample, comfy):
    load, apply = node("LoadMotion"), node("ApplyMotion")
    assert load.VALIDATE_INPUTS(module, "none") is True
    (motion,) = load.load(module, "none", 1.0)
    assert load.load(module, "none", 1.0)[0] is motion  # not read twice
    (moving,) = apply.apply(model, 1.0, 0.0, 1.0, motion)
    assert model.motion is None and moving.motion is motion
    frames = sample(moving)
    assert frames.shape == (5, 16, 16, 3) and not torch.allclose(frames, sample(model), atol=1e-3)
    assert any(motion in models for models, _ in comfy.loads)
    silent = apply.apply(moving, 0.0, 0.0, 1.0)[0]
    assert silent.motion is motion
    shared = node("ContextOptions").make(16, 4, 1, "pyramid", False, "shared", "the model's own", False)[0]
    assert torch.allclose(sample(silent, context_options=shared), sample(model), atol=1e-5)


def test_context_options_reach_the_run(model, module, node, sample):
    (moving,) = node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, node("LoadMotion").load(module, "none", 1.0)[0])
    make = node("ContextOptions").make
    given = {
        "whole": make(16, 4, 1, "pyramid", False, "the model's own", "the model's own", False),
        "windows": make(3, 1, 1, "flat", False, "the model's own", "the model's own", False),
        "loop": make(3, 1, 2, "ramps", True, "the model's own", "the model's own", False),
        "linear": make(16, 4, 1, "pyramid", False, "the model's own", "linear", False),
        "uncond": make(16, 4, 1, "pyramid", False, "the model's own", "the model's own", True),
        "noise": make(16, 4, 1, "pyramid", False, "shared", "the model's own", False),
    }
    made = {name: sample(moving, context_options=options[0]) for name, options in given.items()}
    assert torch.equal(made["whole"], sample(moving))
    for name in list(given)[1:]:
        assert not torch.allclose(made[name], made["whole"], atol=1e-4), name


def test_what_does_not_go(model, module, node, sample, comfy, core):
    InputError = core("errors").InputError
    with pytest.raises(InputError, match="came without a motion module"):
        node("ApplyMotion").apply(model, 1.0, 0.0, 1.0)
    assert "gone.ckpt is not in models/animatediff_models" in node("LoadMotion").VALIDATE_INPUTS("gone.ckpt", "none")
    assert "animatediff_motion_lora" in node("LoadMotion").VALIDATE_INPUTS(module, "zoom.safetensors")
    save_motion(
        comfy.models / "animatediff_models" / "other.safetensors",
        MotionModule(block_out_channels=(32, 32), motion_layers_per_block=1),
    )
    with pytest.raises(InputError, match="widths"):
        node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, node("LoadMotion").load("other.safetensors", "none", 1.0)[0])
    with pytest.raises(InputError, match="overlap from 0 to 3"):
        node("ContextOptions").make(4, 4, 1, "flat", False, "shared", "the model's own", False)
