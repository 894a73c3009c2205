"""Beside AnimateDiff-Evolved, Advanced-ControlNet and IPAdapter_plus, whose folders lie in COMFYUI_PACKS."""

import asyncio
import functools
import os
import sys
import tempfile
from pathlib import Path

import comfy.sample
import folder_paths
import safetensors.torch
import torch
from setting import (
    CALLS,
    MODEL,
    NEGATIVE,
    POSITIVE,
    SIZE,
    WIDTHS,
    apply,
    conditioning,
    draw,
    random,
    recording,
    relative,
    sample,
)

sys.path.append(str(Path(__file__).parents[1]))
from motion_file import motion_state  # noqa: E402
from with_pose import HINTS, as_control_net, posed

import nodes

LONG = 32
PACKS = ("ComfyUI-AnimateDiff-Evolved", "ComfyUI-Advanced-ControlNet", "ComfyUI_IPAdapter_plus")


def load() -> None:
    for name in PACKS:
        assert asyncio.run(nodes.load_custom_node(os.path.join(os.environ["COMFYUI_PACKS"], name))), name


def their(name: str, *args, **named):
    """A node of another pack, applied."""
    node = nodes.NODE_CLASS_MAPPINGS[name]
    if hasattr(node, "execute"):
        return node.execute(*args, **named)[0]
    return getattr(node(), node.FUNCTION)(*args, **named)[0]


def windowed(model, motion=None):
    context = their("ADE_StandardUniformContextOptions", 16, 1, 4)
    return their("ADE_UseEvolvedSampling", model, "use existing", motion, context)


def long_sample(model, noise, hints, **more):
    positive, _ = posed(hints=hints)
    CALLS.clear()
    samples = comfy.sample.sample(
        model, noise, 3, 3.0, "euler", "normal", positive, conditioning(NEGATIVE), torch.zeros_like(noise),
        disable_pbar=True, seed=5, **more,
    )  # fmt: skip
    return MODEL.model.process_latent_in(samples)


def motion_module(folder: str):
    """Load a motion module of a tenth of the usual width, like the UNet, with AnimateDiff-Evolved's loader."""
    loader = nodes.NODE_CLASS_MAPPINGS["ADE_LoadAnimateDiffModel"]
    ade = sys.modules[loader.__module__.replace("nodes_gen2", "motion_module_ad")]
    usual = ade.MotionModule.__init__

    @functools.wraps(usual)
    def narrow(self, in_channels, *args, **more):
        usual(self, in_channels // 10, *args, **more)

    path = Path(folder) / "mm_sd_v15_v2.safetensors"
    safetensors.torch.save_file(motion_state(WIDTHS), path)
    folder_paths.add_model_folder_path("animatediff_models", folder)
    ade.MotionModule.__init__ = narrow
    try:
        return their("ADE_ApplyAnimateDiffModelSimple", their("ADE_LoadAnimateDiffModel", path.name))
    finally:
        ade.MotionModule.__init__ = usual


def animatediff() -> dict:
    """32 frames in windows of 16 that overlap by 4, with a pose for each frame."""
    report = {}
    noise, hints = draw(LONG, 4, SIZE, SIZE), torch.rand(LONG, 64, 64, 3, generator=random)
    masks = torch.zeros(LONG, 64, 64)
    for frame in range(LONG):
        masks[frame, :, : 2 * frame + 2] = 1
    # Without a motion module frames know nothing of each other, so windows must not change anything.
    for name, more in (("reference", {}), ("mask a frame", {"mask": masks})):
        expected = long_sample(apply(**more), noise, hints)
        for order, model in (("before", apply(windowed(MODEL), **more)), ("after", windowed(apply(**more)))):
            seen = long_sample(model, noise, hints)
            report[f"{name}, windows {order}"] = {"relative": relative(seen, expected), "calls": len(CALLS)}
    with tempfile.TemporaryDirectory() as folder:
        motion = motion_module(folder)
        model, windows = recording(apply(windowed(MODEL, motion)), lambda args: len(args[0]))
        moving = long_sample(model, noise, hints)
        report["motion"] = {
            "finite": bool(moving.isfinite().all()),
            "steps": 3,
            "calls": len(CALLS),
            "windows": len(windows),
            "frames": sorted(set(windows)),
            "it acts": relative(moving, expected),
            "the reference acts": relative(moving, long_sample(windowed(MODEL, motion), noise, hints)),
        }
    return report


def advanced_controlnet() -> dict:
    """Its Apply node is ComfyUI's where nothing advanced is asked for; keyframes act beside the reference."""
    text, none, net = conditioning(POSITIVE), conditioning(NEGATIVE), as_control_net()
    plain = their("ACN_AdvancedControlNetApply_v2", text, none, net, HINTS, 1.0, 0.0, 1.0)
    keyframe = their("TimestepKeyframe", start_percent=0.5, strength=0.0)
    timed = their("ACN_AdvancedControlNetApply_v2", text, none, net, HINTS, 1.0, 0.0, 1.0, timestep_kf=keyframe)
    stock = sample(apply(), positive=posed()[0])
    return {
        "as ComfyUI's own": relative(sample(apply(), positive=plain), stock),
        "keyframe": relative(sample(apply(), positive=timed), stock),
        "finite": bool(sample(apply(), positive=timed).isfinite().all()),
    }


def ip_adapter() -> dict:
    """Both orders agree, and both act."""
    torch.manual_seed(6)
    widths = [32, 32, 64, 64, 128, 128, *[128] * 3, *[64] * 3, *[32] * 3, 128]  # as it numbers the blocks
    weights = {
        f"{2 * i + 1}.to_{kind}_ip.weight": torch.randn(w, 64) * 0.2 for i, w in enumerate(widths) for kind in "kv"
    }
    projection = {"proj.weight": torch.randn(256, 32) * 0.1, "proj.bias": torch.zeros(256)}
    projection |= {"norm.weight": torch.ones(64), "norm.bias": torch.zeros(64)}
    adapter, embeds = {"image_proj": projection, "ip_adapter": weights}, torch.randn(1, 1, 32)

    def adapted(model):
        return their(
            "IPAdapterEmbeds", model, adapter, embeds, 1.0, "linear", 0.0, 1.0, neg_embed=torch.zeros(1, 1, 32)
        )

    before, after = sample(apply(adapted(MODEL))), sample(adapted(apply()))
    return {
        "order": relative(before, after),
        "beside_ours": relative(after, sample(apply())),
        "beside_theirs": relative(after, sample(adapted(MODEL))),
    }


load()
