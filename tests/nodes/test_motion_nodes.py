"""The nodes for motion modules, and the sampler with a motion module."""

import importlib

import pytest
import torch

from magicdance_core.checkpoints import load_motion, save_motion
from magicdance_core.models import MotionModule

PLAIN = "none", 1.0, "none", 1.0  # no LoRA and no adapter


def lora_of(network, part: str) -> dict[str, torch.Tensor]:
    """Return a LoRA in diffusers' layout for the attention weights whose names contain `part`."""
    torch.manual_seed(3)
    state = {}
    for name, weight in network.state_dict().items():
        if part in name and name.endswith("to_q.weight"):
            layer = name.replace("to_q.weight", "processor.to_q_lora")
            state |= {f"{layer}.up.weight": torch.randn(len(weight), 2)}
            state |= {f"{layer}.down.weight": torch.randn(2, weight.shape[1])}
    return state


@pytest.fixture
def model(comfy, core, node, make_tiny):
    """Return the tiny model, loaded from a checkpoint."""
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
def context_options(node):
    """Return a function from changed widgets to the value of Context Options."""
    widgets = {
        name: options["default"] for name, (_, options) in node("ContextOptions").INPUT_TYPES()["required"].items()
    }
    return lambda **changes: node("ContextOptions").make(**widgets | changes)[0]


@pytest.fixture
def sample(node, pose_maps):
    def run(model, **more):
        reference, poses = torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(0)), pose_maps(5, 16, 16)
        values = {
            "seed": 0, "steps": 2, "cfg": 2.0, "sampler_name": "default",
            "control_mode": "controlnet_important",
            "frames_per_batch": 8, "decode_chunk_size": 4, "preset": "exact",
        }  # fmt: skip
        return node("Sample").sample(model, poses, reference=reference, **values | more)[0]

    return run


def test_temporal_decoder_layers_are_loaded_together_with_the_vae(model, module, node, sample, comfy, tiny):
    path = comfy.models / "animatediff_models" / module
    (plain,) = node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, *node("LoadMotion").load(module, *PLAIN))
    before = sample(plain)
    motion = load_motion(path)
    motion.add_temporal_decoder(tiny.vae)
    torch.nn.init.normal_(motion.temporal_decoder.layers[-1].conv2.weight, std=0.1)
    save_motion(path, motion)
    (moving,) = node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, *node("LoadMotion").load(module, *PLAIN))
    comfy.loads.clear()
    assert not torch.allclose(sample(moving), before, atol=1e-3)
    assert [models for models, _ in comfy.loads][-1] == [moving.vae, moving.motion]


def test_a_motion_module_is_loaded_once_and_changes_the_frames(model, module, node, sample, comfy, context_options):
    load, apply = node("LoadMotion"), node("ApplyMotion")
    assert load.VALIDATE_INPUTS(module) is True
    (motion,) = load.load(module, *PLAIN)
    assert load.load(module, *PLAIN)[0].module is motion.module  # cached
    (moving,) = apply.apply(model, 1.0, 0.0, 1.0, motion)
    assert model.motion is None and moving.motion is motion.module
    frames = sample(moving)
    assert frames.shape == (5, 16, 16, 3) and not torch.allclose(frames, sample(model), atol=1e-3)
    assert any(motion.module in models for models, _ in comfy.loads)
    silent = apply.apply(moving, 0.0, 0.0, 1.0)[0]
    assert silent.motion is motion.module
    shared = context_options(noise_type="shared")
    assert torch.allclose(sample(silent, context_options=shared), sample(model), atol=1e-5)


def test_context_options_change_the_frames(model, module, node, sample, comfy, context_options):
    (moving,) = node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, node("LoadMotion").load(module, *PLAIN)[0])
    given = {
        "whole": context_options(),
        "windows": context_options(context_length=3, context_overlap=1, fuse_method="flat"),
        "loop": context_options(
            context_length=3, context_overlap=1, context_stride=2, fuse_method="ramps", closed_loop=True
        ),
        "linear": context_options(beta_schedule="linear"),
        "uncond": context_options(motion_in_uncond=True),
        "quick": context_options(context_length=3, context_overlap=1, quick_preview=True),
        "noise": context_options(noise_type="shared"),
    }
    made = {name: sample(moving, context_options=options) for name, options in given.items()}
    assert torch.equal(made["whole"], sample(moving))
    starts = context_options(
        context_length=3, context_overlap=1, fuse_method="flat", closed_loop=True, random_starts=True
    )
    assert starts.seeded(7).windows.random == 7 and given["loop"].seeded(7) is given["loop"]
    assert sample(moving, context_options=starts).shape == made["loop"].shape
    assert not any("motion module" in text for text, _ in comfy.texts)
    sample(model, context_options=given["loop"])
    assert "Put Apply Motion Module before this node" in comfy.texts[-1][0]
    for name in list(given)[1:]:
        assert not torch.allclose(made[name], made["whole"], atol=1e-4), name


