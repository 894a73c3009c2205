"""What a caller asks of a model, checked and made into what `sampling.run` and `sampling.stream` take."""

from collections.abc import Callable

import torch
from torch import Tensor

from .checkpoints import Components
from .checks import check_type, number
from .choices import CONTROL_MODES
from .errors import InputError
from .models import Networks, vae_scale_factor
from .models.motion_module import NoiseKind
from .sampling import Control, FrameNoise, Person, Windows, get_noise
from .sampling.denoise import windows_for
from .sampling.images import to_images
from .sampling.noise import make_noise
from .sampling.settings import FULL, NO_SHORTCUTS, Shortcuts, check_settings


def run_arguments(
    components: Components,
    reference: object,
    pose_map: Tensor,
    frames: int,
    *,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    control_mode: str = CONTROL_MODES[0],
    latents: Tensor | None = None,
    generator: torch.Generator | None = None,
    prompt_embeds: Tensor | None = None,
    negative_prompt_embeds: Tensor | None = None,
    windows: Windows | None = None,
    noise: NoiseKind | None = None,
    frames_per_batch: int = 8,
    decode_batch: int = 4,
    **others,
) -> dict:
    """Everything but the poses, from the options of `MagicDancePipeline.__call__`.

    pose_map: at least one of the maps `[n, 3, H, W]`. Raises InputError for what cannot be used.
    """
    scale = components.defaults["guidance_scale"] if guidance_scale is None else guidance_scale
    if control_mode not in CONTROL_MODES:
        raise InputError(f"The control mode {control_mode!r} is unknown: use {' or '.join(CONTROL_MODES)}.")
    frames_per_batch = number(int, frames_per_batch, "frames_per_batch", 1)
    decode_batch = number(int, decode_batch, "decode_batch", 1)
    check_type(generator, "generator", torch.Generator | None)
    check_type(windows, "windows", Windows | None)
    for name in ("appearance", "pose", "motion"):
        check_type(others.get(name, FULL), name, Control)
    check_type(others.get("shortcuts", NO_SHORTCUTS), "shortcuts", Shortcuts)
    check_type(others.get("callback"), "callback", Callable | None)
    context = _context(components, prompt_embeds, "prompt_embeds")
    if negative_prompt_embeds is not None:
        uncond_context = _context(components, negative_prompt_embeds, "negative_prompt_embeds")
    else:
        uncond_context = components.context if control_mode == "balance" else context
    check_settings(context, scale, uncond_context, others.get("eta", 0.0))
    networks = Networks(components.unet, components.appearance, components.pose, components.motion)
    windows_for(networks, frames, windows)
    if not isinstance(reference, Person):
        reference = to_images(reference, "The reference", vae_scale_factor(components.vae))
    return others | {
        "networks": networks,
        "vae": components.vae,
        "scheduler": components.scheduler,
        "reference": reference,
        "noise": _noise(components, latents, noise, pose_map, frames, windows, generator),
        "context": context,
        "num_inference_steps": _steps(components, num_inference_steps),
        "guidance_scale": scale,
        "uncond_context": uncond_context,
        "control_mode": control_mode,
        "windows": windows,
        "frames_per_batch": frames_per_batch,
        "decode_batch": decode_batch,
        "generator": generator,
    }


def _steps(components: Components, steps: int | None) -> int:
    steps = components.defaults["num_inference_steps"] if steps is None else steps
    most = components.scheduler.config.num_train_timesteps - 1
    if isinstance(steps, bool) or not (isinstance(steps, int) and 1 <= steps <= most):
        raise InputError(f"num_inference_steps is {steps}: give a whole number from 1 to {most}.")
    return steps


def _noise(
    components: Components,
    latents: Tensor | None,
    kind: NoiseKind | None,
    pose_map: Tensor,
    frames: int,
    windows: Windows | None,
    generator: torch.Generator | None,
) -> Tensor | FrameNoise:
    height, width = (side // vae_scale_factor(components.vae) for side in pose_map.shape[2:])
    shape = (1, components.unet.config.in_channels, height, width)
    if latents is None:
        kind = kind or (components.motion.config.noise if components.motion is not None else "shared")
        return make_noise(kind, get_noise(shape, generator), windows, generator)
    check_type(latents, "latents", Tensor)
    if tuple(latents.shape) not in (shape, (frames, *shape[1:])):
        raise InputError(
            f"latents has the shape {list(latents.shape)}: give {list(shape)} for all frames or {[frames, *shape[1:]]}."
        )
    if not latents.isfinite().all():
        raise InputError("latents contains NaN or infinite values: give standard normal noise.")
    return latents.float()


def _context(components: Components, embeds: Tensor | None, what: str) -> Tensor:
    if embeds is None:
        return components.context
    check_type(embeds, what, Tensor)
    width = components.context.shape[-1]
    if embeds.dim() != 3 or len(embeds) != 1 or embeds.shape[-1] != width:
        raise InputError(f"{what} has the shape {list(embeds.shape)}: give [1, n, {width}].")
    return embeds
