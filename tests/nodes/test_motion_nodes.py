"""Motion modules in the graph: loaded, applied, and what the sampler makes of them."""

import importlib

import pytest
import torch

from magicdance_core.checkpoints import load_motion, save_motion
from magicdance_core.models import MotionModule

PLAIN = "none", 1.0, "none", 1.0  # no LoRA and no adapter


def lora_of(network, part: str) -> dict[str, torch.Tensor]:
    """In diffusers' layout, of the attention weights whose names have a part."""
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
        values = {
            "seed": 0, "steps": 2, "cfg": 2.0, "sampler_name": "default",
            "control_mode": "controlnet_important",
            "frames_per_batch": 8, "decode_chunk_size": 4, "preset": "exact",
        }  # fmt: skip
        return node("Sample").sample(model, reference, poses, **values | more)[0]

    return run


def test_its_layers_in_the_decoder_are_at_hand_with_the_vae(model, module, node, sample, comfy, tiny):
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


def test_a_module_is_loaded_applied_and_seen_by_the_sampler(model, module, node, sample, comfy):
    load, apply = node("LoadMotion"), node("ApplyMotion")
    assert load.VALIDATE_INPUTS(module, "none", "none") is True
    (motion,) = load.load(module, *PLAIN)
    assert load.load(module, *PLAIN)[0].module is motion.module  # not read twice
    (moving,) = apply.apply(model, 1.0, 0.0, 1.0, motion)
    assert model.motion is None and moving.motion is motion.module
    frames = sample(moving)
    assert frames.shape == (5, 16, 16, 3) and not torch.allclose(frames, sample(model), atol=1e-3)
    assert any(motion.module in models for models, _ in comfy.loads)
    silent = apply.apply(moving, 0.0, 0.0, 1.0)[0]
    assert silent.motion is motion.module
    shared = node("ContextOptions").make(16, 4, 1, "pyramid", False, "shared", "default", False, False, False)[0]
    assert torch.allclose(sample(silent, context_options=shared), sample(model), atol=1e-5)


def test_context_options_reach_the_run(model, module, node, sample, comfy):
    (moving,) = node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, node("LoadMotion").load(module, *PLAIN)[0])
    make = node("ContextOptions").make
    given = {
        "whole": make(16, 4, 1, "pyramid", False, "default", "default", False, False, False),
        "windows": make(3, 1, 1, "flat", False, "default", "default", False, False, False),
        "loop": make(3, 1, 2, "ramps", True, "default", "default", False, False, False),
        "linear": make(16, 4, 1, "pyramid", False, "default", "linear", False, False, False),
        "uncond": make(16, 4, 1, "pyramid", False, "default", "default", True, False, False),
        "quick": make(3, 1, 1, "pyramid", False, "default", "default", False, True, False),
        "noise": make(16, 4, 1, "pyramid", False, "shared", "default", False, False, False),
    }
    made = {name: sample(moving, context_options=options[0]) for name, options in given.items()}
    assert torch.equal(made["whole"], sample(moving))
    starts = make(3, 1, 1, "flat", True, "default", "default", False, False, True)[0]
    assert starts.seeded(7).windows.random == 7 and given["loop"][0].seeded(7) is given["loop"][0]
    assert sample(moving, context_options=starts).shape == made["loop"].shape
    assert comfy.texts == []
    sample(model, context_options=given["loop"][0])
    assert "no motion module" in comfy.texts[0][0]
    for name in list(given)[1:]:
        assert not torch.allclose(made[name], made["whole"], atol=1e-4), name


def test_memory_is_asked_for_the_frames_that_go_through_at_once(pack, model, module, node, sample, monkeypatch):
    asked = []
    memory = importlib.import_module(f"{pack.__name__}.nodes.comfy.memory")
    monkeypatch.setattr(memory, "fits_both_halves", lambda model, frames, shape: bool(asked.append(frames)))
    (moving,) = node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, node("LoadMotion").load(module, *PLAIN)[0])
    own = "default"
    windows = node("ContextOptions").make(3, 1, 1, "flat", False, own, own, False, False, False)[0]
    sample(model, frames_per_batch=2)
    sample(model)
    sample(moving, frames_per_batch=2, context_options=windows)
    sample(moving, frames_per_batch=2)
    assert asked == [2, 5, 3, 5]  # batches of frames; with a motion module windows of them; never more than there are


def test_the_embedded_models_module_is_a_choice(model, node, core):
    load = node("LoadMotion")
    assert "embedded" in load.INPUT_TYPES()["required"]["motion_module"][0]
    assert load.VALIDATE_INPUTS("embedded", "none", "none") is True
    assert "animatediff_motion_lora" in load.VALIDATE_INPUTS("embedded", "embedded", "none")
    (motion,) = load.load("embedded", *PLAIN)
    with pytest.raises(core("errors").InputError, match=r"has the widths \[64, 128, 128\]"):
        node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, motion)