def test_memory_is_estimated_for_the_frames_of_a_batch_or_window(
    pack, model, module, node, sample, monkeypatch, context_options
):
    asked = []
    memory = importlib.import_module(f"{pack.__name__}.nodes.comfy.memory")
    monkeypatch.setattr(memory, "fits_batched_guidance", lambda model, frames, pixels: bool(asked.append(frames)))
    (moving,) = node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, node("LoadMotion").load(module, *PLAIN)[0])
    windows = context_options(context_length=3, context_overlap=1, fuse_method="flat")
    sample(model, frames_per_batch=2)
    sample(model)
    sample(moving, frames_per_batch=2, context_options=windows)
    sample(moving, frames_per_batch=2)
    assert asked == [2, 5, 3, 5]  # batches of frames; with a motion module windows of them; never more than there are


def test_the_embedded_motion_module_can_be_chosen(model, node, core):
    load = node("LoadMotion")
    assert "embedded" in load.INPUT_TYPES()["required"]["motion_module_name"][0]
    assert load.VALIDATE_INPUTS("embedded") is True
    (motion,) = load.load("embedded", *PLAIN)
    with pytest.raises(core("errors").InputError, match=r"has the widths \[64, 128, 128\]"):
        node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, motion)


def test_unusable_motion_modules_and_windows_are_refused(model, module, node, sample, comfy, core, context_options):
    InputError = core("errors").InputError
    with pytest.raises(InputError, match="came without a motion module"):
        node("ApplyMotion").apply(model, 1.0, 0.0, 1.0)
    assert "gone.ckpt is not in models/animatediff_models" in node("LoadMotion").VALIDATE_INPUTS("gone.ckpt")
    with pytest.raises(InputError, match="`motion_lora_name` is 'zoom.safetensors', which is not in its list"):
        node("LoadMotion").load(module, "zoom.safetensors", 1.0, "none", 1.0)
    save_motion(
        comfy.models / "animatediff_models" / "other.safetensors",
        MotionModule(block_out_channels=(32, 32), motion_layers_per_block=1),
    )
    with pytest.raises(InputError, match="widths"):
        node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, node("LoadMotion").load("other.safetensors", *PLAIN)[0])
    with pytest.raises(InputError, match="overlap from 0 to 3"):
        context_options(context_length=4, context_overlap=4)


def test_a_motion_lora_changes_the_module_and_an_adapter_the_unet(model, module, node, sample, comfy, core):
    load, apply = node("LoadMotion"), node("ApplyMotion")
    (plain,) = load.load(module, *PLAIN)
    zoom = lora_of(plain.module.model.inner, "motion_modules")
    adapter = lora_of(model.unet.model.inner, "attn1")
    for folder, name, state in (("animatediff_motion_lora", "zoom.ckpt", zoom), ("loras", "adapter.pth", adapter)):
        (comfy.models / folder).mkdir(exist_ok=True)
        torch.save(state, comfy.models / folder / name)
    (zooming,) = load.load(module, "zoom.ckpt", 0.5, "none", 1.0)
    name = next(iter(zoom)).removesuffix(".processor.to_q_lora.up.weight")
    weights = (motion.module.model.inner.state_dict()[f"{name}.to_q.weight"] for motion in (zooming, plain))
    changed, before = weights
    up, down = (zoom[f"{name}.processor.to_q_lora.{side}.weight"] for side in ("up", "down"))
    assert torch.allclose(changed, before + 0.5 * up @ down, atol=1e-6)

    (adapted,) = apply.apply(model, 1.0, 0.0, 1.0, load.load(module, *PLAIN[:2], "adapter.pth", 0.7)[0])
    assert not model.unet.patches and adapted.unet.model is model.unet.model
    name = next(iter(adapter)).removesuffix(".processor.to_q_lora.up.weight")
    strength, (up, down) = adapted.unet.patches[f"inner.{name}.to_q.weight"]
    assert strength == 0.7 and torch.equal(up, adapter[f"{name}.processor.to_q_lora.up.weight"])
    assert len(adapted.unet.patches) == len(adapter) // 2
    sample(adapted)
    assert any(adapted.unet in models for models, _ in comfy.loads)


def test_unusable_loras_are_refused(model, module, node, comfy, core):
    InputError = core("errors").InputError
    load = node("LoadMotion")
    (comfy.models / "animatediff_motion_lora").mkdir()
    motion = load.load(module, *PLAIN)[0].module.model.inner
    torch.save(lora_of(motion, "motion_modules"), comfy.models / "animatediff_motion_lora" / "zoom.ckpt")
    torch.save(lora_of(model.unet.model.inner, "attn1"), comfy.models / "animatediff_motion_lora" / "adapter.pth")
    torch.save({"lora_unet_x.lora_up.weight": torch.ones(2, 2)}, comfy.models / "animatediff_motion_lora" / "sd.ckpt")
    with pytest.raises(InputError, match="is a motion LoRA: choose it in `motion_lora_name`"):
        load.load(module, "none", 1.0, "zoom.ckpt", 1.0)
    with pytest.raises(InputError, match="spatial LoRA, .* give it as adapter"):
        load.load(module, "adapter.pth", 1.0, "none", 1.0)
    with pytest.raises(InputError, match="not a LoRA for a motion module"):
        load.load(module, "none", 1.0, "sd.ckpt", 1.0)
    state = lora_of(model.unet.model.inner, "attn1")
    name = next(name for name in state if name.endswith("down.weight"))
    torch.save(state | {name: torch.zeros(2, 7)}, comfy.models / "animatediff_motion_lora" / "adapter.pth")
    with pytest.raises(InputError, match="another shape"):
        node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, load.load(module, "none", 1.0, "adapter.pth", 1.0)[0])
