"""What the nodes that sample share: widgets and sockets, and the settings and networks of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..magicdance_core.choices import CONTROL_MODES, DEFAULT, PRESETS, SCHEDULERS
from .comfy import memory
from .link_types import CONTEXT_TYPE, SPEED_TYPE, ContextOptions, MagicDanceModel
from .socket_values import check_reference_count, in_own_shape, on_white, to_embeddings, to_pictures
from .widgets import MODEL_DEFAULT, Input, choice, integer, number, seed, socket

if TYPE_CHECKING:
    from torch import Tensor

    from ..magicdance_core.checkpoints import Components
    from ..magicdance_core.sampling import SamplingSettings


def sampling_widgets() -> dict[str, Input]:
    """Return the widgets that `to_run` takes."""
    return {
        "seed": seed("Seed of the initial noise."),
        "steps": integer(0, 0, 999, f"Number of denoising steps. {MODEL_DEFAULT}"),
        "cfg": number(
            0.0,
            0.0,
            30.0,
            f"Classifier-free guidance scale. 1: no guidance, half the work. {MODEL_DEFAULT}",
            0.1,
            round=0.01,
        ),
        "sampler_name": choice(list(SCHEDULERS), "The sampler. default: the model's default (published: ddim)."),
        "control_mode": choice(
            CONTROL_MODES,
            "controlnet_important: the controls act on the conditional prediction only, as published. balance: "
            "they act on the conditional and the unconditional prediction, so that cfg strengthens the prompt.",
        ),
        "preset": choice(
            PRESETS,
            "exact: as published. fast, preview: less work at a slightly lower quality; they set steps and "
            "sampler_name where these are left at their defaults.",
        ),
        "frames_per_batch": integer(
            8,
            1,
            256,
            "Number of frames in a batch of the UNet. Smaller: less memory, the same result.",
            advanced=True,
        ),
        "decode_chunk_size": integer(
            4,
            1,
            256,
            "Number of frames that the VAE decodes at a time. Smaller: less memory, the same result.",
            advanced=True,
        ),
    }


def sampling_sockets() -> dict[str, Input]:
    """Return the optional sockets that `to_run` takes, and the mask of the reference."""
    return {
        "positive": socket(
            "CONDITIONING", "A prompt from CLIP Text Encode. Without it, the empty prompt, as published."
        ),
        "negative": socket(
            "CONDITIONING",
            "Prompt of the unconditional prediction. Without it: the positive prompt with "
            "controlnet_important, the empty prompt with balance.",
        ),
        "context_options": socket(
            CONTEXT_TYPE,
            "Context windows of a motion module, from Context Options. Without it: 16 frames, 4 of them shared "
            "with the next window.",
        ),
        "speed_options": socket(
            SPEED_TYPE, "What is left out for speed, from Speed Options. Replaces the preset's choice."
        ),
        "reference_mask": socket(
            "MASK", "Transparent parts of the reference, from Load Image; they become white. Optional."
        ),
    }


def to_run(
    model: MagicDanceModel,
    *,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    control_mode: Any,
    preset: str,
    frames_per_batch: int,
    decode_chunk_size: int,
    positive=None,
    negative=None,
    context_options: ContextOptions | None = None,
    speed_options=None,
) -> tuple[Components, SamplingSettings, dict[str, Tensor | None]]:
    """Return the networks, the settings and the prompts (as `prepare` takes them) that widgets and sockets stand for.

    The arguments are those widgets and sockets. Raises InputError for prompts that the model does not take.
    """
    from ..magicdance_core.sampling import PRESETS, Control, SamplingSettings
    from ..magicdance_core.schedule import named_scheduler

    context = (context_options or ContextOptions()).seeded(seed)
    prompts = {
        f"{name}_embeds": None if prompt is None else _prompt(model, prompt, socket_name)
        for name, socket_name, prompt in (
            ("prompt", "positive", positive),
            ("negative_prompt", "negative", negative),
        )
    }
    chosen = PRESETS[preset]
    sampler_name = chosen.scheduler if sampler_name == DEFAULT else sampler_name
    components = memory.components(
        model, named_scheduler(sampler_name, model.scheduler, context.beta_schedule), prompts["prompt_embeds"]
    )
    settings = SamplingSettings(
        num_inference_steps=steps or chosen.count(model.defaults["num_inference_steps"]),
        guidance_scale=cfg or None,
        control_mode=control_mode,
        appearance_control=model.appearance_control or Control(),
        pose_control=model.pose_control or Control(),
        motion_control=model.motion_control or Control(),
        motion_in_uncond=context.motion_in_uncond,
        shortcuts=speed_options or chosen.shortcuts,
        windows=context.windows,
        noise=context.noise,
        frames_per_batch=frames_per_batch,
        decode_chunk_size=decode_chunk_size,
        quick=context.quick,
    )
    return components, settings, prompts


def to_reference(reference: Tensor, mask: Tensor | None, pixels: int, factor: int) -> Tensor:
    """Return the reference as `[R, 3, H, W]` in [0, 1]: in its own aspect ratio, with about `pixels` pixels.

    Sides are multiples of `factor`. mask: becomes white.
    """
    if mask is not None:
        reference = on_white(reference, mask)
    pictures = to_pictures(reference, "reference")
    check_reference_count(len(pictures), "reference")
    return in_own_shape(pictures, pixels, factor, "reference")


def context_remarks(model: MagicDanceModel, settings: SamplingSettings) -> list[str]:
    """Return a sentence if context windows are set without a motion module."""
    from ..magicdance_core.sampling import Windows

    if model.motion is not None or settings.windows in (None, Windows()):
        return []
    return ["Put Apply Motion Module before this node: without a motion module, context windows have no effect."]


def control_remarks(model: MagicDanceModel, has_reference: bool) -> list[str]:
    """Return sentences about a control that the model lacks. Raises InputError if it lacks both, or a reference."""
    from ..magicdance_core.errors import InputError

    if model.appearance is None and model.pose is None:
        raise InputError(
            "The model has no control: put Apply Appearance, Apply Pose or both between the model and this node."
        )
    if model.appearance is not None and not has_reference:
        raise InputError(
            "`reference` is not connected: connect a picture of the person, or leave out Apply Appearance."
        )
    remarks = []
    if model.appearance is None and has_reference:
        remarks.append("The reference has no effect: put Apply Appearance between the model and this node.")
    if model.pose is None:
        remarks.append(
            "The poses only give number and size of the frames: put Apply Pose between the model and this node."
        )
    return remarks


def _prompt(model: MagicDanceModel, conditioning, name: str) -> Tensor:
    """Return the embeddings `[1, n, C]` of a prompt. Raises InputError if the model takes no prompts."""
    from ..magicdance_core.errors import InputError

    if not model.takes_prompts:
        raise InputError(f"`{name}` is connected, but this model takes no prompts: disconnect it.")
    width = memory.network(model.unet).config.cross_attention_dim
    return to_embeddings(conditioning, width, name).float()