def test_what_does_not_go(model, module, node, sample, comfy, core):
    InputError = core("errors").InputError
    with pytest.raises(InputError, match="came without a motion module"):
        node("ApplyMotion").apply(model, 1.0, 0.0, 1.0)
    assert "gone.ckpt is not in models/animatediff_models" in node("LoadMotion").VALIDATE_INPUTS(
        "gone.ckpt", "none", "none"
    )
    assert "animatediff_motion_lora" in node("LoadMotion").VALIDATE_INPUTS(module, "zoom.safetensors", "none")
    save_motion(
        comfy.models / "animatediff_models" / "other.safetensors",
        MotionModule(block_out_channels=(32, 32), motion_layers_per_block=1),
    )
    with pytest.raises(InputError, match="widths"):
        node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, node("LoadMotion").load("other.safetensors", *PLAIN)[0])
    with pytest.raises(InputError, match="overlap from 0 to 3"):
        node("ContextOptions").make(4, 4, 1, "flat", False, "shared", "default", False, False, False)


def test_a_motion_lora_goes_into_the_module_and_an_adapter_into_the_model(model, module, node, sample, comfy, core):
    load, apply = node("LoadMotion"), node("ApplyMotion")
    (plain,) = load.load(module, *PLAIN)
    zoom = lora_of(plain.module.model.inner, "motion_modules")
    adapter = lora_of(model.unet.model.inner, "attn1")
    for folder, name, state in (("animatediff_motion_lora", "zoom.ckpt", zoom), ("loras", "adapter.ckpt", adapter)):
        (comfy.models / folder).mkdir(exist_ok=True)
        torch.save(state, comfy.models / folder / name)
    assert load.VALIDATE_INPUTS(module, "zoom.ckpt", "adapter.ckpt") is True
    assert "models/animatediff_motion_lora" in load.VALIDATE_INPUTS(module, "none", "gone.ckpt")

    (zooming,) = load.load(module, "zoom.ckpt", 0.5, "none", 1.0)
    name = next(iter(zoom)).removesuffix(".processor.to_q_lora.up.weight")
    weights = (motion.module.model.inner.state_dict()[f"{name}.to_q.weight"] for motion in (zooming, plain))
    changed, before = weights
    up, down = (zoom[f"{name}.processor.to_q_lora.{side}.weight"] for side in ("up", "down"))
    assert torch.allclose(changed, before + 0.5 * up @ down, atol=1e-6)

    (adapted,) = apply.apply(model, 1.0, 0.0, 1.0, load.load(module, *PLAIN[:2], "adapter.ckpt", 0.7)[0])
    assert not model.unet.patches and adapted.unet.model is model.unet.model
    name = next(iter(adapter)).removesuffix(".processor.to_q_lora.up.weight")
    strength, (up, down) = adapted.unet.patches[f"inner.{name}.to_q.weight"]
    assert strength == 0.7 and torch.equal(up, adapter[f"{name}.processor.to_q_lora.up.weight"])
    assert len(adapted.unet.patches) == len(adapter) // 2
    sample(adapted)
    assert any(adapted.unet in models for models, _ in comfy.loads)


def test_loras_that_do_not_go(model, module, node, comfy, core):
    InputError = core("errors").InputError
    load = node("LoadMotion")
    (comfy.models / "animatediff_motion_lora").mkdir()
    motion = load.load(module, *PLAIN)[0].module.model.inner
    torch.save(lora_of(motion, "motion_modules"), comfy.models / "animatediff_motion_lora" / "zoom.ckpt")
    torch.save(lora_of(model.unet.model.inner, "attn1"), comfy.models / "animatediff_motion_lora" / "adapter.ckpt")
    torch.save({"lora_unet_x.lora_up.weight": torch.ones(2, 2)}, comfy.models / "animatediff_motion_lora" / "sd.ckpt")
    with pytest.raises(InputError, match="is a motion LoRA: choose it as `motion_lora`"):
        load.load(module, "none", 1.0, "zoom.ckpt", 1.0)
    with pytest.raises(InputError, match="spatial LoRA, .* give it as adapter"):
        load.load(module, "adapter.ckpt", 1.0, "none", 1.0)
    with pytest.raises(InputError, match="no LoRA for a motion module"):
        load.load(module, "none", 1.0, "sd.ckpt", 1.0)
    state = lora_of(model.unet.model.inner, "attn1")
    name = next(name for name in state if name.endswith("down.weight"))
    torch.save(state | {name: torch.zeros(2, 7)}, comfy.models / "animatediff_motion_lora" / "adapter.ckpt")
    with pytest.raises(InputError, match="another shape"):
        node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, load.load(module, "none", 1.0, "adapter.ckpt", 1.0)[0])
